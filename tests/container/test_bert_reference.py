"""What tf.data asks of storage in the reference's pipeline: the facts that our ranks reproduce."""

from collections import defaultdict
from pathlib import Path

import pytest

from dsgen.write import generate
from tests.container.traced import READERS
from tests.property.strategies import data_set
from tests.reference.calls import Call, by_file, compare
from tests.reference.strace import by_process, calls_of

pytestmark = pytest.mark.engine

READ_BYTES = 262_144
ACTIVE_FILES = 8
OPENED_FIRST = 24


@pytest.fixture
def read(traced, tmp_path):
    """Generate a data set, read it by tf.data, and return its directory and the Trace."""

    def run(size_bytes, files, *words):
        data, marks = tmp_path / "data", tmp_path / "marks"
        layout = data_set("bert", size_bytes, min_files=files).layout()
        generate(layout, data, processes=2, emit=lambda _: None)
        marks.mkdir()
        trace = traced(READERS / "bert.py", "--data", data, "--marks", marks, *words)
        return data, trace

    return run


def on_parts(trace, data):
    """Return the calls of each process on training files, and its marks, in their order."""
    seen = trace.below(f"{data}/part-", data.with_name("marks"))
    return [
        [call for call in calls_of(own) if not is_mark(call.path) or call.name == "open"]
        for own in by_process(seen).values()
    ]


def is_mark(path):
    return "/marks/rank-" in path


def opened_before(calls, step):
    """Return the files that were opened before the batch of this step was there."""
    (mark,) = [
        number for number, call in enumerate(calls) if call.path.endswith(f"train-00001-{step:05d}")
    ]
    return [call.path for call in calls[:mark] if call.name == "open" and not is_mark(call.path)]


def whole_file(path):
    """Return the calls that read a file to its end."""
    size_bytes = path.stat().st_size
    calls = [Call(str(path), "open", -1, -1, 0)]
    for offset in range(0, size_bytes, READ_BYTES):
        returned = min(READ_BYTES, size_bytes - offset)
        calls.append(Call(str(path), "pread", offset, READ_BYTES, returned))
    # What the last read left free of the buffer is asked for once more.
    rest_bytes = READ_BYTES - size_bytes % READ_BYTES
    calls.append(Call(str(path), "pread", size_bytes, rest_bytes, 0))
    return [*calls, Call(str(path), "close", -1, -1, 0)]


def most_at_once(calls, *, reads):
    """Return how many files at most were open at once after at least this many reads of each."""
    done, most = defaultdict(int), 0
    for call in calls:
        if call.name == "close":
            del done[call.path]
        else:
            done[call.path] += call.name == "pread"
        most = max(most, sum(count >= reads for count in done.values()))
    return most


def test_a_pipeline_opens_24_files_reads_each_once_and_goes_on_with_some(read):
    # 1,600 records a file: more than all that is read, so that no file can come to its end.
    data, trace = read(
        104_000_000, 26, "--ranks", 1, "--steps", 20, "--step-s", 0.2, "--eval-steps", 20
    )
    (calls,) = on_parts(trace, data)
    # Each by a thread of its own, of which the last may be late for the first batch.
    assert len(opened_before(calls, 1)) <= OPENED_FIRST
    assert len(set(opened_before(calls, 2))) == OPENED_FIRST
    assert len(opened_before(calls, 20)) == OPENED_FIRST
    files = by_file(call for call in calls if not is_mark(call.path) and call.name != "close")
    for path, own in files.items():
        assert compare(whole_file(data / Path(path).name)[: len(own)], own) == ""
    reads = [len(own) - 1 for own in files.values()]
    assert min(reads) == 1
    assert 1 <= sum(count > 1 for count in reads) <= ACTIVE_FILES
    path = str(data / "eval_10k")
    assert calls_of(trace.below(path)) == [
        Call(path, "open", -1, -1, 0),
        Call(path, "pread", 0, READ_BYTES, READ_BYTES),
        Call(path, "close", -1, -1, 0),
    ]


def test_every_file_is_read_in_sequence_to_a_short_and_an_empty_read_eight_at_a_time(read):
    data, trace = read(40_000_000, 64, "--ranks", 1, "--raw", "--batch-size", 100)
    (calls,) = on_parts(trace, data)
    on_files = [call for call in calls if not is_mark(call.path)]
    files = by_file(on_files)
    parts = sorted(data.glob("part-*"))
    assert sorted(files) == [str(path) for path in parts]
    for path in parts:
        assert compare(whole_file(path), files[str(path)]) == ""
    assert most_at_once(on_files, reads=0) == OPENED_FIRST
    assert most_at_once(on_files, reads=2) == ACTIVE_FILES


def test_eight_ranks_open_192_files(read):
    data, trace = read(115_000_000, 192, "--ranks", 8, "--steps", 2, "--step-s", 0.5)
    ranks = on_parts(trace, data)
    opened = [opened_before(calls, 2) for calls in ranks]
    assert [len(paths) for paths in opened] == [OPENED_FIRST] * 8
    parts = {str(path) for path in data.glob("part-*")}
    assert len(parts) >= 192
    together = {path for paths in opened for path in paths}
    assert len(together) == 192
    assert together <= parts
