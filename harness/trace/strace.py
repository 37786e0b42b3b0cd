"""What strace saw of a program and its children: each call on a file, by process and thread.

Reads the one log of `strace -f -ttt -T -o LOG`, in which calls of all threads are in order and a
call that another one overtook is torn in two. Descriptors are followed from open to close through
dup, fork, threads and exec, so that a call says which file it was on and where in it.
"""

import re
from bisect import bisect_right
from codecs import escape_decode
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from dsgen.size import LIMIT_BYTES
from harness.trace.calls import Call, Life, Log, Trace, Traced, outcome
from harness.trace.lines import RawCall, read_lines

# All that touches a descriptor, what opens or asks about a path, and what makes processes. No
# content is shown, but paths always are whole. Not every processor has the calls with a `?`.
_CALLS = "trace=%desc,%process,?open,?creat,?stat,?lstat,?io_submit"
OPTIONS: Final = ("-f", "-ttt", "-T", "--seccomp-bpf", "-s", "0", "-e", _CALLS, "-o")

_PATH = re.compile(
    r"(?:(?P<at>AT_FDCWD|\d+)(?:<(?P<directory>[^>]*)>)?, )?"
    r'"(?P<path>(?:[^"\\]|\\.)*)"(?:, (?P<flags>[^,]+))?'
)
_DESCRIPTOR = re.compile(r"(\d+)(?:<[^>]*>)?(?:, (.*))?")
_VECTOR = re.compile(r"iov_len=(\d+)")
_SIZE = re.compile(r"stx?_size=(\d+)")

_NAMES = {
    **dict.fromkeys(("newfstatat", "statx"), "fstat"),
    **dict.fromkeys(("dup2", "dup3"), "dup"),
    **dict.fromkeys(("pread64", "preadv", "preadv2"), "pread"),
    **dict.fromkeys(("pwrite64", "pwritev", "pwritev2"), "pwrite"),
}
_BIRTHS = ("clone", "clone3", "fork", "vfork")
# Their first argument is a number, but not of a descriptor that they use.
_OTHERS = (
    *("select", "pselect6", "close_range", "exit", "exit_group", "alarm", "kill", "membarrier"),
    *("nice", "personality", "setgid", "setpgid", "setuid", "tgkill", "tkill", "umask", "wait4"),
    *("prlimit64", "sched_getaffinity", "sched_setaffinity", "sched_setscheduler", "waitpid"),
)
_AT_THE_POSITION = ("read", "readv", "write", "writev")
_VECTORS = ("readv", "writev", "preadv", "preadv2", "pwritev", "pwritev2")
_TRANSFERS = (*_AT_THE_POSITION, *_VECTORS, "pread64", "pwrite64", "sendfile")
# What they move is named in memory, which no log shows.
ASYNCHRONOUS: Final = ("io_submit", "io_uring_enter", "io_uring_setup")
_STANDARD = (0, 1, 2)  # descriptors that every program is given
# These make descriptors of no file.
_PAIRS = ("pipe", "pipe2", "socketpair")
_MAKERS = (
    *("epoll_create", "epoll_create1", "eventfd", "eventfd2", "inotify_init1", "memfd_create"),
    *("pidfd_open", "signalfd4", "socket", "timerfd_create", *_PAIRS),
)
_PAIR = re.compile(r"\[(\d+)(?:<[^>]*>)?, (\d+)(?:<[^>]*>)?\]")
# A number that comes again belongs to another process.
_NEXT_LIFE = 1 << 22
# After what begins and ends at a line comes who ends there.
_EXITS = 2


def parse(lines: Iterable[str]) -> Trace:
    """Return the Trace of the lines of a log.

    Left out are calls that never returned, because the end of their process came first.
    """
    raw, exits, log = read_lines(lines)
    events = sorted(
        [
            (line, stage, number)
            for number, call in enumerate(raw)
            for stage, line in enumerate((call.begun, call.ended))
        ]
        + [(line, _EXITS, thread) for line, thread in exits]
    )
    follower = _Follower(raw)
    garbled = set()
    for line, stage, number in events:
        if stage == _EXITS:
            follower.exit(number, line)
            continue
        try:
            (follower.end if stage else follower.begin)(number, raw[number])
        except (ValueError, IndexError):  # arguments that are not what such a call has
            garbled.add(raw[number].ended + 1)
    unreadable = tuple(sorted(garbled | set(log.unreadable)))
    return follower.trace(replace(log, unreadable=unreadable))


@dataclass(slots=True)
class _OpenFile:
    """What descriptors of one open share, in all processes; without a path it is no file."""

    path: str
    position: int = 0
    copies: int = 0


class _Descriptor(NamedTuple):
    file: _OpenFile
    copy: int
    closes_on_exec: bool


@dataclass(slots=True)
class _Follower:
    """Knows the descriptors of every thread while the log goes by.

    Threads and processes are named by their number, and by another one in each later life.
    """

    raw: list[RawCall]
    traced: dict[int, Traced] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    unfollowed: Counter[str] = field(default_factory=Counter)
    _names: dict[int, int] = field(default_factory=dict)
    _born: dict[int, int] = field(default_factory=dict)
    _ended: dict[int, int] = field(default_factory=dict)
    _processes: dict[int, int] = field(default_factory=dict)
    _tables: dict[int, dict[int, _Descriptor]] = field(default_factory=dict)
    _begun: dict[int, tuple[_Descriptor, int]] = field(default_factory=dict)
    _births: dict[int, list[RawCall]] = field(init=False)

    def __post_init__(self) -> None:
        self._births = {}
        for raw in self.raw:
            # None makes itself; a number of another namespace may seem to.
            if raw.name in _BIRTHS and raw.result != raw.thread:
                self._births.setdefault(raw.result, []).append(raw)

    def trace(self, log: Log) -> Trace:
        """Return what was found in the log."""
        return Trace(
            calls=[self.traced[number] for number in sorted(self.traced)],
            parents=self.parents,
            lives={
                name: Life(born=line, ended=self._ended.get(name, log.lines))
                for name, line in self._born.items()
            },
            sizes=self.sizes,
            unfollowed=dict(self.unfollowed),
            log=log,
        )

    def begin(self, number: int, raw: RawCall) -> None:
        """Note what a call is on; what it closes is closed from here on, for others to reuse."""
        table = self._table(raw.thread, raw.begun)
        if raw.name in ASYNCHRONOUS and raw.result > 0:
            self.unfollowed[raw.name] += 1
            return
        on = _DESCRIPTOR.fullmatch(_place(raw))
        if raw.name in (*_OTHERS, *_MAKERS) or _is_open(raw) or _is_stat(raw) or not on:
            return
        if (used := table.get(int(on[1]))) is None:
            if raw.name in _TRANSFERS and raw.result > 0 and int(on[1]) not in _STANDARD:
                self.unfollowed[raw.name] += 1
            return
        self._begun[number] = (used, used.file.position)
        if raw.name == "close":
            del table[int(on[1])]

    def end(self, number: int, raw: RawCall) -> None:
        """Note what a call has changed, and keep it if it was on a file."""
        table = self._table(raw.thread, raw.ended)
        if _is_open(raw) or _is_stat(raw):
            self._by_path(number, raw, table)
        elif number in self._begun:
            self._use(number, raw, table)
        elif raw.name in _MAKERS and raw.result >= 0:
            for made in _made(raw):
                table[made] = _Descriptor(_OpenFile(""), 0, "CLOEXEC" in raw.arguments)
        elif raw.name in _BIRTHS and raw.result > 0:
            self._table(raw.result, raw.ended)
        elif raw.name == "execve" and raw.result == 0:
            for closed in [key for key, used in table.items() if used.closes_on_exec]:
                del table[closed]
        elif raw.name == "close_range" and raw.result == 0:
            first, last = (int(word) for word in raw.arguments.split(", ")[:2])
            for closed in [key for key in table if first <= key <= last]:
                del table[closed]

    def exit(self, thread: int, line: int) -> None:
        """Let a thread's number be free."""
        name = self._names.get(thread, thread)
        if name in self._tables:
            self._ended[name] = line
            self._names[thread] = name + _NEXT_LIFE

    def _table(self, thread: int, line: int) -> dict[int, _Descriptor]:
        """Return the descriptors of a thread: shared with its parent's, or copied at its birth."""
        name = self._names.setdefault(thread, thread)
        if name not in self._tables:
            self._born[name] = line
            if (birth := self._birth(thread, line)) is None:
                self._tables[name], self._processes[name] = {}, name
            else:
                table = self._table(birth.thread, birth.begun)
                parent = self._processes[self._names[birth.thread]]
                shared, inside = "CLONE_FILES" in birth.arguments, "CLONE_THREAD" in birth.arguments
                self._tables[name] = table if shared else dict(table)
                self._processes[name] = parent if inside else name
                if not inside:
                    self.parents[name] = parent
        return self._tables[name]

    def _birth(self, thread: int, line: int) -> RawCall | None:
        """Return the last call that had begun by this line and made the thread."""
        births = self._births.get(thread, [])
        number = bisect_right(births, line, key=lambda birth: birth.begun)
        return births[number - 1] if number else None

    def _by_path(self, number: int, raw: RawCall, table: dict[int, _Descriptor]) -> None:
        found = _PATH.match(raw.arguments)
        if found is None:
            return
        path = _plain(found["path"])
        if not path.startswith("/") and (directory := _directory(found, table)):
            path = f"{directory}/{path}"
        name = "open" if _is_open(raw) else "stat"
        named = _Descriptor(_OpenFile(path), 0, "O_CLOEXEC" in (found["flags"] or ""))
        self._keep(number, raw, named, Call(path, name, -1, -1, outcome(name, raw.result)))
        if name == "open" and raw.result >= 0:
            table[raw.result] = named

    def _use(self, number: int, raw: RawCall, table: dict[int, _Descriptor]) -> None:
        used, position = self._begun.pop(number)
        name, words = _name(raw), raw.arguments.split(", ")
        offset = requested = -1
        if name in ("pread", "pwrite"):
            requested, offset = _requested(raw), int(words[-2 if raw.name.endswith("2") else -1])
        elif name in _AT_THE_POSITION:
            offset, requested = position, _requested(raw)
            used.file.position += max(raw.result, 0)
        elif name == "lseek" and words[-1] == "SEEK_SET":
            offset = int(words[1])
        elif name == "dup" and raw.result >= 0:
            used.file.copies += 1
            closes = "CLOEXEC" in raw.arguments
            table[raw.result] = _Descriptor(used.file, used.file.copies, closes)
        if name == "lseek" and raw.result >= 0:
            used.file.position = raw.result
        call = Call(used.file.path, name, offset, requested, outcome(name, raw.result))
        self._keep(number, raw, used, call)

    def _keep(self, number: int, raw: RawCall, used: _Descriptor, call: Call) -> None:
        if not call.path:
            return
        name = self._names[raw.thread]
        if call.name in ("fstat", "stat") and (size := _SIZE.search(raw.arguments)):
            if int(size[1]) >= LIMIT_BYTES:
                raise ValueError(f"a size of {size[1]} bytes")
            self.sizes[call.path] = int(size[1])
        self.traced[number] = Traced(
            process=self._processes[name],
            thread=name,
            call=call,
            copy=used.copy,
            detail=_detail(raw),
            t0_ns=raw.t0_ns,
            t1_ns=raw.t1_ns,
            errno=raw.errno,
        )


def _directory(found: re.Match[str], table: dict[int, _Descriptor]) -> str | None:
    """Return where a relative path begins: at a descriptor, or where `strace -y` says."""
    if (found["at"] or "").isdigit() and (used := table.get(int(found["at"]))):
        return used.file.path
    return _plain(found["directory"]) if found["directory"] else None


def _made(raw: RawCall) -> list[int]:
    """Return the descriptors that a call made; a log without content (-s 0) shows none of pairs."""
    if raw.name not in _PAIRS:
        return [raw.result]
    pair = _PAIR.search(raw.arguments)
    return [int(number) for number in pair.groups()] if pair else []


def _plain(escaped: str) -> str:
    return escape_decode(escaped.encode())[0].decode(errors="surrogateescape")


def _is_open(raw: RawCall) -> bool:
    return raw.name in ("open", "openat", "openat2", "creat")


def _is_stat(raw: RawCall) -> bool:
    """Return whether it asks about a path; what it asks about a descriptor has an empty one."""
    if raw.name in ("newfstatat", "statx"):
        return (found := _PATH.match(raw.arguments)) is not None and found["path"] != ""
    return raw.name in ("stat", "lstat")


def _place(raw: RawCall) -> str:
    """Return the arguments from the descriptor on: of mmap the fifth, of sendfile what is read."""
    skipped = {"mmap": 4, "sendfile": 1}.get(raw.name, 0)
    return ", ".join(raw.arguments.split(", ")[skipped:])


def _name(raw: RawCall) -> str:
    if raw.name == "fcntl":
        return "dup" if "F_DUPFD" in raw.arguments else "fcntl"
    return _NAMES.get(raw.name, raw.name)


def _requested(raw: RawCall) -> int:
    if raw.name in _VECTORS:
        lengths = _VECTOR.findall(raw.arguments)  # none where a log shows no content (-s 0)
        return sum(map(int, lengths)) if lengths else -1
    words = raw.arguments.split(", ")
    return int(words[-2 if _name(raw) in ("pread", "pwrite") else -1])


def _detail(raw: RawCall) -> str:
    if _is_open(raw):
        found = _PATH.match(raw.arguments)
        return (found and found["flags"]) or ""
    _, *words = raw.arguments.split(", ")
    if raw.name in ("fcntl", "ioctl"):
        return words[0]
    return ", ".join(words) if raw.name == "lseek" else ""
