"""Whole runs of the worker: what they leave behind, and that it agrees with itself."""

import itertools
import json
import multiprocessing
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from harness.worker.failure import RankError
from harness.worker.ranks.comm import Board, Turnstile
from harness.worker.ranks.crew import Crew
from harness.worker.ranks.loop import Job
from harness.worker.record import ROW, STEP, WINDOW, Op, Phase
from harness.worker.recording.io import DataCalls
from harness.worker.recording.ledger import ledger_of
from harness.worker.recording.whereabouts import Whereabouts
from harness.worker.spec import StepTime
from harness.worker.training import run_training
from harness.worker.workload import Batch
from tests.unit.worker_run import load, load_json, make_data_set, make_spec, run_worker

WAITS = ("wait_storage_ns", "wait_io_cpu_ns", "wait_decode_cpu_ns", "wait_runqueue_ns")
KINDS = pytest.mark.parametrize(
    "changes",
    [
        {"loader_workers": 0, "buffer": "reuse"},
        {"loader_workers": 0, "buffer": "fresh", "cache": "warm"},
        {"loader_workers": 3, "buffer": "reuse", "cache": "cold"},
        {"loader_workers": 1, "buffer": "fresh", "prefetch_batches": 1, "cache": "once"},
    ],
    ids=["inline", "fresh", "workers", "one-worker"],
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_data_set(tmp_path_factory.mktemp("set") / "data", train=13, evaluation=3, side=24)


def full_spec(tmp_path, data_dir, **changes):
    """Return a spec that uses everything there is."""
    values = {
        "accelerators": 2,
        "batch_size": 2,
        "epochs": 3,
        "eval_from": 2,
        "eval_every": 1,
        "evaluation_case_s": 0.001,
        "checkpoint_dir": str(tmp_path),
        "checkpoint_bytes": 100_000,
    }
    return make_spec(tmp_path, data_dir, **(values | changes))


@KINDS
def test_a_run_leaves_every_step_window_and_row(tmp_path, data_dir, changes):
    spec = full_spec(tmp_path, data_dir, **changes)
    done = run_worker(tmp_path, spec)
    assert (done.returncode, done.stderr) == (0, "")
    for rank in range(2):
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        steps = load(spec, f"steps/rank-{rank:05d}.npy")
        windows = load(spec, f"steps/windows-{rank:05d}.npy")
        assert (rows.dtype, steps.dtype, windows.dtype) == (ROW, STEP, WINDOW)
        assert steps[["epoch", "step"]].tolist() == [(e, s) for e in (1, 2, 3) for s in range(4)]
        assert windows[["epoch", "phase"]].tolist() == [
            (1, Phase.TRAIN),
            *((2, Phase.TRAIN), (2, Phase.EVAL)),
            *((3, Phase.TRAIN), (3, Phase.EVAL)),
            (3, Phase.CHECKPOINT),
        ]
        assert (np.diff(rows["t0_ns"]) >= 0).all()
        assert set(rows["rank"]) == {rank}
        workers = changes["loader_workers"]
        data = rows[rows["phase"] != Phase.CHECKPOINT]
        assert set(data["loader"]) <= ({0} if workers == 0 else set(range(1, workers + 1)))


@KINDS
def test_the_kernels_bytes_are_the_rows_bytes(tmp_path, data_dir, changes):
    spec = full_spec(tmp_path, data_dir, **changes)
    assert run_worker(tmp_path, spec).returncode == 0
    for rank in range(2):
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        for window in load(spec, f"steps/windows-{rank:05d}.npy"):
            own = rows[(rows["epoch"] == window["epoch"]) & (rows["phase"] == window["phase"])]
            reads = own[own["op"] == Op.READ]
            assert window["row_bytes"] == reads["returned"].sum()
            assert window["asked_bytes"] == reads["requested"].sum()
            assert window["rchar"] == window["row_bytes"] + window["other_read_bytes"]
            inside = (own["t0_ns"] >= window["start_ns"]) & (own["t1_ns"] <= window["end_ns"])
            assert inside.all()
    check = load_json(spec, "worker.json")["self_check"]
    assert check == {"checked_windows": 12, "mismatches": 0}


@KINDS
def test_steps_are_whole_and_agree_with_the_rows(tmp_path, data_dir, changes):
    spec = full_spec(tmp_path, data_dir, **changes)
    assert run_worker(tmp_path, spec).returncode == 0
    declared = []
    for rank in range(2):
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        steps = load(spec, f"steps/rank-{rank:05d}.npy")
        order = ("load_start_ns", "load_end_ns", "compute_end_ns", "barrier_end_ns")
        for earlier, later in itertools.pairwise(order):
            assert (steps[earlier] <= steps[later]).all()
        train = steps[steps["step"] > 0]
        assert (train["compute_end_ns"] - train["load_end_ns"] >= train["declared_ns"]).all()
        declared.append(train["declared_ns"].tolist())
        for step in train:
            same = (rows["epoch"] == step["epoch"]) & (rows["step"] == step["step"])
            own = rows[same & (rows["phase"] == Phase.TRAIN)]
            assert step["bytes"] == own["returned"][own["op"] == Op.READ].sum()
            assert step["io_wall_ns"] == (own["t1_ns"] - own["t0_ns"]).sum()
            assert step["io_cpu_ns"] == own["cpu_ns"].sum()
    assert declared[0] == declared[1]


@KINDS
def test_the_wait_for_batches_is_explained(tmp_path, data_dir, changes):
    spec = full_spec(tmp_path, data_dir, step_time=StepTime(mean_s=0.01, sd_s=0), **changes)
    assert run_worker(tmp_path, spec).returncode == 0
    steps = load(spec, "steps/rank-00000.npy")
    for epoch in (1, 2, 3):
        own = steps[(steps["epoch"] == epoch)]
        wall_ns = own["barrier_end_ns"][-1] - own["barrier_end_ns"][0]
        interval_ns = (own["load_end_ns"] - own["load_start_ns"]).sum()
        explained_ns = sum(own[kind].sum() for kind in WAITS)
        print(f"epoch {epoch}: {(interval_ns - explained_ns) / wall_ns:.4%} unexplained")
        assert abs(interval_ns - explained_ns) < 0.005 * wall_ns
        assert min(own[kind].min() for kind in WAITS) >= 0


def test_worker_json_says_what_was_done(tmp_path, data_dir):
    spec = full_spec(tmp_path, data_dir, cache="cold")
    done = run_worker(tmp_path, spec)
    summary = load_json(spec, "worker.json")
    assert summary["schema_version"] == 1
    assert summary["status"] == "ok"
    assert summary["steps_per_epoch"] == 3
    assert summary["samples_used_per_epoch"] == 12
    assert summary["samples_dropped_per_epoch"] == 1
    assert [rank["rank"] for rank in summary["ranks"]] == [0, 1]
    assert all(rank["error"] is None and rank["peak_rss_bytes"] > 0 for rank in summary["ranks"])
    total = sum(path.stat().st_size for path in data_dir.glob("*.npy"))
    evicted = [(one["epoch"], one["files"], one["bytes"]) for one in summary["evictions"]]
    assert evicted == [(epoch, 32, total) for epoch in (1, 2, 3)]
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["kind"] for event in events} == {"train"}
    last = events[-1]
    rows = [load(spec, f"trace/rank-{rank:05d}.npy") for rank in range(2)]
    assert (last["epoch"], last["epochs"], last["phase"]) == (3, 3, "checkpoint")
    assert last["bytes"] == sum(own["returned"][own["op"] == Op.READ].sum() for own in rows)


def test_files_json_names_every_file_with_its_size(tmp_path, data_dir):
    spec = full_spec(tmp_path, data_dir)
    assert run_worker(tmp_path, spec).returncode == 0
    files = load_json(spec, "trace/files.json")
    data = [facts for facts in files.values() if facts["role"] != "checkpoint"]
    assert {facts["path"]: facts["size_bytes"] for facts in data} == {
        str(path): path.stat().st_size for path in data_dir.glob("*.npy")
    }
    rows = np.concatenate([load(spec, f"trace/rank-{rank:05d}.npy") for rank in range(2)])
    assert {str(number) for number in set(rows["file"])} <= set(files)
    roles = {(files[str(row["file"])]["role"], Phase(int(row["phase"]))) for row in rows}
    assert roles == {
        ("train", Phase.TRAIN),
        ("eval", Phase.EVAL),
        ("checkpoint", Phase.CHECKPOINT),
    }


def test_the_same_seed_reads_the_same_files_in_the_same_order(tmp_path, data_dir):
    def order(name, seed):
        spec = make_spec(tmp_path / name, data_dir, epochs=2, seed=seed)
        (tmp_path / name).mkdir()
        assert run_worker(tmp_path / name, spec).returncode == 0
        rows = load(spec, "trace/rank-00000.npy")
        return rows["file"][rows["op"] == Op.OPEN].tolist()

    assert order("a", 1) == order("b", 1) != order("c", 2)


def run_here(spec):
    """Run in this process's children, so that they inherit what a test planted."""
    events = []
    run_training(spec, events.append)
    return events


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_row_that_is_dropped_is_noticed(tmp_path, data_dir, monkeypatch, loader_workers):
    spec = make_spec(tmp_path, data_dir, epochs=2, loader_workers=loader_workers)
    attempt = DataCalls._attempt
    reads = itertools.count()

    def drop_one(self, op, *arguments):
        result = attempt(self, op, *arguments)
        if self.epoch == 2 and op is Op.READ and next(reads) == 7:
            self.row_count -= 1
        return result

    monkeypatch.setattr(DataCalls, "_attempt", drop_one)
    with pytest.raises(RankError, match=r"the kernel counted [\d,]+ bytes.*rank 0, epoch 2") as why:
        run_here(spec)
    assert why.value.exit_code == 11
    summary = load_json(spec, "worker.json")
    assert summary["status"] == "failed"
    assert summary["self_check"] == {"checked_windows": 2, "mismatches": 1}


def test_a_read_past_the_recorder_is_noticed(tmp_path, data_dir, monkeypatch):
    spec = make_spec(tmp_path, data_dir)
    mark = DataCalls.mark

    def stray(self):
        Path("/proc/self/cmdline").read_bytes()
        return mark(self)

    monkeypatch.setattr(DataCalls, "mark", stray)
    with pytest.raises(RankError, match="the kernel counted"):
        run_here(spec)


class InstantReading:
    """A workload whose batches are there at once."""

    def __init__(self):
        # Of the first thread that read, a loader worker or the main one.
        self.cores = multiprocessing.RawArray("i", 2)
        self._looked = False

    files = ()
    readers = 2
    computes = True
    steps_per_epoch = train_samples = 60
    open_files = opening_calls = reader_bytes = slot_bytes = 0

    def calls(self, _phase, _batches):
        return 0

    def end(self):
        pass

    def train(self, _epoch, _rank):
        return [Batch(step=step, samples=(0,)) for step in range(1, 61)]

    def evaluation(self, _epoch, _rank):
        return []

    def slots(self, _count):
        return None

    def reader(self, _calls, _slots):
        return self

    def batch(self, _slot):
        return None

    def read(self, _batch, slot):
        del slot  # named as the callers name it
        if self._looked:  # all but the first are there at once, which a look at the cores is not
            return
        self._looked = True
        is_main = threading.current_thread() is threading.main_thread()
        self.cores[is_main] = len(os.sched_getaffinity(0))


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_instant_batches_leave_accelerators_all_the_time(tmp_path, loader_workers):
    spec = make_spec(
        tmp_path,
        tmp_path,
        accelerators=2,
        epochs=2,
        loader_workers=loader_workers,
        step_time=StepTime(mean_s=0.01, sd_s=0),
    )
    for name in ("trace", "steps"):
        (tmp_path / "out" / name).mkdir(parents=True)
    context = multiprocessing.get_context("fork")
    reading = InstantReading()
    job = Job(
        spec=spec,
        reading=reading,
        barrier=Turnstile(context, 2, spin=True),
        board=Board(2, epochs=2),
        whereabouts=Whereabouts(2, 1 + loader_workers),
        spin=True,
        checkpoint=None,
        ledgers=[ledger_of(spec, reading, rank=rank, checkpoint=None) for rank in range(2)],
    )
    crew = Crew(context, job)
    crew.start()
    crew.watch(lambda: None)
    steps = load(spec, "steps/rank-00000.npy")
    epochs = [steps[steps["epoch"] == epoch] for epoch in (1, 2)]
    windows_ns = sum(own["barrier_end_ns"][-1] - own["barrier_end_ns"][0] for own in epochs)
    au = steps["declared_ns"].sum() / windows_ns
    # 0.99 and more on idle cores; how much is lost to busy ones is not the worker's to promise.
    print(f"AU of 2 ranks, {loader_workers} loader workers, 10 ms steps: {au:.4f}")
    assert 0 < au <= 1
    # What was burnt, 2 ms a step, is no CPU time of the rank; beside loader workers it is less.
    windows = load(spec, "steps/windows-00000.npy")
    assert windows["cpu_ns"].sum() < 120 * 1_500_000
    if loader_workers:
        assert crew.members[0].outcome.spin_ns < 120 * 1_200_000
    # Loader workers read on every core, a main thread stays on its own.
    assert list(reading.cores) == ([len(os.sched_getaffinity(0)), 0] if loader_workers else [0, 1])
