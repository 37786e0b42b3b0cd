"""Accelerators that compute: they get what was read, and what they took is what counts."""

import multiprocessing
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsgen.errors import UsageError
from dsgen.manifest import read_manifest
from dsgen.write import generate
from harness.worker.accelerators.emulated import AS_TAKEN
from harness.worker.failure import SelfCheckError
from harness.worker.host.counters import Bystanders
from harness.worker.ranks.comm import Board, Turnstile
from harness.worker.ranks.loop import Job, Training
from harness.worker.record import Phase
from harness.worker.recording.io import DataCalls
from harness.worker.recording.ledger import ledger_of
from harness.worker.recording.whereabouts import Whereabouts
from harness.worker.recording.window import Meter, check_window
from harness.worker.workloads import plan
from tests.property.strategies import data_set
from tests.unit.dlrm_sets import make_text
from tests.unit.worker_run import make_data_set, make_spec

pytestmark = pytest.mark.alone


class Computing:
    """Takes a known time, and keeps what it was given."""

    spin_ns = 0

    def __init__(self):
        self.taken = []

    def declare(self, _epoch, steps):
        return [AS_TAKEN] * steps

    def run(self, _load_end_ns, _declared_ns, batch, _rehearse):
        self.taken.append([np.array(part) for part in batch])
        time.sleep(0.01 * len(self.taken))
        return time.monotonic_ns()


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_step_is_declared_to_take_what_it_took_on_the_batch_that_was_read(
    tmp_path, loader_workers
):
    data_dir = make_data_set(tmp_path / "data", train=4, evaluation=1, side=16)
    spec = make_spec(
        *(tmp_path, data_dir),
        accelerator="tensorflow",
        step_time=None,
        loader_workers=loader_workers,
        eval_from=1,
    )
    context = multiprocessing.get_context("fork")
    reading = plan(spec, read_manifest(data_dir))
    job = Job(
        spec=spec,
        reading=reading,
        barrier=Turnstile(context, 1, spin=False),
        board=Board(1, epochs=1),
        whereabouts=Whereabouts(1, 1 + loader_workers),
        spin=False,
        checkpoint=None,
        ledgers=[ledger_of(spec, reading, rank=0, checkpoint=None)],
    )
    accelerator = Computing()
    training = Training(job, 0, accelerator)
    training.run()
    # One step a case; evaluation is read, and computes nothing.
    assert len(accelerator.taken) == 4
    (tmp_path / "steps").mkdir()
    (tmp_path / "trace").mkdir()
    training.save(tmp_path)
    steps = np.load(tmp_path / "steps/rank-00000.npy")[1:]
    took = steps["compute_end_ns"] - steps["load_end_ns"]
    assert steps["declared_ns"].tolist() == took.tolist()
    assert (took >= [10_000_000, 20_000_000, 30_000_000, 40_000_000]).all()
    wanted = []
    for batch in reading.train(1, 0):
        (sample,) = batch.samples
        volume = np.load(sample.case.x.path)[0]
        wanted.append(volume.ravel()[0])
    assert [float(x[0, 0, 0, 0]) for x, _ in accelerator.taken] == wanted


def test_what_prepares_a_training_has_nothing_to_compute(tmp_path):
    data_dir = make_text(tmp_path / "data", 4)
    spec = make_spec(
        *(tmp_path, data_dir), workload="dlrm", accelerator="tensorflow", step_time=None
    )
    with pytest.raises(UsageError, match=r"only prepared.*--accelerator tensorflow"):
        plan(spec, read_manifest(data_dir))


def test_what_tf_data_reads_is_not_computed_on(tmp_path):
    data_dir = tmp_path / "data"
    generate(data_set("bert", 50_000).layout(), data_dir, processes=1, emit=lambda _: None)
    changes = {"workload": "bert", "loader_workers": 1, "steps": 1, "loader": "tfdata"}
    spec = make_spec(tmp_path, data_dir, **changes)
    assert plan(spec, read_manifest(data_dir)).readers == 1
    spec = replace(spec, accelerator="tensorflow", step_time=None)
    with pytest.raises(UsageError, match="cannot be told from what TensorFlow reads"):
        plan(spec, read_manifest(data_dir))


@pytest.fixture
def bystander():
    """A thread that reads a file whenever it is asked to, and has done so once."""
    asked, done = threading.Semaphore(0), threading.Semaphore(0)

    def read():
        while True:
            asked.acquire()
            Path("/proc/self/stat").read_text()
            done.release()

    threading.Thread(target=read, daemon=True).start()

    def ask():
        asked.release()
        assert done.acquire(timeout=10)

    ask()
    return ask


def closed(meter):
    return meter.close(epoch=1, phase=Phase.TRAIN, start_ns=0, end_ns=1, samples=1)


def test_what_a_computing_thread_reads_is_told_from_data(bystander):
    calls = DataCalls(rank=0, loader=0, rows=1, marks=1)
    meter = Meter([calls], bystanders=Bystanders().rchar)
    for _ in range(2):
        meter.open()
        bystander()
        window = closed(meter)
        assert window["other_read_bytes"] > 0
        check_window(window, 0)


def test_what_the_main_thread_reads_beside_is_never_told_from_data(bystander):
    calls = DataCalls(rank=0, loader=0, rows=1, marks=1)
    meter = Meter([calls], bystanders=Bystanders().rchar)
    meter.open()
    bystander()
    Path("/proc/self/stat").read_text()
    with pytest.raises(SelfCheckError):
        check_window(closed(meter), 0)


def test_an_emulation_excuses_no_thread(bystander):
    meter = Meter([DataCalls(rank=0, loader=0, rows=1, marks=1)])
    meter.open()
    bystander()
    with pytest.raises(SelfCheckError):
        check_window(closed(meter), 0)


def test_what_waiting_burns_is_no_cpu_time_of_a_window():
    def burn():
        start_ns = time.thread_time_ns()
        while time.thread_time_ns() - start_ns < 20_000_000:
            pass
        return time.thread_time_ns() - start_ns

    spun = [0]
    meter = Meter([DataCalls(rank=0, loader=0, rows=1, marks=1)], spun_ns=lambda: spun[0])
    meter.open()
    spun[0] += burn()
    worked_ns = burn()
    assert worked_ns <= closed(meter)["cpu_ns"] < worked_ns + 10_000_000
    meter.open()
    spun[0] += 10**12
    assert closed(meter)["cpu_ns"] == 0


def test_a_thread_that_came_later_is_no_bystander():
    before = Bystanders()
    ended, ready = threading.Event(), threading.Event()

    def read():
        Path("/proc/self/stat").read_text()
        ready.set()
        ended.wait(10)

    thread = threading.Thread(target=read, daemon=True)
    known = before.rchar()
    thread.start()
    assert ready.wait(10)
    assert before.rchar() == known
    assert Bystanders().rchar() > known
    ended.set()
    thread.join()
