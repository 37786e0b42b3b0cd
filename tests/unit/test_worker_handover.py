"""One rank gives word of a batch, the others take it, and their waits are told as the reader's."""

import multiprocessing
import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.worker.loading.handover import GivingLoader, Handover, TakingLoader
from harness.worker.loading.loader import DELIVERY
from harness.worker.record import STEP, Phase
from harness.worker.recording.waits import Waits, split_handed

CONTEXT = multiprocessing.get_context("fork")
NS = st.integers(0, 10**13)
KINDS = ("storage_ns", "io_cpu_ns", "decode_cpu_ns", "runqueue_ns")


def waits(*kinds):
    return Waits(**{name: np.array(kind) for name, kind in zip(KINDS, kinds, strict=True)})


class Source:
    """A loader whose batches are there at once."""

    deliveries = np.zeros(5, DELIVERY)

    def start(self, batches, *, phase, epoch, goes_on):
        pass

    def next(self):
        pass

    def finish(self):
        pass

    def waits(self, steps):
        return waits(*([kind] * len(steps) for kind in (1, 2, 3, 4)))


def test_nobody_goes_on_before_the_reader_and_nobody_twice():
    handover = Handover(CONTEXT, takers=3, steps=5)
    giving = GivingLoader(Source(), handover)
    barrier = threading.Barrier(4)
    given_steps, taken = [0], []

    def take():
        loader = TakingLoader(handover, rank=1, most_batches=5)
        loader.start((), phase=Phase.TRAIN, epoch=1)
        for step in range(1, 6):
            loader.next()
            taken.append((step, given_steps[0]))
            barrier.wait(10)

    threads = [threading.Thread(target=take, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    giving.start((), phase=Phase.TRAIN, epoch=1)
    for step in range(1, 6):
        assert len(taken) == 3 * (step - 1)
        given_steps[0] = step
        giving.next()
        barrier.wait(10)
    for thread in threads:
        thread.join(10)
    assert sorted(taken) == [(step, step) for step in range(1, 6) for _ in range(3)]


def test_no_word_is_given_in_an_evaluation():
    handover = Handover(CONTEXT, takers=1, steps=1)
    giving = GivingLoader(Source(), handover)
    giving.start((), phase=Phase.EVAL, epoch=1)
    giving.next()
    assert not handover._gate.acquire(block=False)
    giving.start((), phase=Phase.TRAIN, epoch=2)
    giving.next()
    assert handover._gate.acquire(block=False)


def test_waits_reach_other_processes():
    handover = Handover(CONTEXT, takers=1, steps=3)
    ours, theirs = CONTEXT.Pipe()

    def take():
        steps = np.zeros(3, STEP)
        steps["load_end_ns"] = 10
        split = TakingLoader(handover, rank=1, most_batches=3).waits(steps)
        theirs.send([getattr(split, name).tolist() for name in KINDS])

    process = CONTEXT.Process(target=take, daemon=True)
    process.start()
    GivingLoader(Source(), handover).waits(np.zeros(3, STEP))
    assert ours.poll(10)
    assert ours.recv() == [[1] * 3, [2] * 3, [3] * 3, [4] * 3]
    process.join(10)


@given(NS, NS, NS, NS, NS, NS)
def test_a_wait_is_split_to_the_nanosecond_and_never_negative(
    storage, io_cpu, decode, queue, interval, cpu
):
    reader = waits([storage], [io_cpu], [decode], [queue])
    split = split_handed(interval_ns=np.array([interval]), cpu_ns=np.array([cpu]), reader=reader)
    kinds = {name: int(getattr(split, name)[0]) for name in KINDS}
    assert sum(kinds.values()) == interval
    assert min(kinds.values()) >= 0
    # Nobody waited longer for storage than the rank that asked it.
    assert kinds["storage_ns"] <= storage
    assert kinds["io_cpu_ns"] <= io_cpu


def test_who_waits_longer_than_the_reader_was_woken_late():
    reader = waits([60], [20], [10], [10])
    split = split_handed(interval_ns=np.array([150]), cpu_ns=np.array([5]), reader=reader)
    assert [int(getattr(split, name)[0]) for name in KINDS] == [60, 20, 15, 55]
