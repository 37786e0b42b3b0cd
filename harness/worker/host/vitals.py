"""What the kernel tells of another process, also of one that it does not let go."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
# Bytes of calls, and those that go to and come from devices while a call is under way.
_MOVED: Final = (b"rchar", b"wchar", b"read_bytes", b"write_bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Vitals:
    """All threads of a process together.

    Args:
        state: of its main thread, as ps shows it: R, S, D, T, Z.
        cpu_s: used so far, in steps of 10 ms.
        moved_bytes: read and written so far; 0 where the kernel does not count.
    """

    state: str
    cpu_s: float
    moved_bytes: int


def vitals(pid: int) -> Vitals | None:
    """Return the vitals of a process; None when there is none."""
    try:
        # The name, in brackets, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return Vitals(state=fields[0], cpu_s=ticks / _TICKS_PER_S, moved_bytes=_moved_bytes(pid))


def _moved_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/io").read_bytes().splitlines()
    except OSError:
        return 0
    return sum(
        int(value) for name, value in (line.split(b": ") for line in lines) if name in _MOVED
    )
