"""The cores that the ranks may use: the affinity mask, cut by a control group's quota."""

import os
from pathlib import Path

from harness.worker.host.cgroup import own_limits


def usable_cores(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the whole cores that this process may keep busy, at least 1."""
    cores = len(os.sched_getaffinity(0))
    quota = own_limits(proc, groups).cpus
    return cores if quota is None else max(1, min(cores, int(quota)))


def stay_on_core(number: int) -> None:
    """Keep the calling thread on the core `number` of its mask.

    The kernel wakes ranks of one barrier up on one core, where one waits for the other.
    """
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number]})
