"""Which rank reads which sample when. Pure; samples are numbers from 0."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import DataSetError
from dsgen.seed import named_words, permutation
from harness.worker.spec import WorkerSpec

Samples = NDArray[np.intp]


def steps_per_epoch(samples: int, *, ranks: int, batch_size: int) -> int:
    """Return the full steps of an epoch: whole batches of what divides among the ranks."""
    return samples // ranks // batch_size


def check_steps(spec: WorkerSpec, available: int) -> None:
    """Compare the steps of an epoch that are asked for with those that the data set has.

    Raises:
        DataSetError: it has fewer.
    """
    if spec.steps > available:
        what = f"{available:,} steps in the data set, {spec.steps:,} of an epoch were asked for"
        raise DataSetError(what, where=spec.data_dir, then="use a larger data set or fewer --steps")


def train_batches(
    samples: int, *, seed: int, epoch: int, rank: int, ranks: int, batch_size: int
) -> Samples:
    """Return the rank's batches of one epoch, shape (steps, batch_size).

    One permutation for all ranks, cut to a multiple of them; a rank takes every ranks-th, and of
    those whole batches: a distributed sampler and a loader that both drop what is left over.
    """
    order = permutation(named_words("training order", seed, epoch), samples)
    own = order[: samples - samples % ranks][rank::ranks]
    steps = len(own) // batch_size
    return own[: steps * batch_size].reshape(steps, batch_size)


def typical(sizes_bytes: Sequence[int], count: int) -> Samples:
    """Return the samples, `count` of them or all, whose sizes are nearest to the mean.

    >>> typical([1, 5, 6, 20], 2).tolist()
    [2, 1]
    """
    sizes = np.array(sizes_bytes, np.float64)
    return np.argsort(np.abs(sizes - sizes.mean()), kind="stable")[:count]


def in_turn(pool: Samples, *, rank: int, ranks: int, batch_size: int, steps: int) -> Samples:
    """Return batches that go round a few samples, all ranks together; shape (steps, batch_size)."""
    places = np.arange(steps * ranks * batch_size).reshape(steps, ranks, batch_size)
    return pool[places[:, rank] % len(pool)]


def eval_order(samples: int, *, seed: int, epoch: int, rank: int, ranks: int) -> Samples:
    """Return the rank's part of the evaluation samples, in this epoch's order.

    Parts are contiguous and always the same; their sizes differ by one at most.
    """
    part = np.array_split(np.arange(samples), ranks)[rank]
    return part[permutation(named_words("evaluation order", seed, epoch, rank), len(part))]


def evaluates(epoch: int, *, eval_from: int, eval_every: int) -> bool:
    """Return whether an evaluation follows `epoch`; `eval_from` 0 means never."""
    return 0 < eval_from <= epoch and (epoch - eval_from) % eval_every == 0


def evaluates_times(epochs: int, *, eval_from: int, eval_every: int) -> int:
    """Return how many of the epochs from 1 on an evaluation follows.

    >>> evaluates_times(20, eval_from=10, eval_every=2)
    6
    """
    return len(range(eval_from, epochs + 1, eval_every)) if eval_from else 0
