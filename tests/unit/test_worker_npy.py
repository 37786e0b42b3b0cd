"""Files come out as np.load brings them, with as many bytes read, or are refused by name."""

import gc

import numpy as np
import pytest

from dsgen.errors import DataSetError
from dsgen.memory import touched
from harness.worker.loading.npy import CALLS_PER_FILE, NpyReader, parse_header
from harness.worker.record import FileClass, Op
from harness.worker.recording import io
from harness.worker.recording.io import DataCalls, TracedFile

BLOCK = 4096


def write(path, array):
    np.save(path, array)
    return traced(path)


def traced(path, size_bytes=None):
    size_bytes = path.stat().st_size if size_bytes is None else size_bytes
    return TracedFile(
        id=3, path=str(path), size_bytes=size_bytes, file_class=FileClass.X, role="train"
    )


def calls(rows=200):
    return DataCalls(rank=2, loader=1, rows=rows, marks=rows)


def load(file, buffer=None, recorded=None):
    return NpyReader(recorded or calls(), block_bytes=BLOCK).load(file, buffer)


@pytest.mark.parametrize("buffer", [None, touched(1 << 20)], ids=["fresh", "reuse"])
@pytest.mark.parametrize("voxels", [1, 100, BLOCK - 128, BLOCK - 127, 2 * BLOCK - 128, 300_001])
def test_an_array_equals_what_numpy_loads(tmp_path, voxels, buffer):
    file = write(tmp_path / "a.npy", np.arange(voxels).astype(np.uint8))
    loaded = load(file, buffer)
    assert np.array_equal(loaded, np.load(file.path))
    assert loaded.dtype == np.uint8


@pytest.mark.parametrize("buffer", ["fresh", "reuse"])
def test_shape_and_dtype_come_from_the_header(tmp_path, buffer):
    array = np.random.default_rng(1).normal(size=(1, 20, 30, 41)).astype(np.float32)
    file = write(tmp_path / "a.npy", array)
    loaded = load(file, touched(file.size_bytes) if buffer == "reuse" else None)
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, array)


def test_memory_of_its_own_goes_when_it_is_let_go(tmp_path):
    file = write(tmp_path / "a.npy", np.zeros(50_000, np.uint8))
    gc.collect()
    gc.disable()
    try:
        load(file)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_reused_buffer_holds_the_array_and_a_fresh_one_is_its_own(tmp_path):
    file = write(tmp_path / "a.npy", np.zeros(50_000, np.uint8))
    buffer = touched(100_000)
    assert np.shares_memory(load(file, buffer), buffer)
    assert not np.shares_memory(load(file), load(file))


def test_the_header_is_read_three_times(tmp_path):
    file = write(tmp_path / "a.npy", np.zeros((1, 40, 50, 60), np.float32))
    recorded = calls()
    load(file, recorded=recorded)
    rows = recorded.rows()
    reads = rows[rows["op"] == Op.READ]
    assert reads["returned"].sum() == file.size_bytes + BLOCK + 128
    assert len(rows) == CALLS_PER_FILE
    assert set(rows["rank"]) == {2}
    assert set(rows["loader"]) == {1}
    assert set(rows["class"]) == {FileClass.X}
    assert (rows["t1_ns"] >= rows["t0_ns"]).all()
    assert (rows["t0_ns"][1:] >= rows["t1_ns"][:-1]).all()
    assert (rows["cpu_ns"] <= rows["t1_ns"] - rows["t0_ns"]).all()


def test_short_reads_are_continued(tmp_path, monkeypatch):
    array = np.random.default_rng(1).integers(0, 255, 100_000, np.uint8)
    file = write(tmp_path / "a.npy", array)
    whole = io._read

    def at_most_10_000(descriptor, address, size_bytes):
        return whole(descriptor, address, min(size_bytes, 10_000))

    monkeypatch.setattr(io, "_read", at_most_10_000)
    assert np.array_equal(load(file), array)


def test_an_interrupted_read_is_repeated_and_recorded(tmp_path, monkeypatch):
    array = np.random.default_rng(1).integers(0, 255, 100_000, np.uint8)
    file = write(tmp_path / "a.npy", array)
    whole, interruptions = io._read, iter([4])

    def interrupted_once(descriptor, address, size_bytes):
        if size_bytes > BLOCK and (errno := next(interruptions, 0)):
            raise OSError(errno, "Interrupted system call")
        return whole(descriptor, address, size_bytes)

    monkeypatch.setattr(io, "_read", interrupted_once)
    recorded = calls()
    assert np.array_equal(load(file, recorded=recorded), array)
    rows = recorded.rows()
    assert [int(row["returned"]) for row in rows if row["errno"] == 4] == [-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .npy file"),
        (b"\x93NUMPY\x02\x00" + bytes(5000), "not a .npy file of version 1.0"),
        (b"\x93NUMPY\x01\x00\x76\x00" + b"{" + bytes(5000), "malformed .npy header"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 5000, "malformed|unusable"),
    ],
    ids=["empty", "version", "header", "length"],
)
def test_a_malformed_file_is_named(tmp_path, content, message):
    path = tmp_path / "case_00007_x.npy"
    path.write_bytes(content)
    with pytest.raises(DataSetError, match=message) as caught:
        load(traced(path))
    assert "case_00007_x.npy" in str(caught.value)


def test_fortran_order_is_refused(tmp_path):
    file = write(tmp_path / "a.npy", np.asfortranarray(np.zeros((30, 40), np.uint8)))
    with pytest.raises(DataSetError, match="unusable"):
        load(file)


def test_a_file_that_is_not_as_long_as_the_manifest_says_is_named(tmp_path):
    file = write(tmp_path / "a.npy", np.zeros(5000, np.uint8))
    with pytest.raises(DataSetError, match="5,128 bytes where the manifest says 5,129"):
        load(traced(tmp_path / "a.npy", file.size_bytes + 1))


def test_a_header_that_does_not_fit_the_file_is_named(tmp_path):
    file = write(tmp_path / "a.npy", np.zeros(5000, np.uint8))
    with (tmp_path / "a.npy").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(DataSetError, match="does not fill 5,132 bytes"):
        load(traced(tmp_path / "a.npy", file.size_bytes + 4))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataSetError, match=r"cannot open \(No such file.*absent.npy"):
        load(traced(tmp_path / "absent.npy", 1))


def test_no_descriptor_is_left_open_by_a_refusal(tmp_path):
    file = write(tmp_path / "a.npy", np.asfortranarray(np.zeros((30, 40), np.uint8)))
    recorded = calls()
    for _ in range(2):
        with pytest.raises(DataSetError):
            load(file, recorded=recorded)
    rows = recorded.rows()
    opened = rows[rows["op"] == Op.OPEN]["returned"]
    assert opened[0] == opened[1]  # the number was free again


@pytest.mark.parametrize("shape", [(3,), (2, 1), (1, 2, 3, 4)])
@pytest.mark.parametrize("dtype", ["<f4", "|u1", "<i8", ">f8"])
def test_every_header_that_numpy_writes_is_understood(tmp_path, shape, dtype):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(shape, dtype))
    header = parse_header(path.read_bytes(), traced(path))
    assert (header.shape, header.dtype) == (shape, np.dtype(dtype))
