"""Memory of the ranks: whether their buffers fit, and an allocator that reads no files.

That they fit is asked before they are made, and not by being killed.
"""

import ctypes
from pathlib import Path

from dsgen.size import format_size
from harness.worker.failure import MemoryShortError
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Reading

_M_ARENA_MAX = -8
_MEMINFO = Path("/proc/meminfo")
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def check_memory(spec: WorkerSpec, reading: Reading) -> None:
    """Compare what all ranks keep with what is available here.

    Raises:
        MemoryShortError: it does not fit, with the figures.
    """
    readers = spec.accelerators * max(1, spec.loader_workers)
    needed_bytes = readers * reading.memory_bytes
    limit_bytes = available_bytes()
    if needed_bytes > limit_bytes:
        what = (
            f"{readers} readers keep {format_size(needed_bytes)} of buffers, "
            f"{format_size(limit_bytes)} of memory is available"
        )
        then = "use fewer loader workers or accelerators, or --buffer fresh"
        raise MemoryShortError(what, then=then)


def use_one_arena() -> None:
    """Keep the C library's allocator from giving threads arenas of their own.

    To size and shrink such arenas it reads files below /proc and /sys, in the middle of a
    measured window, where the kernel counts their bytes beside the data's.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # of the GNU library; others have one arena anyway
        libc.mallopt(_M_ARENA_MAX, 1)


def available_bytes() -> int:
    """Return the free memory of the machine, or the control group's limit if that is less."""
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    limits = [path.read_text().strip() for path in _LIMITS if path.exists()]
    return min([available, *(int(limit) for limit in limits if limit != "max")])
