"""What may be in a data set's directory, and whether it can take what is planned."""

import os
from collections.abc import Iterable
from pathlib import Path

from dsgen.damage import DAMAGE_NAME, obstacle
from dsgen.errors import DataSetError, PathError
from dsgen.journal import JOURNAL_NAME
from dsgen.layout import Link, PlannedFile
from dsgen.lock import LOCK_NAME
from dsgen.manifest import MANIFEST_NAME, Manifest
from dsgen.size import format_size
from dsgen.source import SOURCE_NAME

# Everything that this tool puts beside the data files.
OWN_NAMES = frozenset(
    name + suffix
    for name in (MANIFEST_NAME, JOURNAL_NAME, SOURCE_NAME, DAMAGE_NAME, LOCK_NAME)
    for suffix in ("", ".partial")
)


# What journal and manifest have about a segment, at most.
_RECORD_BYTES = 500


def partial_name(path: str) -> str:
    """Return the name of a file until all of it is on the device."""
    return f"{path}.partial"


def foreign_names(paths: set[str], directory: Path) -> list[str]:
    """Return the sorted names in `directory` that belong to no data set of the files `paths`."""
    ours = OWN_NAMES | paths | {partial_name(path) for path in paths}
    return sorted(entry.name for entry in directory.iterdir() if entry.name not in ours)


def check_unshared(own: set[str], directory: Path) -> None:
    """Refuse a directory that holds anything but `own` files, whatever their names.

    Raises:
        PathError: foreign files, the first of them named.
    """
    ours = OWN_NAMES | own
    foreign = sorted(entry.name for entry in directory.iterdir() if entry.name not in ours)
    if foreign:
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        what = f"{len(foreign)} foreign files ({shown})"
        then = "name an empty or a new directory; nothing here was touched"
        raise PathError(what, where=str(directory), then=then)


def check_room(files: Iterable[PlannedFile], directory: Path) -> None:
    """Refuse to start what cannot end; what the files take already is not needed again.

    Raises:
        PathError: less space or fewer inodes than needed.
    """
    room = os.statvfs(directory)
    # Asking for each of a million new files would take longer.
    there = {entry.name for entry in directory.iterdir()}
    needed_bytes = needed_inodes = 0
    for file in files:
        names = there & {file.path, partial_name(file.path)}
        present_bytes = max((_allocated_bytes(directory / name) for name in names), default=None)
        # Files take whole blocks, and the journal and the manifest a line a segment.
        taken_bytes = -(-file.bytes // room.f_frsize) * room.f_frsize
        needed_bytes += max(taken_bytes - (present_bytes or 0), 0)
        needed_bytes += _RECORD_BYTES * file.segment_count
        needed_inodes += present_bytes is None
    free_bytes = room.f_bavail * room.f_frsize
    then = "free some, or ask for a smaller size"
    if free_bytes < needed_bytes:
        what = f"{needed_bytes:,} bytes needed, {free_bytes:,} free"
        raise PathError(f"too little space: {what}", where=str(directory), then=then)
    # File systems without a fixed table of inodes report none at all.
    if room.f_files and room.f_favail < needed_inodes:
        what = f"{needed_inodes:,} needed, {room.f_favail:,} free"
        raise PathError(f"too few inodes: {what}", where=str(directory), then=then)


def check_capacity(size_bytes: int, directory: Path) -> None:
    """Refuse a size beyond the whole file system, before millions of files are planned.

    Raises:
        PathError: it is larger than the file system below `directory`.
    """
    room = _room(directory)
    total_bytes = room.f_blocks * room.f_frsize
    if size_bytes > total_bytes:
        what = f"{format_size(size_bytes)} asked for, {format_size(total_bytes)} in all"
        then = "ask for a smaller size, or name a larger file system"
        raise PathError(f"too little space: {what}", where=str(directory), then=then)


def check_inodes(files: int, directory: Path) -> None:
    """Refuse more files than the whole file system can have, before they are planned.

    Raises:
        PathError: there are more.
    """
    room = _room(directory)
    # File systems without a fixed table of inodes report none at all.
    if room.f_files and files > room.f_files:
        what = f"{files:,} files needed, {room.f_files:,} inodes in all"
        then = "ask for a smaller size, or name a larger file system"
        raise PathError(f"too few inodes: {what}", where=str(directory), then=then)


def _room(directory: Path) -> os.statvfs_result:
    path = directory.absolute()
    return os.statvfs(next(one for one in (path, *path.parents) if one.exists()))


def _allocated_bytes(path: Path) -> int:
    """Return what a file, finished or not, takes on the device."""
    return path.lstat().st_blocks * 512


def check_complete(manifest: Manifest, directory: Path) -> None:
    """Check names, sizes and times of a complete data set, without reading it.

    Raises:
        DataSetError: a file or link is missing, of another size, or changed since the manifest.
    """
    then = "verify the data set, then generate again to repair it"
    sealed_ns = (directory / MANIFEST_NAME).stat().st_mtime_ns
    for file in manifest.files:
        path = directory / file.path
        where = str(path)
        try:
            status = path.lstat()
        except FileNotFoundError as error:
            raise DataSetError("file missing", where=where, then=then) from error
        if (what := obstacle(path)) is not None:
            away = f"move it away, then {then}"
            raise DataSetError(f"{what}, not a file", where=where, then=away)
        if status.st_size != file.bytes:
            what = f"{status.st_size:,} bytes instead of {file.bytes:,}"
            raise DataSetError(what, where=where, then=then)
        if status.st_mtime_ns > sealed_ns:
            raise DataSetError("changed after its manifest was written", where=where, then=then)
    for link in manifest.links:
        if not is_link(directory, link):
            what, where = f"no link to {link.target}", str(directory / link.path)
            raise DataSetError(what, where=where, then="generate again to make it")


def is_link(directory: Path, link: Link) -> bool:
    """Say whether a link is there and leads where it should."""
    path = directory / link.path
    return path.is_symlink() and str(path.readlink()) == link.target
