"""Rows that one rank reads reach each rank, once, and whole."""

import multiprocessing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.worker.loading.handover import GivingLoader, Handover, TakingLoader
from harness.worker.loading.loader import DELIVERY
from harness.worker.loading.shares import Shares, as_rows
from harness.worker.record import Phase

CONTEXT = multiprocessing.get_context("fork")


def rows_of(count, first=0):
    return np.arange(first, first + 40 * count, dtype=np.int32).reshape(count, 40)


@given(ranks=st.integers(1, 9), batch_size=st.integers(1, 20), data=st.data())
def test_parts_are_the_batch_in_its_order_and_equal_but_for_a_row(ranks, batch_size, data):
    shares = Shares(ranks=ranks, batch_size=batch_size)
    for _ in range(2):  # what the batch before left is gone
        count = data.draw(st.integers(1, ranks * batch_size))
        rows = rows_of(count, data.draw(st.integers(0, 1000)))
        shares.put(rows)
        parts = [shares.part(rank) for rank in range(ranks)]
        assert np.array_equal(np.concatenate(parts), rows)
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_arrays_of_a_day_become_the_rows_that_bin_has():
    rows = rows_of(5)
    arrays = {
        "X_int": rows[:, 1:14].astype(np.float64),
        "X_cat": rows[:, 14:].astype(np.float64),
        "y": rows[:, 0].astype(np.float64),
    }
    assert np.array_equal(as_rows(arrays), rows)
    assert as_rows(rows) is rows


class Source:
    """A loader that has one batch, again and again."""

    deliveries = np.zeros(5, DELIVERY)

    def __init__(self, batch):
        self._batch = batch

    def start(self, batches, *, phase, epoch, goes_on=False):
        pass

    def next(self):
        return self._batch


def test_who_does_not_read_gets_its_part_in_another_process():
    handover = Handover(CONTEXT, takers=2, steps=1, shares=Shares(ranks=3, batch_size=4))
    pipes = [CONTEXT.Pipe() for _ in range(2)]

    def take(rank, pipe):
        pipe.send(TakingLoader(handover, rank=rank, most_batches=1).next().tolist())

    processes = [
        CONTEXT.Process(target=take, args=(rank, theirs), daemon=True)
        for rank, (_, theirs) in enumerate(pipes, 1)
    ]
    for process in processes:
        process.start()
    rows = rows_of(11)
    giving = GivingLoader(Source(rows), handover)
    giving.start((), phase=Phase.TRAIN, epoch=1)
    own = giving.next()
    taken = []
    for ours, _ in pipes:
        assert ours.poll(10)
        taken += ours.recv()
    assert own.tolist() + taken == rows.tolist()
    for process in processes:
        process.join(10)


@pytest.mark.parametrize(("phase", "whole"), [(Phase.TRAIN, True), (Phase.EVAL, False)])
def test_where_nothing_is_shared_the_reader_keeps_its_batch_and_others_have_none(phase, whole):
    handover = Handover(CONTEXT, takers=1, steps=1)
    giving = GivingLoader(Source([b"a", b"b"]), handover)
    giving.start((), phase=phase, epoch=1)
    assert giving.next() == [b"a", b"b"]
    if whole:
        assert TakingLoader(handover, rank=1, most_batches=1).next() is None
