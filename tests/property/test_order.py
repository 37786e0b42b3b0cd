"""Law: each epoch reads every sample at most once, by one rank, in an order of its own."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.worker.order import eval_order, evaluates, steps_per_epoch, train_batches

SEEDS = st.integers(0, 2**32)
SAMPLES = st.integers(1, 300)
RANKS = st.integers(1, 16)
BATCHES = st.integers(1, 8)
EPOCHS = st.integers(1, 50)


def epoch_of(samples, seed, epoch, ranks, batch_size):
    return [
        train_batches(
            samples, seed=seed, epoch=epoch, rank=rank, ranks=ranks, batch_size=batch_size
        )
        for rank in range(ranks)
    ]


@given(SAMPLES, SEEDS, EPOCHS, RANKS, BATCHES)
def test_an_epoch_is_whole_steps_of_different_samples(samples, seed, epoch, ranks, batch_size):
    steps = steps_per_epoch(samples, ranks=ranks, batch_size=batch_size)
    read = epoch_of(samples, seed, epoch, ranks, batch_size)
    assert all(batches.shape == (steps, batch_size) for batches in read)
    together = np.concatenate([batches.ravel() for batches in read])
    assert len(together) == ranks * batch_size * steps
    assert len(set(together.tolist())) == len(together)
    assert set(together.tolist()) <= set(range(samples))
    # No more is left over than a step more would take.
    assert samples - len(together) < ranks * batch_size


@given(st.integers(20, 300), SEEDS, EPOCHS, RANKS)
def test_epochs_differ_and_repeat_with_their_seed(samples, seed, epoch, ranks):
    assume(samples // ranks > 15)  # two equal orders of 15 samples come once in 10**12
    first = epoch_of(samples, seed, epoch, ranks, 1)
    assert np.array_equal(first, epoch_of(samples, seed, epoch, ranks, 1))
    assert not np.array_equal(first, epoch_of(samples, seed, epoch + 1, ranks, 1))
    assert not np.array_equal(first, epoch_of(samples, seed + 1, epoch, ranks, 1))


@given(st.integers(40, 300), SEEDS, EPOCHS)
def test_what_is_left_over_changes_with_the_epoch(samples, seed, epoch):
    # With half of the samples unread, two epochs agree on which once in C(40, 20) at most.
    ranks = samples // 2 + 1
    read = [
        {int(batches[0, 0]) for batches in epoch_of(samples, seed, number, ranks, 1)}
        for number in (epoch, epoch + 1)
    ]
    assert read[0] != read[1]


@given(SAMPLES, SEEDS, EPOCHS, RANKS)
def test_evaluation_covers_every_case_once_in_even_parts(samples, seed, epoch, ranks):
    parts = [
        eval_order(samples, seed=seed, epoch=epoch, rank=rank, ranks=ranks) for rank in range(ranks)
    ]
    assert sorted(np.concatenate(parts).tolist()) == list(range(samples))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(SEEDS, EPOCHS)
def test_evaluation_keeps_its_part_and_changes_its_order(seed, epoch):
    now, later = (
        eval_order(64, seed=seed, epoch=number, rank=1, ranks=2) for number in (epoch, epoch + 1)
    )
    assert sorted(now) == sorted(later)
    assert not np.array_equal(now, later)


def test_evaluation_follows_the_epochs_that_were_asked_for():
    def chosen(eval_from, eval_every):
        return [
            epoch
            for epoch in range(1, 21)
            if evaluates(epoch, eval_from=eval_from, eval_every=eval_every)
        ]

    assert chosen(10, 2) == [10, 12, 14, 16, 18, 20]
    assert chosen(19, 5) == [19]
    assert chosen(0, 1) == []
