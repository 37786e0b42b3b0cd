"""What the machine did during a window: how idle the ranks' cores were, and pressure stalls."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from harness.worker.host.cgroup import find_group_file, own_limits
from harness.worker.record import MachineWindow

# Nanoseconds in which some tasks stalled, and in which all did; None where nobody knows.
Stalled = tuple[int, int] | None

RESOURCES = ("cpu", "io", "memory")
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_NO_PRESSURE = "this kernel keeps no account of stalls, or does not show it here"
_IDLE, _IOWAIT = 3, 4  # fields of a line of /proc/stat after its name


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    at_ns: int
    idle_ns: int | None
    used_ns: int | None
    pressure_ns: dict[str, Stalled]


class Machine:
    """Looks at the machine's own counters, which cost a read of some kilobytes each.

    Args:
        proc: where procfs is.
        root: where the control groups are.
        cores: numbers of those that the ranks may run on; by default what this thread may.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        root: Path = Path("/sys/fs/cgroup"),
        cores: frozenset[int] | None = None,
    ) -> None:
        self._read_bytes = 0
        self._stat = proc / "stat"
        self._mask = frozenset(os.sched_getaffinity(0)) if cores is None else cores
        quota = own_limits(proc, root).cpus
        self._quota = quota if quota is not None and quota < len(self._mask) else None
        self._usage = _usage_file(proc, root)
        self._pressure, self._source = _pressure_files(proc, root)
        self._begun: _Look | None = None

    def looked(self) -> int:
        """Return the bytes that looks have read so far, which are no data."""
        return self._read_bytes

    def begin(self) -> None:
        """Look for the first time."""
        self._begun = self._look()

    def end(self, epoch: int) -> MachineWindow:
        """Look again, and return what happened between the two looks."""
        if self._begun is None:
            raise RuntimeError("end without begin")
        before, after = self._begun, self._look()
        elapsed_ns = after.at_ns - before.at_ns
        pressure = {
            name: _growth(before.pressure_ns[name], after.pressure_ns[name]) for name in RESOURCES
        }
        known = any(value is not None for value in pressure.values())
        return MachineWindow(
            epoch=epoch,
            elapsed_ns=elapsed_ns,
            cores=self._quota or len(self._mask),
            idle_ns=self._idle(before, after, elapsed_ns),
            pressure_ns=pressure,
            pressure_source=self._source if known else _NO_PRESSURE,
        )

    def _idle(self, before: _Look, after: _Look, elapsed_ns: int) -> int | None:
        if before.idle_ns is None or after.idle_ns is None:
            return None
        idle_ns = after.idle_ns - before.idle_ns
        if self._quota is not None:
            # Cores may be idle because the quota is used up.
            if before.used_ns is None or after.used_ns is None:
                return None
            left_ns = round(self._quota * elapsed_ns) - (after.used_ns - before.used_ns)
            idle_ns = min(idle_ns, left_ns)
        return max(0, idle_ns)

    def _look(self) -> _Look:
        return _Look(
            at_ns=time.monotonic_ns(),
            idle_ns=parse_idle(self._read(self._stat), self._mask),
            used_ns=parse_usage(self._read(self._usage)) if self._usage else None,
            pressure_ns={
                name: parse_pressure(self._read(path)) for name, path in self._pressure.items()
            },
        )

    def _read(self, path: Path) -> str:
        text = _text(path) or ""
        self._read_bytes += len(text)
        return text


def parse_idle(text: str, cores: frozenset[int]) -> int | None:
    r"""Return how long these cores have been idle, in ns; None where /proc/stat does not say.

    Waiting for a device counts as idle: the core may be had.

    >>> parse_idle("cpu  1 2 3 9 9\ncpu0 1 2 3 400 50\ncpu1 1 2 3 7 1\n", frozenset({0}))
    4500000000
    """
    ticks = 0
    found = 0
    for line in text.splitlines():
        name, *fields = line.split()
        if not name.startswith("cpu"):
            break
        if name[3:].isdigit() and int(name[3:]) in cores and len(fields) > _IOWAIT:
            ticks += int(fields[_IDLE]) + int(fields[_IOWAIT])
            found += 1
    return ticks * _TICK_NS if found == len(cores) else None


def parse_usage(text: str) -> int | None:
    r"""Return the CPU time in ns of a `cpuacct.usage` (version 1) or a `cpu.stat` (version 2).

    >>> parse_usage("1500\n"), parse_usage("usage_usec 7\nuser_usec 5\n"), parse_usage("")
    (1500, 7000, None)
    """
    words = text.split()
    if len(words) == 1 and words[0].isdigit():
        return int(words[0])
    fields = dict(zip(words[::2], words[1::2], strict=False))
    return int(fields["usage_usec"]) * 1_000 if fields.get("usage_usec", "").isdigit() else None


def parse_pressure(text: str) -> Stalled:
    r"""Return the totals of a pressure file in ns: some tasks stalled, all of them did.

    The processor's has no second line in older kernels; for the whole machine it is 0 anyway.

    >>> parse_pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=12\n"), parse_pressure("")
    ((12000, 0), None)
    """
    totals = {}
    for line in text.splitlines():
        kind, *fields = line.split()
        values = dict(field.split("=", 1) for field in fields if "=" in field)
        if values.get("total", "").isdigit():
            totals[kind] = int(values["total"]) * 1_000
    return (totals["some"], totals.get("full", 0)) if "some" in totals else None


def _growth(before: Stalled, after: Stalled) -> Stalled:
    if before is None or after is None:
        return None
    return after[0] - before[0], after[1] - before[1]


def _usage_file(proc: Path, root: Path) -> Path | None:
    first = find_group_file("cpuacct.usage", controller="cpuacct", proc=proc, root=root)
    return first or find_group_file("cpu.stat", controller="", proc=proc, root=root)


def _pressure_files(proc: Path, root: Path) -> tuple[dict[str, Path], str]:
    """Return the files of this job's own stalls where there are such, else the machine's."""
    first = find_group_file("cpu.pressure", controller="", proc=proc, root=root)
    if first is not None and _text(first):
        source = "pressure files of the job's control group: of its own tasks"
        return {name: first.with_name(f"{name}.pressure") for name in RESOURCES}, source
    source = "/proc/pressure: of all tasks of the machine"
    return {name: proc / "pressure" / name for name in RESOURCES}, source


def _text(path: Path) -> str | None:
    try:
        # A character a byte, whatever is in it: what was read is counted.
        return path.read_bytes().decode("latin-1")
    except OSError:
        return None
