"""Mounts of Linux, and what may be claimed of the cache and the counters of their file systems."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from harness.worker.host.counts import unescape
from harness.worker.spec import ByteSource

# No page of these can be dropped: the page cache is where the data is.
_MEMORY: Final = frozenset({"tmpfs", "ramfs", "hugetlbfs", "devtmpfs"})
# These answer preadv2(RWF_NOWAIT) without I/O; others refuse it, or answer for a layer above.
_NOWAIT: Final = frozenset({"ext3", "ext4", "xfs", "btrfs", "f2fs"})
_UNCOUNTED: Final = {
    "overlay": "overlay: the storage below it is not known",
    "zfs": "ZFS reads in threads of its own, which no process is charged for",
}
# What llite counts on Lustre are the bytes that read calls returned, from memory too.
_COUNTED_BY_CLIENT: Final[dict[str, ByteSource]] = {
    "nfs": "nfs-mountstats",
    "nfs4": "nfs-mountstats",
    "lustre": "lustre-osc",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo; `device` is (major, minor)."""

    device: tuple[int, int]
    point: PurePosixPath
    options: tuple[str, ...]
    type: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What a file system allows to be known.

    Args:
        evictable: posix_fadvise(DONTNEED) drops its cached pages.
        residency_trusted: preadv2(RWF_NOWAIT) tells whether a page is in memory.
        byte_source: where bytes from the device are counted; `proc` is /proc/PID/io, the others
            count for all processes of this host.
        byte_source_reason: why nowhere, empty otherwise.
    """

    evictable: bool
    residency_trusted: bool
    byte_source: ByteSource
    byte_source_reason: str


def parse_mountinfo(text: str) -> list[Mount]:
    """Return the mounts of a mountinfo text, in its order; lines of another form are left out.

    Source: proc_pid_mountinfo(5).
    """
    mounts = []
    for line in text.splitlines():
        mount_fields, separator, rest = line.partition(" - ")
        left, right = mount_fields.split(" "), rest.split(" ")
        if not separator or len(left) < 6 or len(right) < 2:
            continue
        major, minor = left[2].split(":")
        # The mount's own options first, then those of the file system, each once.
        options = [*left[5].split(","), *(right[2].split(",") if len(right) > 2 else ())]
        mounts.append(
            Mount(
                device=(int(major), int(minor)),
                point=PurePosixPath(unescape(left[4])),
                options=tuple(dict.fromkeys(unescape(option) for option in options)),
                type=right[0],
                source=unescape(right[1]),
            )
        )
    return mounts


def mount_of(mounts: Sequence[Mount], path: PurePosixPath, device: tuple[int, int]) -> Mount | None:
    """Return the mount that holds `path`, an absolute path without links; None if none does.

    The deepest one wins, of stacked ones the last. One whose device is the path's own goes
    first, because a mount may be hidden below a later one; Btrfs reports other numbers there.
    """
    above = [mount for mount in mounts if path.is_relative_to(mount.point)]
    own = [mount for mount in above if mount.device == device]
    ranked = sorted(own or above, key=lambda mount: len(mount.point.parts))
    return ranked[-1] if ranked else None


def traits_of(file_system: str, *, has_block_device: bool) -> Traits:
    """Return what may be claimed of a file system; in doubt, nothing.

    ZFS keeps data in a cache of its own, which DONTNEED does not reach.
    """
    in_memory = file_system in _MEMORY
    source = _COUNTED_BY_CLIENT.get(file_system, "proc")
    reason = ""
    if in_memory:
        reason = f"{file_system} is memory: there is no device"
    elif file_system in _UNCOUNTED:
        reason = _UNCOUNTED[file_system]
    # A FUSE daemon reads on behalf of others, and is charged for it.
    elif file_system.startswith("fuse") or (source == "proc" and not has_block_device):
        reason = f"{file_system}: no block device that this process is charged for"
    return Traits(
        evictable=not in_memory and file_system != "zfs",
        residency_trusted=file_system in _NOWAIT,
        byte_source="none" if reason else source,
        byte_source_reason=reason,
    )
