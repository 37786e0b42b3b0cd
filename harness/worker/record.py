"""The rows that a rank records. Analysis, similarity and foreign traces all speak in them.

All times are CLOCK_MONOTONIC nanoseconds of the machine that ran the rank; one wall anchor per
rank (worker.json) ties them to the calendar. Files: `trace/rank-00000.npy` (ROW),
`steps/rank-00000.npy` (STEP), `steps/windows-00000.npy` (WINDOW), `trace/files.json`.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Op(IntEnum):
    """The system call of a row."""

    OPEN = 1
    READ = 2
    PREAD = 3
    WRITE = 4
    FSYNC = 5
    CLOSE = 6
    LSEEK = 7
    FSTAT = 8
    DUP = 9
    IOCTL = 10
    FCNTL = 11
    STAT = 12


# Calls that no storage answers: they ask or change what the kernel keeps of an open file. One
# LSEEK is none of them and blocks like a read: to the end of a file, whose size NFS and FUSE ask
# of their server.
BRIEF = (Op.LSEEK, Op.DUP, Op.IOCTL, Op.FCNTL)


class FileClass(IntEnum):
    """What the file is to its workload."""

    OTHER = 0
    X = 1
    Y = 2
    RECORD = 3
    CHECKPOINT = 4
    ROW = 5
    DAY = 6
    LINE = 7
    COUNTS = 8


class Phase(IntEnum):
    """What the rank was doing."""

    TRAIN = 1
    EVAL = 2
    CHECKPOINT = 3


# One row per call. offset and requested are -1 where the call has none; returned is the call's
# result (bytes, or a descriptor for open), errno 0 for success. loader 0 is the rank's main
# thread, 1.. its loader workers. step 0: at the end of a phase, for no step. cpu_ns: the wall time
# where the CPU clock says at most 3 us less, for between the readings of the two nobody waits.
ROW = np.dtype(
    [
        ("t0_ns", "<i8"),
        ("t1_ns", "<i8"),
        ("cpu_ns", "<i8"),
        ("offset", "<i8"),
        ("requested", "<i8"),
        ("returned", "<i8"),
        ("file", "<u4"),
        ("epoch", "<u4"),
        ("step", "<u4"),
        ("rank", "<u2"),
        ("loader", "<u2"),
        ("op", "<u1"),
        ("class", "<u1"),
        ("phase", "<u1"),
        ("errno", "<u1"),
    ]
)
# The same, of values: numpy's own way to set a row is many times dearer.
PACKED_ROW = struct.Struct("<qqqqqqIIIHHBBBB")

# One row per training step and rank, epochs and steps from 1. Step 0 is the barrier that opens
# the epoch's window: only its barrier_end_ns counts, the other times equal it. Times of a step:
# load_start <= load_end <= compute_end <= barrier_end, each in the rank's own main thread. A step's
# load_start is the barrier_end before it, but for a pause between: an evaluation within the epoch,
# and the checkpoint after it.
# declared_ns: what the accelerator's profile says the step takes, 0 where nothing is computed; of
# an accelerator that computes, what the step took. io_wall_ns, io_cpu_ns, bytes: within the data
# calls made for this step's batch, by whichever thread of this rank read it, and 0 where no thread
# did; prefetched reads may lie before load_start. Bytes are those of calls that leave rows: 0 where
# tf.data reads.
# wait_*: where the interval [load_start, load_end] went, as the thread that delivered the batch
# spent it, in whichever rank: blocked in data calls, CPU in data calls, CPU elsewhere, and ready
# but without a core; what is missing to the interval is unexplained. runqueue_ns: the main thread's
# wait for a core over the whole step.
STEP = np.dtype(
    [
        ("epoch", "<u4"),
        ("step", "<u4"),
        ("load_start_ns", "<i8"),
        ("load_end_ns", "<i8"),
        ("compute_end_ns", "<i8"),
        ("barrier_end_ns", "<i8"),
        ("declared_ns", "<i8"),
        ("io_wall_ns", "<i8"),
        ("io_cpu_ns", "<i8"),
        ("wait_storage_ns", "<i8"),
        ("wait_io_cpu_ns", "<i8"),
        ("wait_decode_cpu_ns", "<i8"),
        ("wait_runqueue_ns", "<i8"),
        ("runqueue_ns", "<i8"),
        ("bytes", "<i8"),
    ]
)

# One row per window and rank: of training, of each evaluation, and of each checkpoint, which only
# waits where the rank writes none. Training that evaluations interrupt has a window for each part.
# rchar: growth of /proc/self/io rchar between the snapshots, their own cost already taken off;
# other_read_bytes: reads in the window that are not data (schedstat; the first rank's looks at the
# machine; what threads that compute read, by the kernel's own count for each); row_bytes: sum of
# `returned` over the window's data-read rows. The self-check: rchar == row_bytes +
# other_read_bytes. Where tf.data reads there are no such rows: row_bytes and asked_bytes are then
# what is left of rchar, and nothing is checked. device_bytes: growth of read_bytes, -1 where it
# cannot be known.
WINDOW = np.dtype(
    [
        ("epoch", "<u4"),
        ("phase", "<u1"),
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),
        ("rchar", "<i8"),
        ("other_read_bytes", "<i8"),
        ("row_bytes", "<i8"),
        ("asked_bytes", "<i8"),  # sum of `requested`, short reads at the end of a file included
        ("device_bytes", "<i8"),
        ("cpu_ns", "<i8"),  # the process, all threads, without what waiting burnt
        ("samples", "<i8"),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceCount:
    """Bytes that one source counted for all ranks over a window; None where it could not say.

    `start_ns` is of the first rank's row of the window: an epoch may have several of a phase.
    Recordings of earlier versions do not tell it.
    """

    source: str
    epoch: int
    phase: int
    start_ns: int = -1
    bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Eviction:
    """One removal of the data set's pages from memory, before `epoch`; 0 is before the run.

    `resident_fraction` is what a sparse probe still found in memory afterwards, 0 to 1; None
    where the file system cannot say.
    """

    epoch: int
    files: int
    bytes: int
    seconds: float
    resident_fraction: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineWindow:
    """What the machine did between two looks, just before and after a training window of `epoch`.

    Args:
        epoch: from 1.
        elapsed_ns: from one look to the other.
        cores: that the ranks may use; a control group's quota counts as what it is worth.
        idle_ns: of these cores together; None where it cannot be known.
        pressure_ns: for cpu, io and memory the time in which some, and in which all tasks stalled
            on it; None is unknown.
        pressure_source: whose stalls, or why they are unknown.
    """

    epoch: int
    elapsed_ns: int
    cores: float
    idle_ns: int | None
    pressure_ns: Mapping[str, Sequence[int] | None]
    pressure_source: str
