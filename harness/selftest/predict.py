"""What AU a storage of known bandwidth allows: arithmetic on the bytes of each batch. Pure."""

import numpy as np
from numpy.typing import NDArray

from harness.analysis.epoch import Epoch

Ns = NDArray[np.int64]


def predict_au(epochs: tuple[Epoch, ...], bytes_per_s: float) -> float:
    """Return the AU of epochs whose ranks read ahead, one batch after the other.

    Ranks share the bandwidth equally until one has all its batches. A step begins when every rank
    has its batch and the step before has ended.

    Args:
        epochs: complete ones; of their steps, only bytes and declared times are looked at.
        bytes_per_s: of the storage, for all ranks together.
    """
    declared = window = 0.0
    for epoch in epochs:
        steps = epoch.steps[:, 1:]
        times_s = steps["declared_ns"].max(axis=0) / 1e9
        declared += float(times_s.sum())
        window += _window_s(steps["bytes"], times_s, bytes_per_s)
    return declared / window


def _window_s(sizes: Ns, declared_s: NDArray[np.float64], bytes_per_s: float) -> float:
    read = sizes.cumsum(axis=1)  # shape (ranks, steps)
    totals = read[:, -1]
    # When a rank has read so much, the others have as much, or all that is theirs.
    by_then = np.minimum(read[:, :, None], totals[None, None, :]).sum(axis=2)
    arrival_s = (by_then / bytes_per_s).max(axis=0)
    end_s = 0.0
    for arrived_s, step_s in zip(arrival_s.tolist(), declared_s.tolist(), strict=True):
        end_s = max(end_s, arrived_s) + step_s
    return end_s
