"""The storage under test: what is below a directory, and what can be known of it."""

import os
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dsgen.size import format_size
from harness.errors import TargetError
from harness.mounts import Mount, mount_of, parse_mountinfo, traits_of
from harness.options import PLAIN_ADVICE, is_plain
from harness.worker.spec import ByteSource

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_SYSFS: Final = Path("/sys")
_COUNTERS: Final[dict[ByteSource, str]] = {
    "proc": "/proc/PID/io",
    "nfs-mountstats": "/proc/self/mountstats, for all of this host",
    "lustre-osc": "Lustre's osc.*.stats, for all of this host",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A directory and the storage below it; None is unknown.

    Args:
        path: absolute, without links; it may not exist yet.
        device: whole disk, such as `/dev/vda`, or what the mount names as its source.
        device_number: of the whole disk, `MAJOR:MINOR`.
        free_bytes: to this user.
        free_inodes: to this user; None where the file system counts none.
        scheduler, rotational, read_ahead_kb: as the kernel says; a virtual disk may be anything.
        evictable, residency_trusted, byte_source: see `harness.mounts.Traits`.
    """

    path: str
    mount_point: str | None
    file_system: str | None
    mount_options: tuple[str, ...]
    device: str | None
    device_number: str | None
    total_bytes: int
    free_bytes: int
    free_inodes: int | None
    read_ahead_kb: int | None
    scheduler: str | None
    rotational: bool | None
    evictable: bool
    residency_trusted: bool
    byte_source: ByteSource
    byte_source_reason: str

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {**asdict(self), "mount_options": list(self.mount_options)}


def inspect_target(path: Path, *, to_write: bool = True) -> Target:
    """Return what is known of the storage below `path`, or below its nearest existing parent.

    Raises:
        TargetError: `path` is or runs through a file, leads to a name that is not plain, or could
            not be written to if `to_write`.
    """
    try:
        resolved = path.resolve()
        if not is_plain(str(resolved)):  # by a link: the path itself was checked
            what = f"leads to {str(resolved)!r}"
            raise TargetError(what, where=str(path), then=PLAIN_ADVICE)
        existing = _nearest_directory(resolved)
        if to_write:
            _check_writable(existing, resolved)
        return _inspect(resolved, existing)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        then = "name another directory"
        raise TargetError(f"cannot be inspected ({reason})", where=str(path), then=then) from error


def create_directory(path: Path) -> None:
    """Create the directory `path` with its parents; one that exists is left as it is.

    Raises:
        TargetError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        then = "name another directory"
        what = f"directory cannot be created ({error.strerror})"
        raise TargetError(what, where=str(path), then=then) from error


def target_lines(target: Target) -> list[str]:
    """Return the echo of a target: where data goes, and what will be known of it."""
    where = f"{target.path}: {target.file_system or 'unknown file system'}"
    details = [f"on {target.device}"] if target.device else []
    if target.rotational is not None:
        details.append("rotational" if target.rotational else "not rotational")
    if target.scheduler:
        details.append(f"scheduler {target.scheduler}")
    if target.read_ahead_kb is not None:
        details.append(f"read-ahead {target.read_ahead_kb} KiB")
    space = f"{format_size(target.free_bytes)} free of {format_size(target.total_bytes)}"
    cache = "pages can be evicted" if target.evictable else "pages cannot be evicted"
    residency = "checked" if target.residency_trusted else "not checked"
    counted = target.byte_source_reason or f"counted in {_COUNTERS[target.byte_source]}"
    return [
        f"target  {', '.join([' '.join([where, *details[:1]]), *details[1:], space])}",
        f"        {cache}, residency {residency}; bytes from the device: {counted}",
    ]


def _nearest_directory(path: Path) -> Path:
    """Return the first of `path` and its parents that exists.

    Raises:
        TargetError: it is no directory.
    """
    existing = next(one for one in (path, *path.parents) if _exists(one))
    if existing.is_dir():
        return existing
    what = "not a directory" if existing == path else f"runs through {existing}, not a directory"
    raise TargetError(what, where=str(path), then="name another directory")


def _exists(path: Path) -> bool:
    # A link that leads in circles is there, too, and no directory can take its place.
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _check_writable(existing: Path, path: Path) -> None:
    # The effective user writes; access(2) alone would ask for the real one.
    if os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        return
    what = "not writable" if existing == path else f"cannot be created, {existing} is not writable"
    raise TargetError(what, where=str(path), then="name another directory, or change its rights")


def _inspect(path: Path, existing: Path) -> Target:
    number = existing.stat().st_dev
    device = (os.major(number), os.minor(number))
    mounts = parse_mountinfo(_MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape"))
    mount = mount_of(mounts, PurePosixPath(existing), device)
    disk = find_disk(device, mount)
    queue = disk / "queue" if disk else None
    file_system = mount.type if mount else None
    traits = traits_of(file_system or "unknown", has_block_device=disk is not None)
    space = os.statvfs(existing)
    rotational = _read(queue / "rotational") if queue else None
    # A file system on no disk, NFS for one, has its read-ahead with its anonymous device.
    ahead = queue or _SYSFS / "class/bdi" / f"{device[0]}:{device[1]}"
    return Target(
        path=str(path),
        mount_point=str(mount.point) if mount else None,
        file_system=file_system,
        mount_options=mount.options if mount else (),
        device=f"/dev/{disk.name.replace('!', '/')}" if disk else _source(mount),
        device_number=_read(disk / "dev") if disk else None,
        total_bytes=space.f_blocks * space.f_frsize,
        # f_bavail, not f_bfree: blocks reserved for root are not ours.
        free_bytes=space.f_bavail * space.f_frsize,
        free_inodes=space.f_favail if space.f_files else None,
        read_ahead_kb=_number(_read(ahead / "read_ahead_kb")),
        scheduler=parse_choice(_read(queue / "scheduler") or "") if queue else None,
        rotational=None if rotational is None else rotational == "1",
        evictable=traits.evictable,
        residency_trusted=traits.residency_trusted,
        byte_source=traits.byte_source,
        byte_source_reason=traits.byte_source_reason,
    )


def block_device_number(source: str) -> tuple[int, int] | None:
    """Return major and minor number of the block device `source`, None if it is none."""
    if not source.startswith("/"):
        return None
    try:
        status = Path(source).stat()
    except OSError:
        return None
    if not stat.S_ISBLK(status.st_mode):
        return None
    return os.major(status.st_rdev), os.minor(status.st_rdev)


def find_disk(
    device: tuple[int, int],
    mount: Mount | None,
    sysfs: Path = _SYSFS,
    number_of: Callable[[str], tuple[int, int] | None] = block_device_number,
) -> Path | None:
    """Return the whole disk's directory in sysfs; None where no block device is below.

    Args:
        device: major and minor number that a file there reports.
        mount: names the device where that number is anonymous (Btrfs).
        sysfs: where sysfs is mounted.
        number_of: major and minor number of a source.
    """
    # Major 0 is anonymous: NFS, tmpfs, overlay, and Btrfs although it has a disk.
    if device[0] == 0 and mount is not None:
        device = number_of(mount.source) or device
    entry = sysfs / "dev/block" / f"{device[0]}:{device[1]}"
    if device[0] == 0 or not entry.exists():
        return None
    found = entry.resolve()
    return found.parent if (found / "partition").exists() else found


def parse_choice(text: str) -> str | None:
    """Return the word that the kernel puts in brackets, or the only word; None for no word.

    >>> parse_choice("none [mq-deadline] kyber"), parse_choice("none"), parse_choice("")
    ('mq-deadline', 'none', None)
    """
    words = text.split()
    chosen = [word[1:-1] for word in words if word.startswith("[") and word.endswith("]")]
    return chosen[0] if chosen else (words[0] if len(words) == 1 else None)


def _source(mount: Mount | None) -> str | None:
    """Return what a mount without a disk names as its source: an export, a pool; tmpfs has none."""
    return mount.source if mount and mount.source not in {mount.type, "none"} else None


def _read(path: Path) -> str | None:
    """Return a sysfs file's text; a file that is not there, or refuses, is unknown."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
