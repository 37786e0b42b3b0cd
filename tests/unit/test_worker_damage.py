"""A record that tf.data refuses is found again: file, record, offset."""

from pathlib import Path

import pytest

from harness.worker.loading.damage import find_damage
from harness.worker.record import FileClass
from harness.worker.recording.io import TracedFile
from harness.worker.workloads.bert_tfdata import refused
from tests.unit.bert_run import framed

DATA = [b"a" * 100, b"b" * 50, b"c" * 200]
STARTS = [0, 116, 182]
# As TensorFlow says it: of a header's CRC the record's own byte, of the data's the data's.
MESSAGE = "corrupted record at {} (Is this even a TFRecord file?)\n\t [[node]]"


@pytest.fixture
def files(tmp_path):
    """Return three intact files of three records each."""
    content = b"".join(map(framed, DATA))
    for number in range(3):
        (tmp_path / f"part-{number:05d}-of-00500").write_bytes(content)
    return [
        TracedFile(
            id=number,
            path=str(path),
            size_bytes=len(content),
            file_class=FileClass.RECORD,
            role="train",
        )
        for number, path in enumerate(sorted(tmp_path.iterdir()))
    ]


def flip(file, at):
    with Path(file.path).open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize(
    ("within", "told", "says"),
    [(3, 0, "no record begins"), (9, 0, "no record begins"), (30, 12, "another CRC of its data")],
)
def test_the_damaged_file_is_named_and_not_the_first_one(files, number, within, told, says):
    start = STARTS[number]
    flip(files[2], start + within)
    error = str(refused(files, MESSAGE.format(start + told)))
    assert f"record {number + 1} at byte {start}: {says}" in error
    assert "part-00002" in error
    assert "part-00000" not in error
    assert len(error.splitlines()) == 1


def test_a_file_that_ends_before_the_byte_is_none_of_it(files):
    assert find_damage(files, 10**9) is None
    with Path(files[1].path).open("r+b") as stream:
        stream.truncate(150)
    assert "record 2 at byte 116: truncated" in str(find_damage(files, 128))


def test_what_cannot_be_found_names_all_that_it_may_be(files):
    for message in ("no such file or anything\nmore", MESSAGE.format(128)):
        error = str(refused(files, message))
        assert "part-00000-of-00500, or another of 3 files" in error
        assert message.splitlines()[0] in error
        assert len(error.splitlines()) == 1
