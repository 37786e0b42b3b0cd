"""dlrm is tested in the midst of an epoch: the calls, the checkpoints, and no trace of it in AU."""

from itertools import groupby

import numpy as np
import pytest

from harness.analysis.epoch import epochs_of
from harness.analysis.losses import compute_losses
from harness.analysis.metrics import compute_metrics
from harness.analysis.phases import checkpoint_of, evaluations_of
from harness.analysis.selfcheck import check_recording
from harness.recordings import read_recording
from harness.worker.record import Op, Phase
from harness.worker.spec import StepTime
from tests.unit.dlrm_sets import dlrm_spec, make_days, make_rows
from tests.unit.worker_run import load, run_worker

ROWS, TESTS = 1_000, 20_000
SAVED_BYTES = 300_000
# Eight steps of an epoch, of which the last one is short: after 3, 6 and 8 there is a test.
PARTS = [(1, 2, 3), (4, 5, 6), (7, 8)]


def trained(tmp_path, data_dir, **changes):
    values = {
        "accelerators": 4,
        "batch_size": 32,
        "epochs": 2,
        "eval_from": 1,
        "eval_every_steps": 3,
        "evaluation_case_s": 0.05,
        "checkpoint_dir": str(tmp_path / "saved"),
        "checkpoint_bytes": SAVED_BYTES,
        "step_time": StepTime(mean_s=0.02, sd_s=0.0005),
    }
    spec = dlrm_spec(tmp_path, data_dir, **(values | changes))
    (tmp_path / "saved").mkdir()
    done = run_worker(tmp_path, spec)
    assert (done.returncode, done.stderr) == (0, "")
    return spec


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("set") / "data", train=ROWS, test=TESTS)


def phases(rows):
    """Return (phase, steps or bytes) in the order of the calls, checkpoints by what they wrote."""
    kept = rows[np.isin(rows["op"], (Op.READ, Op.WRITE)) & (rows["epoch"] > 0)]
    told = []
    for (phase, epoch), group in groupby(kept, key=lambda row: (row["phase"], row["epoch"])):
        own = list(group)
        if phase == Phase.CHECKPOINT:
            told.append((epoch, phase, sum(int(row["returned"]) for row in own)))
        else:
            told.append((epoch, phase, tuple(sorted({int(row["step"]) for row in own}))))
    return told


def expected(epochs):
    return [
        told
        for epoch in epochs
        for steps in PARTS
        for told in (
            (epoch, Phase.TRAIN, steps),
            (epoch, Phase.EVAL, (1, 2)),
            (epoch, Phase.CHECKPOINT, SAVED_BYTES),
        )
    ]


def test_tests_and_checkpoints_come_after_every_third_step(tmp_path, data_dir):
    spec = trained(tmp_path, data_dir)
    assert phases(load(spec, "trace/rank-00000.npy")) == expected((1, 2))
    assert (tmp_path / "saved" / "dlrm_checkpoint").stat().st_size == SAVED_BYTES
    assert len(list((tmp_path / "saved").iterdir())) == 1
    for rank in range(4):
        windows = load(spec, f"steps/windows-{rank:05d}.npy")
        assert windows["phase"].tolist() == [Phase.TRAIN, Phase.EVAL, Phase.CHECKPOINT] * 6
        samples = windows["samples"].reshape(6, 3).tolist()
        trained_on = [[384, TESTS, 0], [384, TESTS, 0], [ROWS - 768, TESTS, 0]] * 2
        assert samples == (trained_on if rank == 0 else [[0] * 3] * 6)


@pytest.mark.parametrize("loader_workers", [1, 3])
def test_loader_workers_read_every_batch_once_and_nothing_beyond_a_pause(
    tmp_path, data_dir, loader_workers
):
    spec = trained(tmp_path, data_dir, loader_workers=loader_workers, epochs=1)
    rows = load(spec, "trace/rank-00000.npy")
    windows = load(spec, "steps/windows-00000.npy")
    for steps, window in zip(PARTS, windows[windows["phase"] == Phase.TRAIN], strict=True):
        within = (rows["t0_ns"] >= window["start_ns"]) & (rows["t1_ns"] <= window["end_ns"])
        reads = rows[within & (rows["op"] == Op.READ) & (rows["returned"] > 0)]
        assert sorted(reads["step"].tolist()) == list(steps)
    reads = rows[(rows["op"] == Op.READ) & (rows["phase"] == Phase.TRAIN) & (rows["epoch"] > 0)]
    assert reads["returned"].sum() == 160 * ROWS


def test_a_shuffled_epoch_goes_on_with_the_batches_that_are_left(tmp_path, data_dir):
    spec = trained(tmp_path, data_dir, shuffle="batches", epochs=1)
    rows = load(spec, "trace/rank-00000.npy")
    assert phases(rows) == expected((1,))
    reads = rows[(rows["op"] == Op.READ) & (rows["phase"] == Phase.TRAIN) & (rows["epoch"] > 0)]
    assert len(set(reads["offset"].tolist()) - {160 * ROWS}) == 8


def test_days_are_not_loaded_anew_because_of_a_test(tmp_path):
    # A test within the first day, one at its end, and one within the second.
    days = make_days(tmp_path / "data", [400, 300, 200])
    changes = {"accelerators": 1, "batch_size": 100, "eval_every_steps": 2}
    spec = trained(tmp_path, days, **changes)
    rows = load(spec, "trace/rank-00000.npy")
    opens = rows[(rows["op"] == Op.OPEN) & (rows["epoch"] > 0) & (rows["phase"] < 3)]
    first = [(0, Phase.TRAIN), (2, Phase.EVAL), (2, Phase.EVAL), (1, Phase.TRAIN)]
    assert [(row["file"], row["phase"]) for row in opens] == [
        *first,
        *[(2, Phase.EVAL)] * 2,
    ] * 2


def test_what_is_told_of_the_run_has_no_pause_in_it(tmp_path, data_dir):
    trained(tmp_path, data_dir)
    recording = read_recording(tmp_path / "out")
    epochs = epochs_of(recording, warmup_epochs=0)
    assert [epoch.complete for epoch in epochs] == [True, True]
    # Two tests within each epoch take 2 x 50 ms at least; eight steps 20 ms each.
    for epoch in epochs:
        assert epoch.pauses_ns[[3, 6]].min() > 100_000_000
        assert np.delete(epoch.pauses_ns, [3, 6]).tolist() == [0] * 6
        assert [len(own) for own in epoch.windows] == [3] * 4
        for rank, own in enumerate(epoch.windows):
            assert epoch.walls_ns[rank] == (own["end_ns"] - own["start_ns"]).sum()
        whole_ns = epoch.release_ns[-1] - epoch.release_ns[0]
        assert epoch.declared_ns < epoch.window_ns < whole_ns - 200_000_000
    metrics = compute_metrics(epochs, byte_source="none")
    declared_ns = sum(epoch.declared_ns for epoch in epochs)
    assert metrics.au.value == declared_ns / sum(epoch.window_ns for epoch in epochs)
    assert metrics.bytes.returned == 2 * 160 * ROWS
    losses = compute_losses(recording, epochs)
    check = check_recording(recording, losses)
    assert (check.passed, check.checked_windows) == (True, 4 * 18)
    assert all(own.eval > 6 * 100_000_000 for own in losses)
    assert all(own.checkpoint > 0 for own in losses)
    passes = evaluations_of(recording, byte_source="none")
    assert [(own.epoch, own.step, own.samples) for own in passes] == [
        (epoch, step, TESTS) for epoch in (1, 2) for step in (3, 6, 8)
    ]
    assert [own.bytes.returned for own in passes] == [160 * TESTS] * 6
    saved = checkpoint_of(recording)
    assert (saved.epoch, saved.count, saved.written_bytes) == (2, 6, 6 * SAVED_BYTES)


def test_each_checkpoint_has_another_content(tmp_path, data_dir):
    spec = trained(tmp_path, data_dir, epochs=1)
    last = (tmp_path / "saved" / "dlrm_checkpoint").read_bytes()
    (tmp_path / "saved" / "dlrm_checkpoint").unlink()
    (tmp_path / "saved").rmdir()
    (tmp_path / "again").mkdir()
    once = trained(tmp_path / "again", data_dir, epochs=1, eval_every_steps=0)
    assert once.seed == spec.seed
    assert (tmp_path / "again" / "saved" / "dlrm_checkpoint").read_bytes() != last


def test_rows_and_windows_of_a_rank_that_stops_in_a_part_agree(tmp_path, data_dir):
    trained(tmp_path, data_dir, epochs=1)
    recording = read_recording(tmp_path / "out")
    # As if rank 0 had been stopped in its second part: one window is there, calls of both.
    windows = (recording.windows[0][:3], *recording.windows[1:])
    steps = (recording.steps[0][:5], *recording.steps[1:])
    cut = type(recording)(
        steps=steps,
        windows=windows,
        rows=recording.rows,
        files=recording.files,
        worker=recording.worker,
    )
    [epoch] = epochs_of(cut, warmup_epochs=0)
    assert (epoch.complete, epoch.windows) == (False, None)
    problems = check_recording(cut, []).problems
    assert problems == []
    assert [own.step for own in evaluations_of(cut, byte_source="none")] == [3]
