"""The limits that control groups put on this process, versions 1 and 2 and both at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

# Version 1 says "no limit" by the largest number of whole pages, never less than this.
_UNLIMITED_BYTES: Final = 1 << 60


@dataclass(frozen=True, kw_only=True, slots=True)
class CgroupLimits:
    """What holds for this process; None is no limit, or unknown where `version` is None.

    Args:
        version: `hybrid` where both trees are mounted.
        memory_bytes: the lowest limit from this group up to the root.
        cpus: processors that the lowest quota is worth.
    """

    version: Literal["1", "2", "hybrid"] | None
    memory_bytes: int | None
    cpus: float | None


def own_limits(proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")) -> CgroupLimits:
    """Return the limits of this process; a kernel without control groups sets none."""
    return read_limits(_own_groups(proc), root)


def find_group_file(
    name: str, *, controller: str, proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")
) -> Path | None:
    """Return the file `name` of this process's group, None where there is none.

    Args:
        name: such as `io.stat`.
        controller: of version 1, such as `blkio`; "" is the tree of version 2.
        proc: where procfs is mounted.
        root: where the trees are mounted.
    """
    path = parse_groups(_own_groups(proc)).get(controller)
    tree = root / controller if controller else _unified(root)
    # Not in the groups above the first that is there: their files count for others, too.
    own = next((one for one in _upwards(tree, path) if one.is_dir()), None)
    return own / name if own is not None and (own / name).exists() else None


def read_limits(groups: str, root: Path) -> CgroupLimits:
    """Return the limits of the groups that /proc/self/cgroup names, read below `root`.

    Inside a container the names may be those of the host, which do not exist there: the groups
    that do, up to the root, are those that this process can know of.
    """
    paths = parse_groups(groups)
    unified = _unified(root)
    memory, quotas = [], []
    for directory in _upwards(root / "memory", paths.get("memory")):
        memory.append(_number(directory / "memory.limit_in_bytes"))
    for directory in _upwards(unified, paths.get("")):
        memory.append(_number(directory / "memory.max"))
        quotas.append(_quota(_words(directory / "cpu.max")))
    for directory in _upwards(root / "cpu", paths.get("cpu")):
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quotas.append(_quota([word for name in files for word in _words(directory / name)]))
    limits = [limit for limit in memory if limit is not None and limit < _UNLIMITED_BYTES]
    return CgroupLimits(
        version=_version(paths, unified),
        memory_bytes=min(limits, default=None),
        cpus=min((quota for quota in quotas if quota is not None), default=None),
    )


def parse_groups(text: str) -> dict[str, str]:
    """Return controller -> path of a /proc/PID/cgroup text; the unified tree is controller "".

    Named trees without a controller, systemd's for one, are left out.
    """
    paths: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        # Version 1 may put several controllers into one tree: cpu,cpuacct.
        for controller in controllers.split(","):
            if controller or number == "0":
                paths[controller] = path
    return {name: path for name, path in paths.items() if not name.startswith("name=")}


def _own_groups(proc: Path) -> str:
    try:
        return (proc / "self" / "cgroup").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _unified(root: Path) -> Path:
    # A hybrid system mounts version 2 beside the controllers of version 1.
    return root / "unified" if (root / "unified").is_dir() else root


def _version(paths: dict[str, str], unified: Path) -> Literal["1", "2", "hybrid"] | None:
    first = any(paths)  # a controller with a name
    second = "" in paths and (unified / "cgroup.controllers").exists()
    if first and second:
        return "hybrid"
    if first:
        return "1"
    return "2" if second else None


def _upwards(tree: Path, path: str | None) -> list[Path]:
    if path is None:
        return []
    group = tree / path.lstrip("/")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(tree))]


def _words(path: Path) -> list[str]:
    """Return the words of a limit's file; a group without that file sets no limit."""
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if words and words[0].isdigit() else None


def _quota(words: list[str]) -> float | None:
    """Return processors of `QUOTA PERIOD`; `max` and -1 are no quota."""
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    return int(words[0]) / int(words[1])
