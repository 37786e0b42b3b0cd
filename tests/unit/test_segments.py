"""Segments on their way to the device: several together, none told of before it is there."""

import errno
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsgen import sink as sink_module
from dsgen.content import Drawn
from dsgen.errors import PathError
from dsgen.layout import SEGMENT_BYTES, Layout, Parameters, PlannedFile, even_starts
from dsgen.segments import (
    _BATCH_SEGMENTS,
    _LEAST_BATCH_BYTES,
    _MOST_BATCH_BYTES,
    _batches,
    _phases,
    write_segments,
)
from dsgen.sink import SegmentSink

PARAMETERS = Parameters(
    workload="imseg", format="npy", format_version=1, law="small", seed=1, size_requested_bytes=1
)


def layout(sizes):
    return Layout(
        parameters=PARAMETERS,
        files=tuple(
            PlannedFile(
                index=index,
                path=f"file-{index}",
                role="train",
                file_class="x",
                bytes=size_bytes,
                samples=1,
                shape=(1,),
                key=index,
                starts=even_starts(size_bytes),
            )
            for index, size_bytes in enumerate(sizes)
        ),
    )


def tasks(planned):
    return [
        (file.index, segment) for file in planned.files for segment in range(file.segment_count)
    ]


class Noted(SegmentSink):
    """Writes, and leaves a name beside each file once it is flushed."""

    def __init__(self):
        super().__init__()
        self.paths = []

    def write(self, path, *more):
        self.paths.append(path)
        return super().write(path, *more)

    def flush(self):
        super().flush()
        for path in self.paths:
            path.with_suffix(".flushed").touch()
        self.paths.clear()


class Zeros(Drawn):
    """Files of zeros."""

    def sink(self, _):
        return Noted()

    def blocks(self, _, file, segment, __):
        yield np.zeros(file.segment(segment).bytes, dtype=np.uint8)


@pytest.mark.parametrize(
    ("sizes", "processes", "together"),
    [
        ([], 1, []),
        ([0], 1, [1]),
        ([1000] * (2 * _BATCH_SEGMENTS + 1), 1, [_BATCH_SEGMENTS, _BATCH_SEGMENTS, 1]),
        ([_LEAST_BATCH_BYTES // 2, _LEAST_BATCH_BYTES // 2, 1], 1, [2, 1]),
        ([1, _LEAST_BATCH_BYTES, 1, 1], 1, [1, 1, 2]),
        ([2 * SEGMENT_BYTES + 1], 1, [1, 1, 1]),
        ([20 * SEGMENT_BYTES], 1, [2] * 10),
        ([20 * SEGMENT_BYTES], 2, [1] * 20),
        ([40 * SEGMENT_BYTES], 1, [_MOST_BATCH_BYTES // SEGMENT_BYTES] * 20),
    ],
)
def test_segments_go_together_where_each_process_gets_many(sizes, processes, together):
    planned = layout(sizes)
    batches = list(_batches(planned, tasks(planned), processes))
    assert [len(batch) for batch in batches] == together
    assert [task for batch in batches for task in batch] == tasks(planned)


def test_files_that_are_made_go_before_those_that_are_copied():
    planned = layout([3 * SEGMENT_BYTES, 2 * SEGMENT_BYTES])
    copied, made = planned.files
    planned = replace(planned, files=(copied, replace(made, closing=frozenset({0}))))
    assert list(_phases(planned, tasks(planned))) == [[(1, 1), (0, 0), (0, 1), (0, 2)], [(1, 0)]]


@pytest.mark.parametrize("processes", [1, 3])
def test_a_segment_is_told_of_once_it_is_flushed(processes, tmp_path):
    planned = layout([1000] * 300)
    told = set()
    for written in write_segments(
        planned,
        Zeros(),
        tmp_path,
        tasks(planned),
        processes,
        lambda _: None,
        in_place=True,
    ):
        path = tmp_path / planned.files[written.file].path
        assert path.with_suffix(".flushed").exists()
        assert path.read_bytes() == bytes(1000)
        told.add(written.file)
    assert told == set(range(300))


def test_writing_one_after_the_other_keeps_no_file_open(tmp_path):
    planned = layout([1000, 5_000_000, 0])
    sink = SegmentSink()
    before = open_files()
    for file, segment in tasks(planned):
        blocks = Zeros().blocks(planned, planned.files[file], segment, {})
        path = tmp_path / planned.files[file].path
        sink.write(path, file, planned.files[file].segment(segment), blocks)
    assert len(open_files() - before) == 3
    sink.flush()
    assert open_files() == before
    assert [(tmp_path / file.path).stat().st_size for file in planned.files] == [1000, 5_000_000, 0]


def test_a_write_that_fails_late_names_its_own_file(tmp_path, monkeypatch):
    planned = layout([9_000_000, 9_000_000])
    of_second = threading.Event()

    def write_all(descriptor, *_):
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "file-0":
            assert of_second.wait(10)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def write(file):
        def blocks():
            if file.index:
                of_second.set()
            yield from Zeros().blocks(planned, file, 0, {})

        sink.write(tmp_path / file.path, file.index, file.segment(0), blocks())

    monkeypatch.setattr(sink_module, "_write_all", write_all)
    sink = SegmentSink()
    write(planned.files[0])
    with pytest.raises(PathError) as caught:
        write(planned.files[1])
    assert caught.value.where == str(tmp_path / "file-0")


def test_segments_one_after_the_other_have_their_own_bytes(tmp_path, monkeypatch):
    def write_late(*words):
        time.sleep(0.05)
        write_all(*words)

    write_all = sink_module._write_all
    monkeypatch.setattr(sink_module, "_write_all", write_late)
    sizes = [9_000_000, 100, 5_000_000, 4_194_304, 4_096, 13_000_001]
    planned = layout(sizes)
    sink, wanted = SegmentSink(), []
    for file in planned.files:
        data = np.random.Generator(np.random.PCG64(file.index)).bytes(file.bytes)
        sink.write(
            tmp_path / file.path,
            file.index,
            file.segment(0),
            iter([np.frombuffer(data, dtype=np.uint8)]),
        )
        wanted.append(data)
    sink.flush()
    assert [(tmp_path / file.path).read_bytes() for file in planned.files] == wanted


def open_files():
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
