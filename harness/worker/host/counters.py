"""The kernel's account of what this process read: /proc/self/io, all threads together."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.worker.failure import CountersError

_COUNTERS: Final = "/proc/self/io"


@dataclass(frozen=True, kw_only=True, slots=True)
class IoSnapshot:
    """Counters at one moment.

    Args:
        rchar: bytes that read calls returned, whatever they read.
        read_bytes: bytes fetched from block devices; -1 where the kernel does not count them.
        own_bytes: what this look adds to rchar, in every later snapshot.
    """

    rchar: int
    read_bytes: int
    own_bytes: int


class IoCounters:
    """Looks at the counters through one descriptor, opened ahead of time.

    Raises:
        CountersError: there are none, or this process may not read them.
    """

    def __init__(self, path: str = _COUNTERS) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.snapshot()
        except (OSError, KeyError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no rchar in it"
            what = f"the kernel does not say what a process reads ({reason})"
            then = "use a kernel with CONFIG_TASK_XACCT, or a container that may read the file"
            raise CountersError(what, where=path, then=then) from error

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self._descriptor)

    def snapshot(self) -> IoSnapshot:
        """Return the counters as they stand; the look itself is not yet among them."""
        text = os.pread(self._descriptor, 4096, 0)
        fields = dict(line.split(b": ") for line in text.splitlines())
        return IoSnapshot(
            rchar=int(fields[b"rchar"]),
            read_bytes=int(fields.get(b"read_bytes", -1)),
            own_bytes=len(text),
        )


class Bystanders:
    """The threads that this process has at this moment beside its main one.

    Those that come later are not among them: a loader worker may be seen for a moment after it
    was joined.
    """

    def __init__(self) -> None:
        main = str(os.getpid())
        tasks = Path("/proc/self/task").iterdir()
        self._counters = [task / "io" for task in tasks if task.name != main]

    def rchar(self) -> int:
        """Return what these threads were returned by reads so far."""
        return sum(map(_rchar, self._counters))


def _rchar(counters: Path) -> int:
    # What a thread that has ended had read is counted for the process alone.
    with suppress(FileNotFoundError, ProcessLookupError):
        return int(counters.read_text().split()[1])
    return 0
