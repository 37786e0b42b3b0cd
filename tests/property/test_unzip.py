"""Members of archives are what zipfile makes of them, and what is damaged is told."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgen.unzip import open_member

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


def archived(content: bytes, method: int, level: int = 6) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method, compresslevel=level) as archive:
        archive.writestr("before", b"something else")
        archive.writestr("member", content)
        archive.writestr("after", content[::-1])
    return stream.getvalue()


def read(data: bytes, sizes: list[int]) -> bytes:
    """Return a member that is read in parts of these sizes, and then to its end."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive, open_member(archive, "member") as member:
        return b"".join([*(member.read(size) for size in sizes), member.read()])


@given(
    content=st.binary(max_size=4096),
    times=st.integers(1, 300),
    method=st.sampled_from(METHODS),
    level=st.integers(1, 9),
    sizes=st.lists(st.integers(0, 2**20), max_size=5),
)
def test_a_member_is_what_was_archived(content, times, method, level, sizes):
    data = archived(content * times, method, level)
    assert read(data, sizes) == content * times


@given(at=st.integers(0, 2**40), flip=st.integers(1, 255), seed=st.integers(0, 9))
def test_a_damaged_member_is_told_before_its_last_byte_is_given(at, flip, seed):
    """Who reads as many bytes as there shall be, and no more, hears of it too."""
    content = np.random.default_rng(seed).integers(0, 9, 30_000, dtype=np.uint8).tobytes()
    data = bytearray(archived(content, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo("member")
    data[info.header_offset + 30 + len("member") + at % info.compress_size] ^= flip
    with zipfile.ZipFile(io.BytesIO(data)) as archive, open_member(archive, "member") as member:
        try:
            got = member.read(len(content))
        except ValueError:
            return
    assert got == content  # the bits after the end of the last block mean nothing


def test_bytes_that_end_too_early():
    content = bytes(range(256)) * 400
    with zipfile.ZipFile(io.BytesIO(archived(content, zipfile.ZIP_DEFLATED))) as archive:
        archive.getinfo("member").compress_size //= 2
        with open_member(archive, "member") as member, pytest.raises(ValueError, match="truncated"):
            member.read()


@pytest.mark.parametrize("change", [-1, 1])
def test_another_length_than_the_archive_says(change):
    content = bytes(range(256)) * 400
    with zipfile.ZipFile(io.BytesIO(archived(content, zipfile.ZIP_DEFLATED))) as archive:
        archive.getinfo("member").file_size += change
        with open_member(archive, "member") as member, pytest.raises(ValueError, match="length"):
            member.read()


def test_a_name_that_is_not_there():
    with (
        zipfile.ZipFile(io.BytesIO(archived(b"", zipfile.ZIP_STORED))) as archive,
        pytest.raises(KeyError),
    ):
        open_member(archive, "other")
