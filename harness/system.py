"""The machine that runs the ranks: what a reader needs to judge or repeat a result."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from harness.target import parse_choice
from harness.worker.host.cgroup import CgroupLimits, own_limits

_PACKAGES: Final = (
    "docker",
    "feedrate",
    "google-crc32c",
    "isal",
    "jinja2",
    "matplotlib",
    "msgspec",
    "numba",
    "numpy",
    "psutil",
    "rich",
)


class SystemFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts at the start of a run. No host name: results are meant to be passed on.

    Args:
        kernel: system and release, `Linux 6.1.0`.
        cores_usable: that this process may run on (affinity).
        hypervisor: whether the processor says that it is virtual; None where it cannot say.
        transparent_huge_pages: always, madvise or never.
        load_average: of 1, 5 and 15 minutes.
    """

    kernel: str
    machine: str
    cpu_model: str | None
    cores_usable: int | None
    cores_total: int | None
    numa_nodes: int | None
    hypervisor: bool | None
    memory_total_bytes: int
    memory_available_bytes: int
    cgroup: CgroupLimits
    transparent_huge_pages: str | None
    load_average: tuple[float, float, float] | None
    python: str
    packages: dict[str, str | None]


def system_facts(proc: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> SystemFacts:
    """Return the facts of this machine, from files below `proc` and `sysfs`; unknown is None."""
    processor = parse_cpuinfo(_read(proc / "cpuinfo") or "")
    memory = psutil.virtual_memory()
    pages = _read(sysfs / "kernel/mm/transparent_hugepage/enabled")
    return SystemFacts(
        kernel=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu_model=processor.get("model name"),
        cores_usable=_cores_usable(),
        cores_total=psutil.cpu_count(),
        numa_nodes=len(list((sysfs / "devices/system/node").glob("node[0-9]*"))) or None,
        hypervisor=_has_hypervisor(processor),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        cgroup=own_limits(proc, sysfs / "fs/cgroup"),
        transparent_huge_pages=parse_choice(pages or ""),
        # Before the ranks start: what else was running.
        load_average=_load_average(),
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
    )


def system_json(facts: SystemFacts) -> dict[str, Any]:
    """Return what goes to system.json."""
    values: dict[str, Any] = msgspec.to_builtins(facts)
    return values


def parse_cpuinfo(text: str) -> dict[str, str]:
    r"""Return the fields of the first processor of a /proc/cpuinfo text.

    >>> parse_cpuinfo("processor\t: 0\nmodel name\t: X 1\n\nprocessor\t: 1\n")
    {'processor': '0', 'model name': 'X 1'}
    """
    first = text.lstrip().partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _has_hypervisor(processor: dict[str, str]) -> bool | None:
    """Return what the x86 flag says; Arm lists its features elsewhere, and no such flag."""
    return "hypervisor" in processor["flags"].split() if "flags" in processor else None


def _cores_usable() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _load_average() -> tuple[float, float, float] | None:
    try:
        return os.getloadavg()
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    """Return a file's text; one that is not there, or refuses, is unknown."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
