"""Epochs as tables: one row per rank, one column per step, so that formulas read as written."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.recording import ByRank, Recording, Records
from harness.worker.record import Phase


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """The steps that every rank finished.

    Args:
        steps: STEP, shape (ranks, 1 + steps); column 0 is the opening barrier. Shape (ranks, 0)
            when a rank never reached it.
        windows: the WINDOW rows of training, an array a rank, with several rows where the epoch
            was paused for evaluations; None when one is missing.
        complete: every rank finished every step and closed its windows.
    """

    number: int
    warm_up: bool
    complete: bool
    steps: Records
    windows: ByRank | None

    @property
    def step_count(self) -> int:
        """Training steps, the opening barrier not counted."""
        return max(0, int(self.steps.shape[1]) - 1)

    @property
    def release_ns(self) -> NDArray[np.int64]:
        """When each barrier let the ranks go, shape (1 + steps,).

        The last rank to arrive never blocks and leaves first; the others wake up after it. So the
        earliest end is the release, and a late wake-up belongs to the step that follows.
        """
        ends: NDArray[np.int64] = self.steps["barrier_end_ns"].min(axis=0)
        return ends

    @property
    def pauses_ns(self) -> NDArray[np.int64]:
        """Before each step the time that belongs to none, shape (steps,): 0 but for evaluations.

        A step begins where its rank left the barrier before it. After a pause that is another one.
        """
        begins: NDArray[np.int64] = self.steps["load_start_ns"][:, 1:].min(axis=0)
        return begins - self.release_ns[:-1]

    @property
    def window_ns(self) -> int:
        """From the release of the opening barrier to that of the last one, without pauses."""
        if self.step_count == 0:
            return 0
        return int(self.release_ns[-1] - self.release_ns[0] - self.pauses_ns.sum())

    @property
    def walls_ns(self) -> NDArray[np.int64]:
        """Each rank's own time in steps, shape (ranks,): between its leavings of the barriers."""
        steps = self.steps[:, 1:]
        walls: NDArray[np.int64] = (steps["barrier_end_ns"] - steps["load_start_ns"]).sum(axis=1)
        return walls

    @property
    def declared_ns(self) -> int:
        """Sum of the declared step times; the mean over ranks.

        Ranks share one draw per step; those that compute take each its own time.
        """
        return int(self.steps["declared_ns"][:, 1:].sum()) // max(1, len(self.steps))


def epochs_of(recording: Recording, *, warmup_epochs: int) -> tuple[Epoch, ...]:
    """Return every epoch that a rank began, in order; the first `warmup_epochs` are marked."""
    begun = sorted({int(number) for rows in recording.steps for number in rows["epoch"]})
    return tuple(_epoch(recording, number, number <= warmup_epochs) for number in begun)


def measured(epochs: tuple[Epoch, ...]) -> tuple[Epoch, ...]:
    """Return the epochs that figures are made of: complete, with steps, after the warm-up."""
    return tuple(epoch for epoch in epochs if epoch.complete and not epoch.warm_up)


def _epoch(recording: Recording, number: int, warm_up: bool) -> Epoch:
    by_rank = [_unbroken(rows[rows["epoch"] == number]) for rows in recording.steps]
    common = min(len(rows) for rows in by_rank)
    windows = [_window(rows, number) for rows in recording.windows]
    closed = bool(windows) and all(map(_closed, by_rank, windows))
    expected = recording.worker.steps_per_epoch
    whole = all(len(rows) == common for rows in by_rank) and common > 1
    return Epoch(
        number=number,
        warm_up=warm_up,
        complete=whole and closed and (expected is None or common == expected + 1),
        steps=np.stack([rows[:common] for rows in by_rank]),
        windows=tuple(windows) if closed else None,
    )


def _unbroken(rows: Records) -> Records:
    # A rank that was cut short may lack its last steps, never one in between.
    rows = np.sort(rows, order="step")
    whole = rows["step"] == np.arange(len(rows))
    return rows if whole.all() else rows[: int(np.argmin(whole))]


def _closed(steps: Records, windows: Records) -> bool:
    """Return whether the last of a rank's windows was closed after its last step began."""
    if not len(windows):
        return False
    return not len(steps) or bool(windows["end_ns"].max() >= steps["load_start_ns"][-1])


def _window(rows: Records, number: int) -> Records:
    kept: Records = rows[(rows["epoch"] == number) & (rows["phase"] == Phase.TRAIN)]
    return kept
