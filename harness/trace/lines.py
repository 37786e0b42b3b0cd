"""The lines of a log of strace: whole calls, torn ones joined, and what is neither.

A line has the number of its thread (`-f`), a time (`-ttt`), the call, and how long it took (`-T`);
all but the call may be missing.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from harness.trace.calls import Log

_LINE: Final = re.compile(
    r"(?:\[pid +(?P<pid>\d{1,9})\] |(?P<number>\d{1,9}) +)?"
    r"(?:(?P<unix>\d{1,10}\.\d+) +|(?P<day>\d\d:\d\d:\d\d(?:\.\d+)?|\(\+ *\d+\.\d+\)) +)?"
    r"(?P<text>.*)"
)
_TORN: Final = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED: Final = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_WHOLE: Final = re.compile(r"(\w+)\((.*)\) += (0x[0-9a-f]+|-?\d{1,18})(?!\d)(?: (E[A-Z0-9]+)\b)?")
_NO_RETURN: Final = re.compile(r"(\w+)\(.*\) += \?")
_TOOK: Final = re.compile(r"<(\d{1,8})\.(\d+)>\s*$")
_EXIT: Final = re.compile(r"\+\+\+ (?:exited|killed|superseded)\b.*\+\+\+")
_SIGNAL: Final = re.compile(r"--- .* ---|strace: .*")
_DETACHED: Final = re.compile(r"(\w+)\(.*<detached \.\.\.>")
# No number of a call has so many digits, and Python converts no more.
_ENDLESS: Final = re.compile(r"\d{4000}")
# These end a process, or are begun again by the kernel under another name.
_NEVER_RETURN: Final = ("exit", "exit_group", "execve", "restart_syscall")
# Seconds before 1973 or after 2255 are seconds since something else.
_UNIX_S: Final = range(100_000_000, 9_000_000_000)


class RawCall(NamedTuple):
    """A call as text; `begun` and `ended` are the numbers of its lines, from 0."""

    begun: int
    ended: int
    thread: int
    name: str
    arguments: str
    result: int
    errno: str
    t0_ns: int | None
    t1_ns: int | None


class RawLog(NamedTuple):
    """The calls of a log in the order in which they began; `exits` is (line, thread)."""

    calls: list[RawCall]
    exits: list[tuple[int, int]]
    facts: Log


class _Torn(NamedTuple):
    begun: int
    text: str
    name: str
    t0_ns: int | None


def read_lines(lines: Iterable[str]) -> RawLog:
    """Return what the lines say; a call that no line ends is counted, and left out."""
    calls: list[RawCall] = []
    exits: list[tuple[int, int]] = []
    torn: dict[int, _Torn] = {}
    unreadable: list[int] = []
    unreturned: Counter[str] = Counter()
    clocks: set[str] = set()
    running: set[int] = set()
    follows = True
    number, line = -1, "\n"
    for number, line in enumerate(lines):
        if _ENDLESS.search(line):
            unreadable.append(number + 1)
            continue
        found = _LINE.match(line)
        text = found["text"].rstrip() if found else ""
        if found is None or not text:
            continue
        thread = int(found["pid"] or found["number"] or 0)
        # Without -o, a thread that is alone has no number, and its end belongs to nobody.
        follows = follows and not found["pid"]
        clock = _clock(found["unix"], found["day"])
        t0_ns = _nanoseconds(found["unix"]) if clock == "unix" else None
        if begun := _TORN.fullmatch(text):
            torn[thread] = _Torn(number, f"{begun[1]}({begun[2]}", begun[1], t0_ns)
            clocks.add(clock)
            running.add(thread)
            continue
        start = _Torn(number, "", "", t0_ns)
        resumed = _RESUMED.match(text)
        if resumed and thread in torn:
            start = torn.pop(thread)
            text = start.text + resumed[2]
        if whole := _WHOLE.match(text):
            clocks.add(clock)
            running.add(thread)
            calls.append(_raw(start, number, thread, whole, text, t0_ns))
        elif _EXIT.match(text):
            exits.append((number, thread))
            running.discard(thread)
            if thread in torn:
                unreturned[torn.pop(thread).name] += 1
        elif ended := _NO_RETURN.match(text) or _DETACHED.match(text):
            unreturned[ended[1]] += 1
        elif resumed or "resumed>" in text:  # begun before the log, or never ended
            unreturned[resumed[1] if resumed else start.name] += 1
        elif not _SIGNAL.match(text):
            unreadable.append(number + 1)
    unreturned.update(own.name for own in torn.values())
    facts = Log(
        lines=number + 1,
        calls=len(calls),
        unreadable=tuple(unreadable),
        unreturned={name: count for name, count in unreturned.items() if name not in _NEVER_RETURN},
        clock=_one_clock(clocks),
        cut=not line.endswith("\n"),
        unended=len(running) if follows else 0,
    )
    return RawLog(sorted(calls, key=lambda call: call.begun), exits, facts)


def _raw(
    start: _Torn, ended: int, thread: int, whole: re.Match[str], text: str, seen_ns: int | None
) -> RawCall:
    t1_ns = seen_ns if start.begun != ended else None
    if start.t0_ns is not None and (took := _TOOK.search(text)):
        t1_ns = start.t0_ns + _nanoseconds(f"{took[1]}.{took[2]}")
    return RawCall(
        begun=start.begun,
        ended=ended,
        thread=thread,
        name=whole[1],
        arguments=whole[2],
        # Not by its prefix: the masks of umask are octal.
        result=int(whole[3], 16 if whole[3].startswith("0x") else 10),
        errno=whole[4] or "",
        t0_ns=start.t0_ns,
        t1_ns=t1_ns,
    )


def _nanoseconds(text: str) -> int:
    """Return seconds as nanoseconds; a float has not enough digits."""
    seconds, _, part = text.partition(".")
    return int(seconds) * 1_000_000_000 + int(part[:9].ljust(9, "0"))


def _clock(unix: str | None, day: str | None) -> str:
    if unix is not None and int(unix.partition(".")[0]) in _UNIX_S:
        return "unix"
    return "none" if unix is None and day is None else "other"


def _one_clock(clocks: set[str]) -> str:
    return clocks.pop() if len(clocks) == 1 else "other" if clocks else "none"
