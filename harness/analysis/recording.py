"""What a run left behind, as arrays and values. Reading it is harness/recordings.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.worker.record import Eviction, FileClass, MachineWindow, SourceCount

Records = NDArray[np.void]
# Rows of all ranks, an array a rank; a rank may have several of a window's kind.
ByRank = Sequence[Records]
Status = Literal["ok", "failed", "interrupted"]


def total(tables: ByRank, name: str) -> int:
    """Return the sum of a field over all rows of all ranks."""
    return sum(int(rows[name].sum()) for rows in tables)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """One file of the trace; `role` is train, eval, sidecar or checkpoint."""

    path: str
    size_bytes: int
    file_class: FileClass
    role: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerFacts:
    """The worker's own account (worker.json); None or empty where it never got to write it.

    `readers` is how many ranks read; the others only step. Dropped samples are None, too, where
    nobody knows how many there are. `mean_sample_bytes` is what files hold of a training sample; an
    epoch of few steps may read more. `bytes` are inferred where calls left no rows. `tensorflow` is
    of accelerators that computed: device by rank, tensorflow_version, model, parameters,
    threads_per_rank, steps, losses, ranks_on_zeros. `recording` is what it costs: row_ns a row,
    brief_row_ns one of `BRIEF`, and look_ns for each of the looks that some rows take.
    `planted` is what made the run slow on purpose.
    `counts` are of sources beside the ranks' own
    counters, `uncounted` says why one is missing. `memory` has need_bytes, limit_bytes,
    group_version and total_bytes.
    """

    status: Status
    steps_per_epoch: int | None = None
    samples_used_per_epoch: int | None = None
    samples_dropped_per_epoch: int | None = None
    mean_sample_bytes: float | None = None
    readers: int | None = None
    bytes: Literal["recorded", "inferred"] = "recorded"
    evictions: tuple[Eviction, ...] = ()
    machine: tuple[MachineWindow, ...] = ()
    planted: Mapping[str, Any] | None = None
    counts: tuple[SourceCount, ...] = ()
    uncounted: Mapping[str, str] = field(default_factory=dict)
    memory: Mapping[str, Any] | None = None
    tensorflow: Mapping[str, Any] | None = None
    recording: Mapping[str, float] | None = None
    other: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """All rows of a run.

    Args:
        steps: per rank, STEP rows in order of time; empty for a rank that left none.
        windows: per rank, WINDOW rows.
        rows: per rank, ROW rows.
        files: by the id that the rows carry.
    """

    steps: tuple[Records, ...]
    windows: tuple[Records, ...]
    rows: tuple[Records, ...]
    files: Mapping[int, DataFile]
    worker: WorkerFacts

    @property
    def ranks(self) -> int:
        """The world size, ranks without rows included."""
        return len(self.steps)
