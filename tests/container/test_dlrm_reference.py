"""What file objects and np.load ask of storage as the reference uses them for dlrm."""

import json
import zipfile

import numpy as np
import pytest

from dsgen.write import generate
from tests.container.traced import READERS
from tests.property.strategies import data_set
from tests.reference.calls import Call, by_file, compare
from tests.reference.strace import calls_of

pytestmark = pytest.mark.engine

BLOCK_BYTES = 4096
CHUNK_BYTES = 262_144
TEXT_BYTES = 8192
BATCH = 2048
TEST_BATCH = 1024
ROW_BYTES = 160


@pytest.fixture
def read(traced, tmp_path):
    """Generate a data set, read it, and return its directory and the calls on files below."""

    def run(wanted, *words):
        data = tmp_path / "data"
        generate(wanted.layout(), data, processes=2, emit=lambda _: None)
        (tmp_path / "scratch").mkdir()
        trace = traced(READERS / "dlrm.py", wanted.wanted.format, "--data", data, *words)
        return data, calls_of(trace.below(f"{data}/", f"{tmp_path}/scratch/"))

    return run


def opening(path):
    """Return the calls of Python's buffered open."""
    calls = [("open", -1, 0), ("fstat", -1, 0), ("ioctl", -1, -1), ("lseek", -1, 0)]
    return [Call(str(path), name, offset, -1, returned) for name, offset, returned in calls]


def batch_calls(path, number, batch_bytes):
    """Return a seek and a read; of a short batch, the whole blocks that are missing once more."""
    size_bytes, start = path.stat().st_size, number * batch_bytes
    got_bytes = min(batch_bytes, size_bytes - start)
    calls = [
        Call(str(path), "lseek", start, -1, start),
        Call(str(path), "read", start, batch_bytes, got_bytes),
    ]
    if got_bytes < batch_bytes:
        missing_bytes = batch_bytes - got_bytes
        asked_bytes = missing_bytes - missing_bytes % BLOCK_BYTES
        calls.append(Call(str(path), "read", size_bytes, asked_bytes, 0))
    return calls


@pytest.mark.parametrize("shuffled", [False, True])
def test_bin_seeks_and_reads_once_a_batch_and_tests_from_the_start(read, tmp_path, shuffled):
    wanted = data_set("dlrm", 10_000_000, format="bin")
    batches = -(-10_000_000 // (BATCH * ROW_BYTES))
    order = list(range(batches))
    words = []
    if shuffled:
        order = np.random.default_rng(1).permutation(batches).tolist()
        (tmp_path / "orders.json").write_text(json.dumps({"1": order}))
        words = ["--orders", tmp_path / "orders.json"]
    data, calls = read(
        wanted, "--batch-size", BATCH, "--test-batch-size", TEST_BATCH, "--test-every", 10, *words
    )
    training, test = data / "preprocessed_train.bin", data / "preprocessed_test.bin"
    expected = [*opening(training), *opening(test)]
    test_batches = -(-test.stat().st_size // (TEST_BATCH * ROW_BYTES))
    assert training.stat().st_size % (BATCH * ROW_BYTES)
    assert test_batches > 1
    for step, number in enumerate(order, 1):
        expected += batch_calls(training, number, BATCH * ROW_BYTES)
        if step % 10 == 0:
            for tested in range(test_batches):
                expected += batch_calls(test, tested, TEST_BATCH * ROW_BYTES)
    read_calls = [call for call in calls if call.path in (str(training), str(test))]
    assert sorted(call.path for call in read_calls[-2:]) == sorted(map(str, (training, test)))
    assert [call.name for call in read_calls[-2:]] == ["close", "close"]
    assert compare(expected, read_calls[:-2]) == ""


@pytest.mark.parametrize("compression", ["deflate", "stored"])
def test_npz_reads_whole_days_member_by_member_in_the_order_asked_for(read, compression):
    wanted = data_set("dlrm", 60_000_000, format="npz", compression=compression)
    data, calls = read(wanted, "--batch-size", BATCH, "--epochs", 2)
    days = [data / f"day_{day}_reordered.npz" for day in range(24)]
    opened = [call.path for call in calls if call.name == "open" and "_reordered" in call.path]
    assert opened == [str(path) for path in [days[23], *days[:23], *days[:23]]]
    for path in days:
        own = by_file(calls)[str(path)]
        passes = 1 if path == days[23] else 2
        assert own[: len(own) // passes] * passes == own
        check_archive(path, own[: len(own) // passes])


def check_archive(path, calls):
    """Check that the directory is found, then X_int, X_cat and y are each read through."""
    size_bytes = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        directory_offset = archive.start_dir
    reads = [call for call in calls if call.name == "read"]
    end_offset, locator_offset, wide_offset = (size_bytes - back for back in (22, 42, 98))
    ends = [
        (0, BLOCK_BYTES, min(BLOCK_BYTES, size_bytes)),  # is it an archive at all
        (end_offset, 23, 22),
        (size_bytes, 1, 0),
        (locator_offset, BLOCK_BYTES, 42),
        (wide_offset, BLOCK_BYTES, 98),
        (directory_offset, BLOCK_BYTES, size_bytes - directory_offset),
    ]
    assert [(call.offset, call.requested, call.returned) for call in reads[: len(ends)]] == ends
    rest = reads[len(ends) :]
    assert all(call.requested % BLOCK_BYTES == 0 and call.requested <= CHUNK_BYTES for call in rest)
    starts = [members[f"{name}.npy"].header_offset for name in ("X_int", "X_cat", "y")]
    offsets = [call.offset for call in rest]
    assert set(starts) <= set(offsets)
    heads = [offsets.index(start) for start in starts]
    assert heads == sorted(heads)
    for start, first, last in zip(starts, heads, [*heads[1:], None], strict=True):
        info = next(info for info in members.values() if info.header_offset == start)
        own = rest[first:last]
        ends_at = [call.offset + call.returned for call in own]
        assert [call.offset for call in own] == [start, *ends_at[:-1]]
        assert start + info.compress_size <= ends_at[-1] < start + info.compress_size + CHUNK_BYTES
    stored = members["X_cat.npy"].compress_type == zipfile.ZIP_STORED
    whole = {258_048, BLOCK_BYTES} if stored else {253_952, BLOCK_BYTES}
    assert whole <= {call.requested for call in rest}


def test_text_is_read_twice_then_each_part(read, tmp_path):
    data, calls = read(
        data_set("dlrm", 5_000_000, format="text"), "--scratch", tmp_path / "scratch"
    )
    files = by_file(calls)
    text = data / "train.txt"
    assert compare(text_pass(text) * 2, files[str(text)]) == ""
    parts = sorted((tmp_path / "scratch").iterdir())
    assert len(parts) == 7
    assert b"".join(part.read_bytes() for part in parts) == text.read_bytes()
    for part in parts:
        own = files[str(part)]
        assert compare(text_pass(part), own[-len(text_pass(part)) :]) == ""


def text_pass(path):
    """Return the calls that read a file line by line to its end."""
    size_bytes = path.stat().st_size
    calls = opening(path)
    for offset in range(0, size_bytes, TEXT_BYTES):
        returned = min(TEXT_BYTES, size_bytes - offset)
        calls.append(Call(str(path), "read", offset, TEXT_BYTES, returned))
    calls.append(Call(str(path), "read", size_bytes, TEXT_BYTES, 0))
    return [*calls, Call(str(path), "close", -1, -1, 0)]
