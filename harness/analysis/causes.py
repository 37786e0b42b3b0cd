"""Who made the others wait: lost time charged to what the last rank at each barrier was doing.

A rank's own losses do not say why a run is slow: one rank waits for storage, seven wait for it at
the barrier. So each step's lost time, all ranks' share of it, goes to the rank that came last.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.epoch import Epoch, measured
from harness.analysis.losses import split_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Causes:
    """Lost time in accelerator-ns: windows minus declared times, over all ranks.

    `storage_wait` + `client_cpu` + `emulator` + `other` = `lost`. `straggler_ns` is what would be
    saved if `straggler_rank` were never last, the best single rank to leave out; it was last in
    `straggler_steps` of `steps`. `straggler_slowness` is its time in data calls per byte over the
    others' median, None where that does not explain its waits or nothing was read.
    """

    lost_ns: int
    storage_wait_ns: int
    client_cpu_ns: int
    emulator_ns: int
    other_ns: int
    straggler_rank: int | None
    straggler_ns: int
    straggler_steps: int
    straggler_slowness: float | None
    steps: int

    @property
    def lost_s(self) -> float | None:
        """The lost time in accelerator-seconds; None when no step was measured."""
        return self.lost_ns / 1e9 if self.steps else None

    def share(self, part_ns: int) -> float | None:
        """Return `part_ns` as a share of the lost time; None when nothing was lost."""
        return part_ns / self.lost_ns if self.lost_ns > 0 else None


def find_causes(
    epochs: tuple[Epoch, ...], *, readers: int | None = None, inferred: bool = False
) -> Causes:
    """Charge the lost time of the measured epochs.

    Args:
        epochs: of the run.
        readers: ranks that read, None for all. One alone is always last, and no straggler.
        inferred: calls left no rows, so that nobody knows what a wait for a batch was spent on.
    """
    kept = measured(epochs)
    ranks = len(kept[0].steps) if kept else 0
    lost = sum(epoch.window_ns - epoch.declared_ns for epoch in kept) * ranks
    storage, client, emulator = (
        ranks * sum(charge)
        for charge in zip(*(_charges(epoch) for epoch in kept), (0, 0, 0), strict=True)
    )
    saved = sum((_saved_without_ns(epoch) for epoch in kept), np.zeros(ranks, np.int64))
    if inferred:
        storage = client = 0
    worst = int(np.argmax(saved)) if ranks > 1 and readers != 1 else None
    return Causes(
        lost_ns=lost,
        storage_wait_ns=storage,
        client_cpu_ns=client,
        emulator_ns=emulator,
        other_ns=lost - storage - client - emulator,
        straggler_rank=worst,
        straggler_ns=0 if worst is None else ranks * int(saved[worst]),
        straggler_steps=0 if worst is None else sum(_last_times(epoch, worst) for epoch in kept),
        straggler_slowness=None if worst is None else _slowness(kept, worst),
        steps=sum(epoch.steps.shape[1] - 1 for epoch in kept),
    )


def _charges(epoch: Epoch) -> tuple[int, int, int]:
    steps = epoch.steps[:, 1:]
    last = np.argmax(steps["compute_end_ns"], axis=0)
    split = split_steps(steps[last, np.arange(steps.shape[1])])
    client = split["io_cpu"] + split["decode_cpu"] + split["runqueue"]
    return (
        int(split["storage_wait"].sum()),
        int(client.sum()),
        int(split["emulator_overshoot"].sum()),
    )


def _saved_without_ns(epoch: Epoch) -> NDArray[np.int64]:
    arrivals = epoch.steps["compute_end_ns"][:, 1:]
    saved = np.zeros(len(arrivals), np.int64)
    if len(arrivals) > 1:
        ordered = np.sort(arrivals, axis=0)
        np.add.at(saved, np.argmax(arrivals, axis=0), ordered[-1] - ordered[-2])
    return saved


def _last_times(epoch: Epoch, rank: int) -> int:
    arrivals = epoch.steps["compute_end_ns"][:, 1:]
    return int((np.argmax(arrivals, axis=0) == rank).sum())


def _slowness(kept: tuple[Epoch, ...], rank: int) -> float | None:
    """Return how much longer a rank's reads took per byte, where it waited for them, not decoding.

    Ranks that read ahead from storage too slow for all of them lag behind by the bytes that they
    have drawn: one is last again and again although its reads are no slower than the others'.
    """
    steps = np.concatenate([epoch.steps[:, 1:] for epoch in kept], axis=1)
    split = split_steps(steps[rank])
    reads = split["storage_wait"] + split["io_cpu"] + split["runqueue"]
    if split["decode_cpu"].sum() >= reads.sum():
        return None
    read, took = steps["bytes"].sum(axis=1), steps["io_wall_ns"].sum(axis=1)
    others = [took[one] / read[one] for one in np.flatnonzero(read) if one != rank]
    if not others or not read[rank]:
        return None
    return float(took[rank] / read[rank] / np.median(others)) if np.median(others) else None
