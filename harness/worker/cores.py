"""The cores that the ranks may use: the affinity mask, cut by a control group's quota."""

import os
from pathlib import Path

_QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def usable_cores() -> int:
    """Return the whole cores that this process may keep busy, at least 1."""
    return max(1, min(len(os.sched_getaffinity(0)), _quota_cores()))


def stay_on_core(number: int) -> None:
    """Keep the calling thread on the core `number` of its mask.

    The kernel wakes ranks of one barrier up on one core, where one waits for the other.
    """
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number]})


def _quota_cores() -> int:
    try:
        if _QUOTA_V2.exists():
            return quota_cores(_QUOTA_V2.read_text())
        return quota_cores(f"{_QUOTA_V1.read_text()} {_PERIOD_V1.read_text()}")
    except OSError:
        return os.cpu_count() or 1  # no control group here: nothing to cut


def quota_cores(text: str) -> int:
    """Return the cores that `QUOTA PERIOD` (both in us) allows; no quota allows them all.

    >>> quota_cores("250000 100000")
    2
    """
    quota, period = text.split()
    unlimited = quota == "max" or int(quota) < 0
    return os.cpu_count() or 1 if unlimited else int(quota) // int(period)
