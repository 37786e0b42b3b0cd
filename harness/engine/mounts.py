"""Which directories a job may see at their own path, and how they are made ready."""

from collections.abc import Iterable
from pathlib import Path

from harness.engine import Mount
from harness.errors import ConfigError, TargetError

# What an image needs to run at all. /dev/null stands for /dev, below which /dev/shm is a target.
_SYSTEM = tuple(
    Path(path)
    for path in (
        *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr"),
        *("/dev/null", "/etc", "/proc", "/sys", "/opt/feedrate"),
    )
)


def checked_mounts(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Return the mounts, each path once; where it was asked for twice, writing wins.

    Raises:
        ConfigError: a path is relative, or would hide the image's own system directories.
    """
    merged: dict[Path, bool] = {}
    for mount in mounts:
        _check_path(mount.path)
        merged[mount.path] = merged.get(mount.path, True) and mount.read_only
    return tuple(Mount(path=path, read_only=read_only) for path, read_only in merged.items())


def create_mounts(mounts: Iterable[Mount]) -> None:
    """Create the directories to be written; the engine would create them as root.

    Raises:
        TargetError: one cannot be created, or one to be read is not there.
    """
    for mount in mounts:
        if mount.read_only and not mount.path.is_dir():
            then = "generate the data set, or name another --data"
            raise TargetError("no such directory", where=str(mount.path), then=then)
        try:
            mount.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"cannot create the directory ({error.strerror})"
            raise TargetError(what, where=str(mount.path), then="name another") from error


def _check_path(path: Path) -> None:
    if not path.is_absolute() or ".." in path.parts:
        then = "use absolute paths without .."
        raise ConfigError("a directory must be absolute to be mounted", where=str(path), then=then)
    for system in _SYSTEM:
        if path == system or path in system.parents or system in path.parents:
            what = f"mounting the directory would hide {system} of the image"
            then = "name one outside of the system's, or use --engine local"
            raise ConfigError(what, where=str(path), then=then)
