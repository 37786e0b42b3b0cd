"""Evaluations and the checkpoint: outside every AU, told on their own."""

import numpy as np

from harness.analysis.part import Part
from harness.analysis.recording import Recording
from harness.analysis.volume import Volume, volume
from harness.worker.record import Op, Phase


class EvaluationPass(Part, frozen=True, kw_only=True):
    """One evaluation: from the first rank's start to the last rank's end."""

    epoch: int
    samples: int
    window_ns: int
    bytes: Volume


class Checkpoint(Part, frozen=True, kw_only=True):
    """The checkpoint at the end; `fsync_ns` is the part of the window spent in fsync."""

    epoch: int
    written_bytes: int
    window_ns: int
    fsync_ns: int


def evaluations_of(recording: Recording, *, byte_source: str) -> list[EvaluationPass]:
    """Return every evaluation that all ranks finished, in order."""
    rows = [own[own["phase"] == Phase.EVAL] for own in recording.windows]
    numbers = sorted({int(number) for own in rows for number in own["epoch"]})
    passes = []
    for number in numbers:
        windows = [own[own["epoch"] == number] for own in rows]
        if not all(len(own) == 1 for own in windows):
            continue
        both = np.concatenate(windows)
        passes.append(
            EvaluationPass(
                epoch=number,
                samples=int(both["samples"].sum()),
                window_ns=int(both["end_ns"].max() - both["start_ns"].min()),
                bytes=volume([both], byte_source=byte_source),
            )
        )
    return passes


def checkpoint_of(recording: Recording) -> Checkpoint | None:
    """Return the checkpoint that a rank finished, None when there was none."""
    for windows, rows in zip(recording.windows, recording.rows, strict=True):
        for window in windows[windows["phase"] == Phase.CHECKPOINT]:
            calls = rows[(rows["phase"] == Phase.CHECKPOINT) & (rows["errno"] == 0)]
            syncs = calls[calls["op"] == Op.FSYNC]
            return Checkpoint(
                epoch=int(window["epoch"]),
                written_bytes=int(calls["returned"][calls["op"] == Op.WRITE].sum()),
                window_ns=int(window["end_ns"] - window["start_ns"]),
                fsync_ns=int((syncs["t1_ns"] - syncs["t0_ns"]).sum()),
            )
    return None
