"""What every figure of the page means: title, how to read it, unit, formula, source."""

from dataclasses import dataclass
from typing import Final

KIND_NAMES: Final = {
    "compute": "compute",
    "emulator_overshoot": "compute that ended late",
    "storage_wait": "waiting for storage",
    "io_cpu": "processor: reading",
    "decode_cpu": "processor: decoding",
    "runqueue": "waiting for a core",
    "barrier": "waiting for other ranks",
    "eval": "evaluation",
    "checkpoint": "checkpoint",
    "rest": "unexplained",
    "load": "waiting for a batch",
    "asked": "asked for",
    "returned": "returned",
    "device": "from the device",
    "image": "images (x)",
    "label": "labels (y)",
    "file": "files",
}

EVIDENCE_NAMES: Final = {
    "au": "AU",
    "threshold_au": "mark",
    "lost": "lost time",
    "storage_share_of_lost": "lost to storage",
    "client_cpu_share_of_lost": "lost to the client's processor",
    "emulator_share_of_lost": "lost to the emulation",
    "straggler_share_of_lost": "lost to the slowest rank",
    "bandwidth": "bandwidth",
    "demand": "demand",
    "would_pass": "would pass",
    "idle_cores": "idle time of the cores",
    "cpu_stalls": "stalls for a core",
    "io_stalls": "stalls for input and output",
    "memory_stalls": "stalls for memory",
    "ceiling_au": "AU over cached data",
    "ceiling_bandwidth": "bandwidth of cached data, without compute",
    "memory_share": "from memory",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """The words around one figure."""

    title: str
    reading: str
    unit: str
    formula: str
    source: str


DEFINITIONS: Final = {
    "au-epochs": Definition(
        title="AU per epoch",
        reading="How much of each epoch the accelerators computed. The dashed line is the mark.",
        unit="% of the epoch's window",
        formula="sum of declared step times (TensorFlow's: of the times taken) / window; it runs "
        "from the release of the opening barrier to the release of the barrier after the last step",
        source="step rows of all ranks",
    ),
    "au-ranks": Definition(
        title="AU per rank",
        reading="Ranks that synchronise every step have nearly the same AU; one that differs left "
        "its barriers late.",
        unit="% of the rank's own windows",
        formula="sum of declared step times (TensorFlow's: of the times taken) / sum of the rank's "
        "own windows, measured epochs",
        source="step rows of the rank",
    ),
    "losses-total": Definition(
        title="Where the time of all ranks together went",
        reading="Everything that is not compute is a loss. A rank that waits for another at the "
        "barrier loses as much as one that waits for storage; the verdict charges both to what the "
        "last rank was doing.",
        unit="accelerator-seconds: one accelerator for one second",
        formula="sum over ranks of the parts below",
        source="step rows, thread clocks, schedstat, windows",
    ),
    "losses": Definition(
        title="Where the time of each rank went",
        reading="Everything that is not compute is a loss. What one rank loses to storage, others "
        "lose at the barrier, waiting for it.",
        unit="seconds of wall time",
        formula="training windows + evaluations + checkpoint, split by what the thread that "
        "delivered the batch was doing; storage wait = wall in data calls - processor time in "
        "them - waiting for a core; off the processor outside of data calls, for the interpreter "
        "too, is waiting for a core",
        source="step rows, thread clocks, schedstat, windows",
    ),
    "timeline": Definition(
        title="Timeline",
        reading="One lane per rank, left to right. Compute that touches compute is an accelerator "
        "that never waits.",
        unit="seconds since the opening barrier; epochs are joined without what lies between them",
        formula="load start, load end, end of declared compute, end of compute, end of barrier",
        source="step rows",
    ),
    "bytes": Definition(
        title="Bytes per epoch",
        reading="Returned without the device is from memory. Read-ahead can make the device's "
        "bytes exceed what was returned.",
        unit="decimal bytes (1 GB = 1,000,000,000 B), all ranks, training windows",
        formula="sums over data calls of the size requested and of the size returned; growth of "
        "the device counter",
        source="trace rows; /proc/PID/io read_bytes where the target supports it",
    ),
    "loads": Definition(
        title="How long steps waited for their batch",
        reading="The curve reaches the share of steps whose batch had arrived within that time. "
        "With prefetching, a batch that is ready costs next to nothing.",
        unit="share of steps in %, by time from load start to load end (not below 1 µs)",
        formula="empirical distribution over all ranks and steps of the measured epochs",
        source="step rows",
    ),
    "sizes": Definition(
        title="File sizes of the data set",
        reading="Where a sample is a file, loads differ as files do: a batch of large volumes "
        "takes longer.",
        unit="number of files, by size in decimal bytes",
        formula="histogram of 40 equal bins from zero to the largest file",
        source="manifest, by way of trace/files.json",
    ),
}
