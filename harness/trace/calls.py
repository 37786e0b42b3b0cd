"""Calls on files as a tracer saw them, by process and thread.

One form for what strace shows and for the rows that our ranks record: a position or a size that
a call does not have is -1, and the number of a descriptor, which says nothing, is 0.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Call(NamedTuple):
    """A system call on a file. `name` is that of an Op in lower case, or the kernel's own."""

    path: str
    name: str
    offset: int
    requested: int
    returned: int

    def __str__(self) -> str:
        place = f" at {self.offset}" if self.offset >= 0 else ""
        size = f" of {self.requested}" if self.requested >= 0 else ""
        return f"{self.path.rsplit('/', 1)[-1]}: {self.name}{place}{size} = {self.returned}"


def outcome(name: str, returned: int) -> int:
    """Return what a call gave, but for a number of a descriptor or an address: those give 0."""
    return min(returned, 0) if name in ("open", "dup", "mmap") else returned


@dataclass(frozen=True, kw_only=True, slots=True)
class Traced:
    """A call as it was seen.

    Args:
        process: number of the process.
        thread: number of the thread in it that called.
        call: the call.
        copy: 0 on the descriptor that open returned, 1 on its first duplicate, and so on.
        detail: flags of open, command of fcntl or ioctl, distance and origin of lseek.
        t0_ns: when it began, None where the log has no times.
        t1_ns: when it ended, None where the log has no durations.
        errno: name of the error, empty for success.
    """

    process: int
    thread: int
    call: Call
    copy: int
    detail: str
    t0_ns: int | None = None
    t1_ns: int | None = None
    errno: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """From which line of the log to which a process or thread was there."""

    born: int
    ended: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """What a log is beside its calls.

    Args:
        lines: of the log.
        calls: that were seen to return, on files or not.
        unreadable: numbers of the lines, from 1, that are no line of strace.
        unreturned: calls that were never seen to return, by name.
        clock: `unix` seconds; `other`, such as the time of day, or relative; or `none`.
        cut: the last line does not end.
        unended: processes and threads that were not seen to end.
    """

    lines: int = 0
    calls: int = 0
    unreadable: tuple[int, ...] = ()
    unreturned: dict[str, int] = field(default_factory=dict)
    clock: str = "none"
    cut: bool = False
    unended: int = 0

    @property
    def partial(self) -> bool:
        """Its end is missing."""
        return self.cut or self.unended > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """Calls in the order in which they began; `parents` is process -> the one that made it.

    `lives` is of processes and threads; `sizes` is path -> bytes, where a call asked for them;
    `unfollowed` is how many calls moved bytes and cannot be told a file, by name: by a descriptor
    whose opening is not in the log (a socket's is not, a pipe's may not be), or asynchronously.
    """

    calls: list[Traced]
    parents: dict[int, int]
    lives: dict[int, Life] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    unfollowed: dict[str, int] = field(default_factory=dict)
    log: Log = field(default_factory=Log)

    def below(self, *starts: str | Path, stats: bool = False) -> list[Traced]:
        """Return the calls on files whose paths start with one of these.

        What asks about a path, and opens nothing, is among them if `stats`.
        """
        begins = tuple(map(str, starts))
        return [
            traced
            for traced in self.calls
            if traced.call.path.startswith(begins) and (stats or traced.call.name != "stat")
        ]


def by_process(traced: Iterable[Traced]) -> dict[int, list[Traced]]:
    """Return process -> what it called, in its order."""
    processes = defaultdict(list)
    for one in traced:
        processes[one.process].append(one)
    return dict(processes)


def by_thread(traced: Iterable[Traced]) -> dict[int, list[Traced]]:
    """Return thread -> what it called, in its order."""
    threads = defaultdict(list)
    for one in traced:
        threads[one.thread].append(one)
    return dict(threads)


def calls_of(traced: Iterable[Traced]) -> list[Call]:
    """Return the calls alone, as rows have them."""
    return [one.call for one in traced]


def in_detail(traced: Iterable[Traced]) -> list[tuple[Call, str, int]]:
    """Return calls with their flags, commands and origins, and which descriptor they were on."""
    return [(one.call, one.detail, one.copy) for one in traced]
