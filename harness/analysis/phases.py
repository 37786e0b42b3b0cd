"""Evaluations and checkpoints: outside every AU, told on their own."""

import numpy as np

from harness.analysis.counted import NOTHING_COUNTED, Counted
from harness.analysis.part import Part
from harness.analysis.recording import ByRank, Recording, Records, total
from harness.analysis.volume import Volume, volume
from harness.worker.record import Op, Phase


class EvaluationPass(Part, frozen=True, kw_only=True):
    """One evaluation: from the first rank's start to the last rank's end.

    `step` is how many steps of its epoch were trained before; null in results that did not say.
    """

    epoch: int
    step: int | None = None
    samples: int
    window_ns: int
    bytes: Volume


class Checkpoint(Part, frozen=True, kw_only=True):
    """All checkpoints of the run, each of all ranks that write one.

    `epoch` is the last one's. `window_ns` sums from the first start to the last end of each,
    `fsync_ns` is the longest that a rank spent in fsync.
    """

    epoch: int
    count: int = 1
    written_bytes: int
    window_ns: int
    fsync_ns: int


def evaluations_of(
    recording: Recording, *, byte_source: str, counted: Counted = NOTHING_COUNTED
) -> list[EvaluationPass]:
    """Return every evaluation that all ranks finished, in order."""
    rows = _ordered(recording, Phase.EVAL)
    numbers = sorted({int(number) for own in rows for number in own["epoch"]})
    passes = []
    for number in numbers:
        windows = [own[own["epoch"] == number] for own in rows]
        for turn in range(min(map(len, windows))):
            every: ByRank = [own[turn : turn + 1] for own in windows]
            start_ns = min(int(own["start_ns"].min()) for own in every)
            passes.append(
                EvaluationPass(
                    epoch=number,
                    step=_steps_before(recording, number, start_ns),
                    samples=total(every, "samples"),
                    window_ns=max(int(own["end_ns"].max()) for own in every) - start_ns,
                    bytes=volume([every], byte_source=byte_source, counted=counted),
                )
            )
    return passes


def checkpoint_of(recording: Recording) -> Checkpoint | None:
    """Return the checkpoints that ranks finished, None when there were none."""
    windows = _ordered(recording, Phase.CHECKPOINT)
    count = max(map(len, windows), default=0)
    if not count:
        return None
    turns = [np.stack([own[turn] for own in windows if len(own) > turn]) for turn in range(count)]
    finished = [
        rows[
            (rows["phase"] == Phase.CHECKPOINT)
            & (rows["errno"] == 0)
            & (rows["t0_ns"] <= own["end_ns"].max())
        ]
        for own, rows in zip(windows, recording.rows, strict=True)
        if len(own)
    ]
    return Checkpoint(
        epoch=int(turns[-1]["epoch"].max()),
        count=count,
        written_bytes=sum(int(own["returned"][own["op"] == Op.WRITE].sum()) for own in finished),
        window_ns=sum(int(own["end_ns"].max() - own["start_ns"].min()) for own in turns),
        fsync_ns=max(_fsync_ns(own) for own in finished),
    )


def _ordered(recording: Recording, phase: Phase) -> list[Records]:
    """Return each rank's windows of a phase, in order of time."""
    chosen = [own[own["phase"] == phase] for own in recording.windows]
    return [np.sort(own, order="start_ns") for own in chosen]


def _steps_before(recording: Recording, epoch: int, start_ns: int) -> int:
    steps = recording.steps[0]
    own = steps[(steps["epoch"] == epoch) & (steps["step"] > 0)]
    return int((own["barrier_end_ns"] <= start_ns).sum())


def _fsync_ns(rows: Records) -> int:
    syncs = rows[rows["op"] == Op.FSYNC]
    return int((syncs["t1_ns"] - syncs["t0_ns"]).sum())
