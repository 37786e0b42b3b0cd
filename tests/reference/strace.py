"""What strace saw of a program and its children: each call on a file, by process and thread.

Reads the one log of `strace -f -o LOG`, in which calls of all threads are in order and a call that
another one overtook is torn in two. Descriptors are followed from open to close through dup, fork,
threads and exec, so that a call says which file it was on and where in it.
"""

import re
from codecs import escape_decode
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.reference.calls import Call, outcome

# All that touches a descriptor, what opens or asks about a path, and what makes processes. No
# content is shown, but paths always are whole. Not every processor has the calls with a `?`.
_CALLS = "trace=%desc,%process,?open,?creat,?stat,?lstat"
OPTIONS = ("-f", "--seccomp-bpf", "-s", "0", "-e", _CALLS, "-o")

_LINE = re.compile(r"(\d+) +(.*)")
_TORN = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\) += (0x[0-9a-f]+|-?\d+)")
_PATH = re.compile(r'(?:(AT_FDCWD|\d+)(?:<[^>]*>)?, )?"((?:[^"\\]|\\.)*)"(?:, ([^,]+))?')
_DESCRIPTOR = re.compile(r"(\d+)(?:<[^>]*>)?(?:, (.*))?")
_VECTOR = re.compile(r"iov_len=(\d+)")

_NAMES = {
    **dict.fromkeys(("newfstatat", "statx"), "fstat"),
    **dict.fromkeys(("dup2", "dup3"), "dup"),
    "pread64": "pread",
    "pwrite64": "pwrite",
}
_BIRTHS = ("clone", "clone3", "fork", "vfork")
# Their first argument is a number, but not of a descriptor that they use.
_OTHERS = ("select", "pselect6", "close_range", "exit", "exit_group")
_AT_THE_POSITION = ("read", "readv", "write", "writev")


@dataclass(frozen=True, kw_only=True, slots=True)
class Traced:
    """A call as it was seen.

    Args:
        process: number of the process.
        thread: number of the thread in it that called.
        call: the call.
        copy: 0 on the descriptor that open returned, 1 on its first duplicate, and so on.
        detail: flags of open, command of fcntl or ioctl, distance and origin of lseek.
    """

    process: int
    thread: int
    call: Call
    copy: int
    detail: str


class Trace(NamedTuple):
    """Calls in the order in which they began; `parents` is process -> the one that made it."""

    calls: list[Traced]
    parents: dict[int, int]

    def below(self, *starts, stats=False):
        """Return the calls on files whose paths start with one of these.

        What asks about a path, and opens nothing, is among them if `stats`.
        """
        starts = tuple(map(str, starts))
        return [
            traced
            for traced in self.calls
            if traced.call.path.startswith(starts) and (stats or traced.call.name != "stat")
        ]


def by_process(traced):
    """Return process -> what it called, in its order."""
    processes = defaultdict(list)
    for one in traced:
        processes[one.process].append(one)
    return dict(processes)


def by_thread(traced):
    """Return thread -> what it called, in its order."""
    threads = defaultdict(list)
    for one in traced:
        threads[one.thread].append(one)
    return dict(threads)


def calls_of(traced):
    """Return the calls alone, as rows have them."""
    return [one.call for one in traced]


def in_detail(traced):
    """Return calls with their flags, commands and origins, and which descriptor they were on."""
    return [(one.call, one.detail, one.copy) for one in traced]


def parse(lines):
    """Return the Trace of the lines of a log.

    Left out are calls that never returned, because the end of their process came first.
    """
    raw = _raw_calls(lines)
    events = sorted(
        (line, stage, number)
        for number, call in enumerate(raw)
        for stage, line in enumerate((call.begun, call.ended))
    )
    follower = _Follower(raw)
    for _, stage, number in events:
        (follower.end if stage else follower.begin)(number, raw[number])
    found = (follower.traced[number] for number in range(len(raw)) if number in follower.traced)
    return Trace(list(found), follower.parents)


class _Raw(NamedTuple):
    """A call as text; `begun` and `ended` are the numbers of its lines."""

    begun: int
    ended: int
    thread: int
    name: str
    arguments: str
    result: int


def _raw_calls(lines):
    calls, torn = [], {}
    for number, line in enumerate(lines):
        if not (numbered := _LINE.match(line)):
            continue
        thread, text = int(numbered[1]), numbered[2]
        begun = number
        if found := _TORN.fullmatch(text):
            torn[thread] = (number, f"{found[1]}({found[2]}")
            continue
        if (found := _RESUMED.match(text)) and thread in torn:
            begun, start = torn.pop(thread)
            text = start + found[2]
        if found := _WHOLE.match(text):
            calls.append(_Raw(begun, number, thread, found[1], found[2], int(found[3], 0)))
    return sorted(calls)


@dataclass(slots=True)
class _OpenFile:
    """What descriptors of one open share, in all processes."""

    path: str
    position: int = 0
    copies: int = 0


class _Descriptor(NamedTuple):
    file: _OpenFile
    copy: int
    closes_on_exec: bool


@dataclass(slots=True)
class _Follower:
    """Knows the descriptors of every thread while the log goes by."""

    raw: list[_Raw]
    traced: dict[int, Traced] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    _processes: dict[int, int] = field(default_factory=dict)
    _tables: dict[int, dict[int, _Descriptor]] = field(default_factory=dict)
    _begun: dict[int, tuple[_Descriptor, int]] = field(default_factory=dict)
    _births: dict[int, _Raw] = field(init=False)

    def __post_init__(self):
        self._births = {raw.result: raw for raw in self.raw if raw.name in _BIRTHS}

    def begin(self, number, raw):
        """Note what a call is on; what it closes is closed from here on, for others to reuse."""
        table = self._table(raw.thread)
        on = _DESCRIPTOR.fullmatch(_place(raw))
        if raw.name in _OTHERS or _is_open(raw) or _is_stat(raw) or not on:
            return
        if (used := table.get(int(on[1]))) is None:
            return
        self._begun[number] = (used, used.file.position)
        if raw.name == "close":
            del table[int(on[1])]

    def end(self, number, raw):
        """Note what a call has changed, and keep it if it was on a file."""
        table = self._table(raw.thread)
        if _is_open(raw) or _is_stat(raw):
            self._by_path(number, raw, table)
        elif number in self._begun:
            self._use(number, raw, table)
        elif raw.name in _BIRTHS and raw.result > 0:
            self._table(raw.result)
        elif raw.name == "execve" and raw.result == 0:
            for closed in [key for key, used in table.items() if used.closes_on_exec]:
                del table[closed]
        elif raw.name == "close_range" and raw.result == 0:
            first, last = (int(word) for word in raw.arguments.split(", ")[:2])
            for closed in [key for key in table if first <= key <= last]:
                del table[closed]

    def _table(self, thread):
        """Return the descriptors of a thread: shared with its parent's, or copied at its birth."""
        if thread not in self._tables:
            birth = self._births.get(thread)
            if birth is None:
                self._tables[thread], self._processes[thread] = {}, thread
            else:
                table, parent = self._table(birth.thread), self._processes[birth.thread]
                shared, inside = "CLONE_FILES" in birth.arguments, "CLONE_THREAD" in birth.arguments
                self._tables[thread] = table if shared else dict(table)
                self._processes[thread] = parent if inside else thread
                if not inside:
                    self.parents[thread] = parent
        return self._tables[thread]

    def _by_path(self, number, raw, table):
        found = _PATH.match(raw.arguments)
        if found is None:
            return
        path = escape_decode(found[2].encode())[0].decode()
        if not path.startswith("/") and found[1] and found[1] in map(str, table):
            path = f"{table[int(found[1])].file.path}/{path}"
        name = "open" if _is_open(raw) else "stat"
        named = _Descriptor(_OpenFile(path), 0, "O_CLOEXEC" in (found[3] or ""))
        self._keep(number, raw, named, Call(path, name, -1, -1, outcome(name, raw.result)))
        if name == "open" and raw.result >= 0:
            table[raw.result] = named

    def _use(self, number, raw, table):
        used, position = self._begun.pop(number)
        name, words = _name(raw), raw.arguments.split(", ")
        offset = requested = -1
        if name in ("pread", "pwrite"):
            requested, offset = int(words[-2]), int(words[-1])
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

    def _keep(self, number, raw, used, call):
        process = self._processes[raw.thread]
        self.traced[number] = Traced(
            process=process, thread=raw.thread, call=call, copy=used.copy, detail=_detail(raw)
        )


def _is_open(raw):
    return raw.name in ("open", "openat", "creat")


def _is_stat(raw):
    """Return whether it asks about a path; what it asks about a descriptor has an empty one."""
    if raw.name in ("newfstatat", "statx"):
        return (found := _PATH.match(raw.arguments)) is not None and found[2] != ""
    return raw.name in ("stat", "lstat")


def _place(raw):
    """Return the arguments from the descriptor on; of mmap it is the fifth."""
    if raw.name == "mmap":
        return ", ".join(raw.arguments.split(", ")[4:])
    return raw.arguments


def _name(raw):
    if raw.name == "fcntl":
        return "dup" if "F_DUPFD" in raw.arguments else "fcntl"
    return _NAMES.get(raw.name, raw.name)


def _requested(raw):
    if raw.name in ("readv", "writev"):
        return sum(int(length) for length in _VECTOR.findall(raw.arguments))
    return int(raw.arguments.rsplit(", ", 1)[1])


def _detail(raw):
    if _is_open(raw):
        found = _PATH.match(raw.arguments)
        return (found and found[3]) or ""
    _, *words = raw.arguments.split(", ")
    if raw.name in ("fcntl", "ioctl"):
        return words[0]
    return ", ".join(words) if raw.name == "lseek" else ""
