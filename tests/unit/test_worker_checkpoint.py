"""The checkpoint is written as observed, to the byte, and replaced as a whole."""

import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest

from dsgen.errors import PathError
from harness.worker.checkpoint import KINDS, STALE_S, Checkpoint, CheckpointWriter
from harness.worker.record import Op
from harness.worker.recording.io import DataCalls
from harness.worker.workloads import READINGS

# What was observed: bytes, then minimum, lower quartile, mean and deviation of the writes.
OBSERVED = {
    "imseg": (499_153_191, 64, 1280, 2_170_231, 4_459_727),
    "dlrm": (27_129_166_561, 98, 7348, 517_653_535, 841_116_648),
}
NAME = KINDS["imseg"].name
OBSERVED_ONES = pytest.mark.parametrize("workload", OBSERVED)
EACH = pytest.mark.parametrize("workload", KINDS)


def checkpoint(directory, size_bytes, *, workload="imseg", readers=3):
    return Checkpoint(
        kind=KINDS[workload],
        directory=directory,
        size_bytes=size_bytes,
        readers=readers,
        first_id=7,
        seed=1,
    )


def writer(directory, size_bytes):
    return checkpoint(directory, size_bytes).writer(0)


def calls():
    return DataCalls(rank=0, loader=0, rows=500, marks=500)


@OBSERVED_ONES
def test_write_sizes_have_the_observed_distribution(workload):
    total, least, quartile, mean, deviation = OBSERVED[workload]
    sizes = KINDS[workload].writes(total)
    assert sum(sizes) == total
    assert min(sizes) == least
    assert statistics.quantiles(sizes, n=4)[0] == quartile
    assert statistics.mean(sizes) == pytest.approx(mean, rel=0.01)
    assert statistics.pstdev(sizes) == pytest.approx(deviation, rel=0.01)


def test_a_kind_for_each_workload_and_a_name_for_each_kind():
    assert set(KINDS) == set(READINGS)
    assert len({kind.name for kind in KINDS.values()}) == len(KINDS)


@EACH
@pytest.mark.parametrize("total", [1, 63, 20_000, 25_000, 1_000_003, 50_000_000])
def test_write_sizes_sum_to_any_total(workload, total):
    sizes = KINDS[workload].writes(total)
    assert sum(sizes) == total
    assert min(sizes) > 0


def test_a_checkpoint_replaces_the_one_before(tmp_path):
    recorded = calls()
    writer(tmp_path, 3_000_000).write(recorded)
    writer(tmp_path, 2_000_000).write(recorded)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).stat().st_size == 2_000_000


def test_every_call_of_a_checkpoint_is_a_row(tmp_path):
    recorded = calls()
    planned = checkpoint(tmp_path, 3_000_000)
    planned.writer(0).write(recorded)
    rows = recorded.rows()
    writes = rows[rows["op"] == Op.WRITE]
    assert writes["returned"].tolist() == KINDS["imseg"].writes(3_000_000)
    assert np.array_equal(writes["offset"][1:], writes["returned"].cumsum()[:-1])
    assert rows["op"][[0, -2, -1]].tolist() == [Op.OPEN, Op.FSYNC, Op.CLOSE]
    assert set(rows["file"]) == {7}
    assert len(rows) <= planned.calls(0)


def test_content_cannot_be_reduced(tmp_path):
    writer(tmp_path, 10_000_000).write(calls())
    content = np.frombuffer((tmp_path / NAME).read_bytes(), np.uint8)
    counts = np.bincount(content, minlength=256)
    assert counts.max() < 1.1 * counts.mean()


def test_a_directory_that_cannot_be_written_is_one_error(tmp_path):
    with pytest.raises(PathError, match="cannot open"):
        writer(tmp_path / "absent", 1000).write(calls())


def test_a_full_device_leaves_nothing_behind(tmp_path, monkeypatch):
    planned = writer(tmp_path, 3_000_000)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.worker.recording.io.os.write", full)
    with pytest.raises(PathError, match="No space left"):
        planned.write(calls())
    assert list(Path(tmp_path).iterdir()) == []


def test_two_runs_over_the_same_data_set_both_leave_a_checkpoint(tmp_path, monkeypatch):
    """The other run writes and renames its own between our last write and our rename."""
    ours, theirs = writer(tmp_path, 3_000_000), writer(tmp_path, 2_000_000)
    rename = CheckpointWriter._rename

    def rename_second(self):
        if self is ours:
            theirs.write(calls())
        rename(self)

    monkeypatch.setattr(CheckpointWriter, "_rename", rename_second)
    ours.write(calls())
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).stat().st_size == 3_000_000


def test_what_killed_runs_left_is_removed_and_what_is_being_written_is_not(tmp_path):
    old, fresh = tmp_path / f"{NAME}.0123.partial", tmp_path / f"{NAME}.4567.partial"
    foreign = tmp_path / "mine.partial"
    for path in (old, fresh, foreign):
        path.write_bytes(b"x")
    then_s = time.time() - STALE_S - 60
    for path in (old, foreign):
        os.utime(path, (then_s, then_s))
    checkpoint(tmp_path, 1000).remove_stale()
    assert sorted(tmp_path.iterdir()) == sorted([fresh, foreign])


def test_no_directory_has_nothing_stale(tmp_path):
    checkpoint(tmp_path / "absent", 1000).remove_stale()


def test_bert_writes_blocks_and_buffers_in_turns_as_observed():
    sizes = KINDS["bert"].writes(4_034_713_312)
    assert set(sizes[:-1:2]) == {4096}
    assert set(sizes[1:-1:2]) == {8_384_512}
    assert 0 < sizes[-1] <= 8_384_512


def test_every_rank_of_bert_writes_a_file_of_its_own_content(tmp_path):
    planned = checkpoint(tmp_path, 100_000, workload="bert")
    assert [file.id for file in planned.files] == [7, 8, 9]
    for rank in range(3):
        planned.writer(rank).write(calls())
    written = sorted(tmp_path.iterdir())
    assert [path.name for path in written] == [f"model.ckpt-{rank:05d}" for rank in range(3)]
    assert [path.stat().st_size for path in written] == [100_000] * 3
    assert len({path.read_bytes() for path in written}) == 3


def test_of_imseg_the_first_rank_alone_writes(tmp_path):
    planned = checkpoint(tmp_path, 100_000)
    assert planned.writer(1) is None
    assert (planned.calls(1), len(planned.files)) == (0, 1)
