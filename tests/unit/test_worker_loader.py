"""Loader workers deliver in order, ahead of the main thread, and never too far."""

import threading
import time

import pytest

from dsgen.errors import DataSetError
from harness.worker.loading.loader import InlineLoader, ThreadLoader, slots_for
from harness.worker.record import Phase
from harness.worker.recording.io import DataCalls
from harness.worker.workload import Batch


class Readers:
    """Remembers who read what when, and how many slots were full at once."""

    def __init__(self, *, slow_every=0, fail_at=None):
        self.read_by = {}
        self.order = []
        self.slots = {}
        self.taken = 0
        self.furthest = 0
        self.ended = 0
        self._slow_every = slow_every
        self._fail_at = fail_at
        self._lock = threading.Lock()

    def reader(self):
        return _Reader(self)

    def note(self, step, slot):
        if self._slow_every and step % self._slow_every == 0:
            time.sleep(0.002)
        if step == self._fail_at:
            raise DataSetError("broken", where=f"step {step}")
        with self._lock:
            self.read_by[step] = threading.get_ident()
            self.order.append(step)
            self.slots[slot] = step
            self.furthest = max(self.furthest, step - self.taken)


class _Reader:
    def __init__(self, readers):
        self._readers = readers

    def read(self, batch, slot):
        self._readers.note(batch.step, slot)

    def batch(self, slot):
        return self._readers.slots[slot]

    def end(self):
        self._readers.ended += 1


def batches(count):
    return [Batch(step=step, samples=()) for step in range(1, count + 1)]


def thread_loader(readers, *, workers, prefetch, most=100):
    pairs = [
        (DataCalls(rank=0, loader=number, rows=10, marks=most + 2), readers.reader())
        for number in range(1, workers + 1)
    ]
    return ThreadLoader(pairs, prefetch=prefetch, most_batches=most)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("prefetch", [1, 2, 5])
def test_batches_come_in_order_and_within_bounds(workers, prefetch):
    readers = Readers(slow_every=3)
    loader = thread_loader(readers, workers=workers, prefetch=prefetch)
    loader.start(batches(50), phase=Phase.TRAIN, epoch=1)
    for step in range(1, 51):
        assert loader.next() == step
        readers.taken = step
        assert step in readers.read_by
        time.sleep(0.0005)
        assert step in readers.slots.values()  # not overwritten while it is in use
    loader.finish()
    assert len(readers.slots) <= slots_for(workers, prefetch)
    # One more batch is allowed the moment one is handed over, before the test counts it.
    assert readers.furthest <= workers * prefetch + 1


def test_batch_i_is_read_by_worker_i_modulo_workers():
    readers = Readers()
    loader = thread_loader(readers, workers=3, prefetch=2)
    loader.start(batches(30), phase=Phase.TRAIN, epoch=1)
    for _ in range(30):
        loader.next()
    loader.finish()
    for worker in range(3):
        assert len({readers.read_by[step] for step in range(worker + 1, 31, 3)}) == 1
    assert len(set(readers.read_by.values())) == 3


def test_workers_read_ahead_of_the_main_thread():
    readers = Readers()
    loader = thread_loader(readers, workers=2, prefetch=3)
    loader.start(batches(20), phase=Phase.TRAIN, epoch=1)
    deadline = time.monotonic() + 10
    while len(readers.order) < 6 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert sorted(readers.order) == [1, 2, 3, 4, 5, 6]
    loader.finish()


def test_workers_live_for_one_phase():
    readers = Readers()
    loader = thread_loader(readers, workers=2, prefetch=2)
    before = threading.active_count()
    for epoch in (1, 2):
        loader.start(batches(5), phase=Phase.TRAIN, epoch=epoch)
        for _ in range(5):
            loader.next()
        loader.finish()
        assert threading.active_count() == before
        assert readers.ended == 2 * epoch
    assert sorted(readers.order) == sorted([*range(1, 6)] * 2)


def test_a_workers_error_reaches_the_main_thread_at_its_batch():
    readers = Readers(fail_at=4)
    loader = thread_loader(readers, workers=2, prefetch=2)
    loader.start(batches(10), phase=Phase.TRAIN, epoch=1)
    for _ in range(3):
        loader.next()
    with pytest.raises(DataSetError, match="step 4"):
        loader.next()
    loader.finish()


def test_without_workers_the_main_thread_reads_when_asked():
    readers = Readers()
    calls = DataCalls(rank=0, loader=0, rows=10, marks=30)
    loader = InlineLoader(calls, readers.reader(), most_batches=10)
    loader.start(batches(3), phase=Phase.EVAL, epoch=2)
    assert readers.order == []
    assert loader.next() == 1
    assert readers.order == [1]
    assert readers.read_by == {1: threading.get_ident()}
    assert (calls.phase, calls.epoch, calls.step) == (Phase.EVAL, 2, 1)
    loader.finish()
    assert (readers.ended, calls.step) == (1, 0)


def test_a_rehearsal_leaves_deliveries_marks_and_totals_as_they_are():
    readers = Readers()
    calls = DataCalls(rank=0, loader=0, rows=10, marks=3)
    loader = InlineLoader(calls, readers.reader(), most_batches=3)
    loader.start(batches(3), phase=Phase.TRAIN, epoch=1)
    for number in range(1, 4):
        loader.next()
        before = loader.deliveries[:number].copy(), calls.marks().copy(), repr(calls.totals)
        for _ in range(3):
            loader.rehearse()
        assert (loader.deliveries[:number] == before[0]).all()
        assert (calls.marks() == before[1]).all()
        assert repr(calls.totals) == before[2]
    assert readers.order == [1, 2, 3]
