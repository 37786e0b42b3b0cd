"""What is compared: the calls of a run on its data files, whoever recorded or planned them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.analysis.memory import Regime, regime_in
from harness.analysis.recording import DataFile, Records
from harness.worker.record import FileClass, Op, Phase

# Of the others, a sidecar of counts or a file of no class, a training's speed does not depend.
DATA_CLASSES: Final = (
    FileClass.X,
    FileClass.Y,
    FileClass.RECORD,
    FileClass.CHECKPOINT,
    FileClass.ROW,
    FileClass.DAY,
    FileClass.LINE,
)
TRANSFERS: Final = (Op.READ, Op.PREAD, Op.WRITE)
_PHASES: Final = {"eval": Phase.EVAL, "checkpoint": Phase.CHECKPOINT}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """The calls of all ranks of one run.

    Args:
        rows: ROW rows of any order.
        files: by the id that rows carry.
        labelled: rows know their epoch and phase; else both are inferred, on either side of a
            comparison.
        timed: times were measured; else `t0_ns` gives the order of calls and nothing more.
        sized: sizes of files are known; else some are no more than how far they were read.
        memory_bytes: what could hold the data, without what ranks keep; None where unknown.
        sparse: files were holes, whose reads need no device; None where that is unknown.
    """

    rows: Records
    files: Mapping[int, DataFile]
    labelled: bool = True
    timed: bool = True
    sized: bool = True
    memory_bytes: int | None = None
    sparse: bool | None = None

    @property
    def data_bytes(self) -> int:
        """Bytes of the training files, as in a result's memory."""
        return sum(file.size_bytes for file in self.files.values() if file.role == "train")

    @property
    def regime(self) -> Regime | None:
        """Where memory stands to the data, None where unknown; times compare within one only."""
        if self.memory_bytes is None or self.data_bytes == 0 or not self.sized:
            return None
        return regime_in(self.memory_bytes, self.data_bytes)


def phase_of(role: str) -> Phase:
    """Return the phase in which files of a role are used."""
    return _PHASES.get(role, Phase.TRAIN)


def data_rows(pattern: Pattern) -> Records:
    """Return the rows on data files, in the order in which they began."""
    rows = pattern.rows[np.isin(pattern.rows["class"], DATA_CLASSES)]
    return rows[np.argsort(rows["t0_ns"], kind="stable")]


def excluded(pattern: Pattern) -> dict[str, int]:
    """Return how many rows are left out, by the class of their file."""
    classes, counts = np.unique(pattern.rows["class"], return_counts=True)
    return {
        FileClass(number).name.lower(): int(count)
        for number, count in zip(classes, counts, strict=True)
        if number not in DATA_CLASSES
    }


def is_transfer(rows: Records) -> NDArray[np.bool_]:
    """Return which rows move bytes."""
    return np.isin(rows["op"], TRANSFERS)


def moved_bytes(rows: Records) -> NDArray[np.int64]:
    """Return the bytes that each row moved, 0 where it is no transfer or failed."""
    moved: NDArray[np.int64] = np.where(is_transfer(rows), np.maximum(rows["returned"], 0), 0)
    return moved


def read_bytes(rows: Records) -> NDArray[np.int64]:
    """Return the bytes that each row read; a checkpoint's move, too, but are written."""
    return np.where(rows["op"] == Op.WRITE, 0, moved_bytes(rows))


def unlabelled(pattern: Pattern) -> Pattern:
    """Return the pattern with epochs and phases that its calls alone tell.

    The phase is the role of the file, the epoch of a call how often the file had been opened by
    then, by whichever rank. A file that stays open all the time is in its first epoch for ever.
    """
    rows = pattern.rows[np.argsort(pattern.rows["t0_ns"], kind="stable")].copy()
    phases = {number: phase_of(file.role) for number, file in pattern.files.items()}
    numbers, inverse = np.unique(rows["file"], return_inverse=True)
    rows["phase"] = np.array([phases[int(one)] for one in numbers], np.uint8)[inverse]
    # Within each file in order of time, whatever lies between in the trace.
    order = np.argsort(rows["file"], kind="stable")
    opens = np.cumsum(rows["op"][order] == Op.OPEN)
    first = np.searchsorted(rows["file"][order], numbers)
    before = np.where(first > 0, opens[first - 1], 0)
    rows["epoch"][order] = np.maximum(opens - before[inverse[order]], 1)
    return replace(pattern, rows=rows, labelled=False)
