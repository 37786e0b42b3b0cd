"""Counters of bytes from storage beside a process's own: of its control group, NFS, Lustre.

They count for all ranks at once, so the first rank alone looks at them, outside of what its own
counters measure: before a window opens and after it has closed, while no rank reads.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from harness.worker.host.cgroup import find_group_file
from harness.worker.host.counts import (
    parse_io_stat,
    parse_lustre_bytes,
    parse_mountstats,
    parse_throttle_bytes,
)
from harness.worker.record import SourceCount
from harness.worker.spec import WorkerSpec

_THROTTLE: Final = "blkio.throttle.io_service_bytes"
_PROC: Final = Path("/proc")
_GROUPS: Final = Path("/sys/fs/cgroup")
# Where Lustre keeps its statistics: since 2.12 in debugfs, which only root may enter.
_LUSTRE: Final = (Path("/proc/fs/lustre"), Path("/sys/kernel/debug/lustre"))
_LEVELS: Final = {"lustre-osc": "osc", "lustre-llite": "llite"}

Count = Callable[[], int | None]


@dataclass(kw_only=True, slots=True)
class Sources:
    """The sources that count here, and why others do not.

    Args:
        counts: by name; each returns a counter that only grows.
        uncounted: name of a source that should count here -> why it does not.
        silent: name of a source -> why it may count nothing of what was read.
    """

    counts: dict[str, Count] = field(default_factory=dict)
    uncounted: dict[str, str] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    _opened: dict[str, int | None] = field(default_factory=dict)

    def open(self) -> None:
        """Begin a window."""
        self._opened = self._look()

    def close(self, *, epoch: int, phase: int, start_ns: int) -> list[SourceCount]:
        """Return what each source counted since `open`."""
        closed = self._look()
        return [
            SourceCount(
                source=name,
                epoch=epoch,
                phase=phase,
                start_ns=start_ns,
                bytes=_growth(self._opened.get(name), closed[name]),
            )
            for name in self.counts
        ]

    def missing(self, counts: Iterable[SourceCount]) -> dict[str, str]:
        """Return which sources did not count, and why, after all windows of a run."""
        heard = {count.source for count in counts if count.bytes}
        quiet = {name: why for name, why in self.silent.items() if name not in heard}
        return {**self.uncounted, **quiet}

    def _look(self) -> dict[str, int | None]:
        return {name: count() for name, count in self.counts.items()}


def find_sources(
    spec: WorkerSpec,
    *,
    proc: Path = _PROC,
    groups: Path = _GROUPS,
    lustre: Iterable[Path] = _LUSTRE,
) -> Sources:
    """Return the sources for the spec's storage that can be read here."""
    sources = Sources()
    if spec.byte_source == "proc":
        _find_group(sources, spec.group_device, proc, groups)
    elif spec.byte_source == "nfs-mountstats":
        _find_nfs(sources, spec.data_dir, proc)
    elif spec.byte_source == "lustre-osc":
        for name, level in _LEVELS.items():
            _find_lustre(sources, name, level, tuple(lustre))
    return sources


def _find_group(sources: Sources, device: str | None, proc: Path, groups: Path) -> None:
    if device is None:
        sources.uncounted["cgroup"] = "the ranks have no control group of their own"
        return
    path = find_group_file("io.stat", controller="", proc=proc, root=groups)
    parse, silent = parse_io_stat, f"io.stat of the control group names no {device}"
    if path is None:
        path = find_group_file(_THROTTLE, controller="blkio", proc=proc, root=groups)
        parse = parse_throttle_bytes
        silent = (
            f"version 1 counts bytes of {device} only once a throttle rule has been set on it, "
            "for whatever group"
        )
    if path is None or _text(path) is None:
        sources.uncounted["cgroup"] = "no control group here counts bytes of devices"
        return

    def count() -> int | None:
        text = _text(path)
        # A device has no line before its first byte.
        return None if text is None else parse(text, device) or 0

    sources.counts["cgroup"] = count
    sources.silent["cgroup"] = silent


def _find_nfs(sources: Sources, data_dir: str, proc: Path) -> None:
    path = proc / "self" / "mountstats"

    def server(text: str) -> int | None:
        counted = parse_mountstats(text, data_dir)
        return None if counted is None else counted.server

    def replies(text: str) -> int | None:
        counted = parse_mountstats(text, data_dir)
        return None if counted is None else counted.read_replies

    if _count(path, server) is None:
        reason = f"{path} has no bytes of the NFS mount that holds {data_dir}"
        sources.uncounted["nfs-mountstats"] = reason
        return
    sources.counts["nfs-mountstats"] = partial(_count, path, server)
    sources.counts["nfs-read-replies"] = partial(_count, path, replies)


def _find_lustre(sources: Sources, name: str, level: str, places: tuple[Path, ...]) -> None:
    paths: list[Path] = []
    for place in places:
        try:
            paths = sorted((place / level).glob("*/stats"))
        except OSError:
            continue
        if paths and all(_text(path) is not None for path in paths):
            sources.counts[name] = partial(_lustre_bytes, paths)
            return
    where = " or ".join(str(place / level) for place in places)
    sources.uncounted[name] = f"no statistics that this user may read in {where}"


def _lustre_bytes(paths: list[Path]) -> int | None:
    total = 0
    for path in paths:
        text = _text(path)
        if text is None:
            return None
        # A server that nothing was read from yet has no such line.
        total += parse_lustre_bytes(text) or 0
    return total


def _count(path: Path, parse: Callable[[str], int | None]) -> int | None:
    text = _text(path)
    return None if text is None else parse(text)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _growth(opened: int | None, closed: int | None) -> int | None:
    # Who clears statistics meanwhile leaves no figure, and certainly none below zero.
    if opened is None or closed is None or closed < opened:
        return None
    return closed - opened
