"""What a rank records, in memory that it shares with its parent: it outlives the rank.

A rank that was killed, or that the kernel holds, saves nothing. Its parent does it then.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.worker.checkpoint import Checkpoint
from harness.worker.failure import MemoryShortError
from harness.worker.record import ROW, STEP, WINDOW
from harness.worker.recording.capacity import Room, rooms_of_rank, steps_of_rank, windows_of_rank
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Reading

Table = NDArray[np.void]


class Ledger:
    """The arrays of one rank.

    Args:
        rank: its number.
        rooms: of its threads, the main one first.
        steps: STEP rows at most.
        windows: WINDOW rows at most.

    `rows` has the memory of each thread's ROWs. What was not written is zero.
    """

    def __init__(self, rank: int, rooms: Sequence[Room], *, steps: int, windows: int) -> None:
        self.rooms = rooms
        self.rows = [mmap.mmap(-1, max(1, room.rows) * ROW.itemsize) for room in rooms]
        self.steps = _table(STEP, steps)
        self.windows = _table(WINDOW, windows)
        self._rank = rank

    def save(self, out_dir: Path, counts: Sequence[int] | None = None) -> int:
        """Write what was recorded so far below `out_dir` and return the count of trace rows.

        Args:
            out_dir: where `trace` and `steps` are.
            counts: of rows of each thread; without them, what looks written is counted.

        Raises:
            OSError: it cannot be written; no part of a file is left.
        """
        tables = [np.frombuffer(memory, ROW) for memory in self.rows]
        if counts is None:
            counts = [int(np.count_nonzero(table["t1_ns"])) for table in tables]
        rows = np.concatenate([t[:count] for t, count in zip(tables, counts, strict=True)])
        name = f"rank-{self._rank:05d}.npy"
        _save(out_dir / "trace" / name, rows[np.argsort(rows["t0_ns"], kind="stable")])
        _save(out_dir / "steps" / name, self.steps[self.steps["barrier_end_ns"] > 0])
        windows = self.windows[self.windows["end_ns"] > 0]
        _save(out_dir / "steps" / f"windows-{self._rank:05d}.npy", windows)
        return len(rows)


def ledger_of(
    spec: WorkerSpec, reading: Reading, *, rank: int, checkpoint: Checkpoint | None
) -> Ledger:
    """Return an empty ledger with room for all that a rank records.

    Raises:
        MemoryShortError: there is no memory for it.
    """
    rooms = rooms_of_rank(spec, reading, rank=rank, checkpoint=checkpoint)
    steps, windows = steps_of_rank(spec, reading), windows_of_rank(spec, reading)
    try:
        return Ledger(rank, rooms, steps=steps, windows=windows)
    except OSError as error:
        where, then = f"rank {rank}", "use fewer epochs, or fewer accelerators"
        raise MemoryShortError("no memory to record in", where=where, then=then) from error


def _table(kind: np.dtype[np.void], rows: int) -> Table:
    return np.frombuffer(mmap.mmap(-1, max(1, rows) * kind.itemsize), kind)


def _save(path: Path, rows: Table) -> None:
    temporary = path.with_suffix(".partial")
    try:
        with temporary.open("wb") as stream:
            np.save(stream, rows)
        temporary.rename(path)
    except OSError:  # a part of it would be no use, and take the space that the result needs
        temporary.unlink(missing_ok=True)
        raise
