"""Where each rank's time went, to the nanosecond: the kinds sum to the wall."""

import numpy as np
from numpy.typing import NDArray

from harness.analysis.epoch import Epoch, measured
from harness.analysis.part import Part
from harness.analysis.recording import Recording, Records
from harness.worker.record import Phase

KINDS = (
    "compute",
    "emulator_overshoot",
    "storage_wait",
    "io_cpu",
    "decode_cpu",
    "runqueue",
    "barrier",
    "eval",
    "checkpoint",
    "rest",
)


class Losses(Part, frozen=True, kw_only=True):
    """One rank's wall time in ns: its training windows, evaluations and checkpoints.

    `rest` is what no other kind explains; it may fall below zero by the error of the others.
    """

    rank: int
    wall: int
    compute: int
    emulator_overshoot: int
    storage_wait: int
    io_cpu: int
    decode_cpu: int
    runqueue: int
    barrier: int
    eval: int
    checkpoint: int
    rest: int


class LossTotals(Part, frozen=True, kw_only=True):
    """The same kinds over all ranks, in accelerator-seconds."""

    wall: float
    compute: float
    emulator_overshoot: float
    storage_wait: float
    io_cpu: float
    decode_cpu: float
    runqueue: float
    barrier: float
    eval: float
    checkpoint: float
    rest: float


def split_steps(steps: Records) -> dict[str, NDArray[np.int64]]:
    """Return what each step's time went to, kind by kind in ns, in the shape of `steps`.

    compute is the declared time, never more than the accelerator took; barrier is from the end of
    compute to leaving the barrier. What these leave of a step is `rest`.
    """
    taken = steps["compute_end_ns"] - steps["load_end_ns"]
    compute = np.minimum(taken, steps["declared_ns"])
    return {
        "compute": compute,
        "emulator_overshoot": taken - compute,
        "storage_wait": steps["wait_storage_ns"],
        "io_cpu": steps["wait_io_cpu_ns"],
        "decode_cpu": steps["wait_decode_cpu_ns"],
        "runqueue": steps["wait_runqueue_ns"],
        "barrier": steps["barrier_end_ns"] - steps["compute_end_ns"],
    }


def compute_losses(recording: Recording, epochs: tuple[Epoch, ...]) -> list[Losses]:
    """Return the losses of every rank over the measured epochs; none when nothing was measured."""
    kept = measured(epochs)
    if not kept:
        return []
    return [_rank_losses(recording.windows[rank], kept, rank) for rank in range(recording.ranks)]


def total_losses(losses: list[Losses]) -> LossTotals:
    """Return the sum over ranks in accelerator-seconds."""
    return LossTotals(
        **{
            kind: sum(int(getattr(rank, kind)) for rank in losses) / 1e9
            for kind in ("wall", *KINDS)
        }
    )


def _rank_losses(windows: Records, kept: tuple[Epoch, ...], rank: int) -> Losses:
    explained = dict.fromkeys(KINDS, 0)
    wall = 0
    for epoch in kept:
        own = epoch.steps[rank]
        wall += int(epoch.walls_ns[rank])
        for kind, per_step in split_steps(own[1:]).items():
            explained[kind] += int(per_step.sum())
    numbers = [epoch.number for epoch in kept]
    for kind, phase in (("eval", Phase.EVAL), ("checkpoint", Phase.CHECKPOINT)):
        chosen = windows[(windows["phase"] == phase) & np.isin(windows["epoch"], numbers)]
        explained[kind] = int((chosen["end_ns"] - chosen["start_ns"]).sum())
        wall += explained[kind]
    explained["rest"] = wall - sum(explained.values())
    return Losses(rank=rank, wall=wall, **explained)
