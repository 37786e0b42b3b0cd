"""Runs in which nothing moves: what is said, and that they end whatever holds them."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness.analysis.epoch import epochs_of
from harness.analysis.metrics import compute_metrics
from harness.recordings import read_recording
from harness.worker.failure import StalledError, TimeLimitError
from harness.worker.host.vitals import Vitals, vitals
from harness.worker.ranks.comm import Activity, Board
from harness.worker.ranks.watchdog import _WORDS, Limits, Watchdog
from harness.worker.record import FileClass, Op
from harness.worker.recording.io import TracedFile
from harness.worker.recording.whereabouts import Place, Whereabouts
from harness.worker.spec import StepTime
from tests.unit.stuck_storage import stuck_storage
from tests.unit.worker_run import REPOSITORY, command, load, load_json, make_data_set, make_spec
from tests.waiting import wait_until

pytestmark = pytest.mark.alone

S = 10**9
FILES = [
    TracedFile(
        id=7, path="/d/case_00012_x.npy", size_bytes=1, file_class=FileClass.X, role="train"
    ),
    TracedFile(
        id=8, path="/c/ckpt", size_bytes=1, file_class=FileClass.CHECKPOINT, role="checkpoint"
    ),
]


class Watched:
    """A watchdog over ranks that a test moves, and a clock that it moves, too."""

    def __init__(self, ranks=4, threads=2, **limits):
        self.now_ns = 1000 * S
        self.whereabouts = Whereabouts(ranks, threads)
        self.board = Board(ranks, epochs=2)
        self.vitals = [Vitals(state="S", cpu_s=1.0, moved_bytes=5)] * ranks
        self.watchdog = Watchdog(
            whereabouts=self.whereabouts,
            board=self.board,
            files=FILES,
            limits=Limits(**({"stall_s": None, "duration_s": None} | limits)),
            vitals=lambda: self.vitals,
            clock=lambda: self.now_ns,
        )
        self.watchdog.look()

    def enter(self, rank, thread, place, *file):
        self.whereabouts.post(rank, thread).enter(place, self.now_ns, *file)

    def after(self, seconds):
        """Return what is said after so many looks, one a second."""
        said = None
        for _ in range(seconds):
            self.now_ns += S
            said = self.watchdog.look()
        return said


def test_the_rank_that_others_wait_for_is_named_with_file_and_time():
    run = Watched()
    for rank in (0, 1, 2):
        run.enter(rank, 0, Place.BARRIER)
    run.enter(3, 0, Place.BATCH)
    run.enter(3, 1, Op.READ, 7)
    assert run.after(9) is None
    assert run.after(31) == "rank 3 in read of case_00012_x.npy for 40 s; 3 more ranks wait"


@pytest.mark.parametrize(
    ("place", "file", "words"),
    [
        (Op.OPEN, 7, "rank 0 in open of case_00012_x.npy for 20 s"),
        (Op.WRITE, 8, "rank 0 in write of the checkpoint ckpt for 20 s"),
        (Op.FSYNC, 8, "rank 0 in fsync of the checkpoint ckpt for 20 s"),
        (Place.BARRIER, None, "rank 0 at the barrier for 20 s"),
        (Place.EVICTION, 7, "rank 0 evicting case_00012_x.npy for 20 s"),
        (Place.PROBE, 7, "rank 0 asking what is in memory of case_00012_x.npy for 20 s"),
        (Place.WARMING, 7, "rank 0 reading into memory case_00012_x.npy for 20 s"),
        (Place.PIPELINE, None, "rank 0 in tf.data's pipeline for 20 s"),
        (Place.HANDOVER, None, "rank 0 waiting for another rank's batch for 20 s"),
        (Place.NOWHERE, None, "no rank is in a call on data"),
    ],
)
def test_every_place_has_its_words(place, file, words):
    run = Watched(ranks=1)
    run.enter(0, 0, place, *([] if file is None else [file]))
    assert run.after(20) == words


def test_no_place_is_without_words():
    assert set(_WORDS) == set(Place) - {Place.NOWHERE}


def test_a_rank_that_is_stopped_is_named_first():
    run = Watched()
    run.enter(1, 0, Op.READ, 7)
    run.vitals = [*run.vitals[:2], Vitals(state="T", cpu_s=1.0, moved_bytes=5), run.vitals[3]]
    assert run.after(20) == "rank 2 is stopped by a signal; 1 more rank waits"


def moved_call(run):
    run.enter(0, 1, Op.READ, 7)


def moved_step(run):
    run.board.advance(0, run.now_ns, 0)


def moved_byte(run):
    last = run.vitals[-1]
    run.vitals = [*run.vitals[:-1], Vitals(state="D", cpu_s=1.0, moved_bytes=last.moved_bytes + 1)]


def moved_processor(run):
    last = run.vitals[-1]
    run.vitals = [*run.vitals[:-1], Vitals(state="R", cpu_s=last.cpu_s + 0.06, moved_bytes=5)]


@pytest.mark.parametrize("move", [moved_call, moved_step, moved_byte, moved_processor])
def test_whatever_moves_keeps_a_run_alive(move):
    run = Watched(stall_s=15)
    for _ in range(40):
        move(run)
        assert run.after(1) is None
    assert run.after(14) is not None
    with pytest.raises(StalledError, match="nothing moved for 15 s") as why:
        run.after(1)
    assert why.value.exit_code == 10


def test_a_long_step_of_an_emulated_accelerator_is_no_stall():
    run = Watched(stall_s=15)
    for rank in range(4):
        run.whereabouts.post(rank, 0).enter(Place.COMPUTE, run.now_ns + 100 * S)
    assert run.after(99) is None
    with pytest.raises(StalledError, match=r"rank 0 in a step of its accelerator for 1[45] s"):
        run.after(20)


def test_time_in_which_the_watch_itself_was_stopped_is_no_stall():
    run = Watched(stall_s=15)
    run.enter(0, 1, Op.READ, 7)
    run.after(2)
    run.now_ns += 3600 * S
    assert run.watchdog.look() is None


def test_the_time_limit_names_what_was_waited_for():
    run = Watched(duration_s=12)
    run.board.enter(0, Activity.TRAIN, 2, 9)
    run.enter(2, 0, Op.READ, 7)
    with pytest.raises(TimeLimitError) as why:
        run.after(12)
    assert why.value.exit_code == 10
    assert str(why.value) == (
        "stopped at its time limit of 12 s: train, epoch 2, step 0 of 9; rank 2 in read of "
        "case_00012_x.npy for 12 s; raise --max-duration"
    )


def test_the_vitals_of_a_process_are_the_kernels():
    own = vitals(os.getpid())
    assert own.state == "R"
    assert own.cpu_s > 0
    assert own.moved_bytes > 0
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert vitals(ended.pid) is None


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_data_set(tmp_path_factory.mktemp("set") / "data", train=8, side=16)


@contextlib.contextmanager
def started(tmp_path, spec):
    """Start a run whose words go to files: a rank that nothing ends would hold a pipe open."""
    with (tmp_path / "stdout").open("w") as out, (tmp_path / "stderr").open("w") as errors:
        process = subprocess.Popen(
            command(tmp_path, spec), cwd=REPOSITORY, stdout=out, stderr=errors
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def events(tmp_path):
    return [json.loads(line) for line in (tmp_path / "stdout").read_text().splitlines()]


def trained(tmp_path):
    return any(event.get("step") for event in events(tmp_path))


def ranks_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return sorted(map(int, children.split()))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"stall_s": 2.0}, "nothing moved for"),
        ({"max_duration_s": 8.0}, "stopped at its time limit of 8 s: train, epoch"),
    ],
)
def test_a_stopped_rank_ends_the_run_and_loses_nothing(tmp_path, data_dir, limits, words):
    step_time = StepTime(mean_s=0.02, sd_s=0.0)
    spec = make_spec(tmp_path, data_dir, accelerators=2, epochs=1000, step_time=step_time, **limits)
    with started(tmp_path, spec) as process:
        wait_until(lambda: trained(tmp_path), "a step ended")
        os.kill(ranks_of(process)[1], signal.SIGSTOP)
        assert process.wait(40) == 10
    last = events(tmp_path)[-1]
    assert (last["kind"], last["exit_code"]) == ("error", 10)
    assert words in last["text"]
    assert "rank 1 is stopped by a signal; 1 more rank waits" in last["text"]
    summary = load_json(spec, "worker.json")
    assert summary["status"] == "failed"
    assert [rank["error"] for rank in summary["ranks"]] == ["interrupted"] * 2
    for rank in range(2):
        assert len(load(spec, f"trace/rank-{rank:05d}.npy")) > 20


@pytest.mark.fuse
def test_a_run_ends_although_the_kernel_holds_a_rank(tmp_path, data_dir):
    point = tmp_path / "mounted"
    with stuck_storage(data_dir, point, "case_00005_x.npy") as stick:
        spec = make_spec(tmp_path, point, accelerators=2, epochs=1000, stall_s=3.0)
        with started(tmp_path, spec) as process:
            wait_until(lambda: trained(tmp_path), "a step ended")
            ranks = ranks_of(process)
            wait_until(
                lambda: any(event.get("epoch", 0) > 1 for event in events(tmp_path)), "an epoch"
            )
            stick()
            assert process.wait(60) == 10
        (left,) = [rank for rank in ranks if Path(f"/proc/{rank}").exists()]
        number = ranks.index(left)
        said = events(tmp_path)
        texts = [event["text"] for event in said if event["kind"] in ("error", "notice")]
        assert f"rank {number} in read of case_00005_x.npy for" in texts[-1]
        assert texts[0].startswith(f"rank {number} cannot be ended: process {left}, which the ker")
        summary = load_json(spec, "worker.json")
        assert "cannot be ended" in summary["ranks"][number]["error"]
        assert summary["ranks"][1 - number]["error"] == "interrupted"
        # What the held rank recorded its parent has saved: figures need all ranks.
        for rank in range(2):
            assert len(load(spec, f"steps/rank-{rank:05d}.npy")) > 1
            rows = load(spec, f"trace/rank-{rank:05d}.npy")
            assert len(rows) == summary["ranks"][rank]["rows"] > 20
            assert (rows["t1_ns"] > rows["t0_ns"]).all()
        recording = read_recording(Path(spec.out_dir))
        figures = compute_metrics(epochs_of(recording, warmup_epochs=0), byte_source="none")
        assert figures.au.value is not None
    wait_until(lambda: not Path(f"/proc/{left}").exists(), "the rank ended with its storage")
