"""The input of a scaling: what was found in a user's files, and whether they are still the same."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from dsgen.errors import DataSetError, PathError, writing
from dsgen.layout import Compression, Role

# Beside the data of a scaled data set: what it was made from. With it the layout can be made again.
SOURCE_NAME: Final = ".feedrate-source.json"

# Rises whenever the same input and parameters would give other bytes.
FORMAT_VERSION: Final = 2

_CHANGED: Final = "leave the input alone, then remove the scaled data set and scale again"
_RENEWED: Final = "repeat the command that made the data set, which writes it again"
_DAMAGED: Final = "leave it out, or make it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One file of the input.

    Args:
        path: relative to the input's directory.
        bytes: its length.
        mtime_ns: when it was last changed.
        role: what training uses it for.
        file_class: what it is to the workload.
        samples: examples in it, 0 where a companion file counts them, or COUNTED.
        shape: of the array it holds; of records and rows, how many there are.
    """

    path: str
    bytes: int
    mtime_ns: int
    role: Role
    file_class: str
    samples: int
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeDay:
    """A day of dlrm npz that is made again: with fewer rows, or new ones.

    Args:
        index: of its file in the scaled data set.
        rows: as many as it has.
        piece_rows: at most so many are deflated, and shuffled, together.
        arrays_bytes: what the rows of each of the three arrays take in the archive.
    """

    index: int
    rows: int
    piece_rows: int
    arrays_bytes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A whole input, sorted as it is taken.

    Args:
        workload: whose names the files have.
        format: one of the workload's.
        compression: what the files themselves do to their content.
        files: all that is used of it.
        cut: where the last file of the scaled data set ends, of text and records.
        days: of dlrm npz, those that are made again, in the order of their files.
        counts: of dlrm, the categories of each column.
    """

    workload: str
    format: str
    compression: Compression
    files: tuple[SourceFile, ...]
    cut: tuple[int, ...] = ()
    days: tuple[MadeDay, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def crc32c(self) -> str:
        """CRC32C of names, lengths and times, eight hex digits."""
        listing = [(file.path, file.bytes, file.mtime_ns) for file in self.files]
        return f"{google_crc32c.value(json.dumps(listing).encode()):08x}"

    def of_role(self, role: Role) -> list[int]:
        """Return the numbers of the files with a role."""
        return [number for number, file in enumerate(self.files) if file.role == role]


def listed(
    root: Path,
    path: str,
    *,
    role: Role,
    file_class: str,
    samples: int,
    shape: tuple[int, ...] = (),
) -> SourceFile:
    """Return a file of the input as it is now.

    Raises:
        DataSetError: it cannot be looked at, or is no regular file.
    """
    where = root / path
    try:
        status = where.stat()
    except OSError as error:
        raise unreadable(where, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataSetError("not a file", where=str(where), then="move it out of the input")
    return SourceFile(
        path=path,
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        role=role,
        file_class=file_class,
        samples=samples,
        shape=shape,
    )


@contextmanager
def unchanged(root: Path, file: SourceFile) -> Iterator[int]:
    """Open a file of the input for reading, and check before and after that it has not changed.

    Raises:
        DataSetError: it has, or it cannot be read.
    """
    path = root / file.path
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        _check_same(descriptor, path, file)
        yield descriptor
        _check_same(descriptor, path, file)
    finally:
        os.close(descriptor)


@contextmanager
def reading(root: Path, file: SourceFile) -> Iterator[int]:
    """Open a file as `unchanged` does; a ValueError in the block says what is wrong with it.

    Raises:
        DataSetError: it cannot be read, has changed, or something is wrong with it.
    """
    path = root / file.path
    try:
        with unchanged(root, file) as descriptor:
            yield descriptor
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise DataSetError(str(error), where=str(path), then=_DAMAGED) from error


def read_bytes(descriptor: int, at: int, size_bytes: int) -> NDArray[np.uint8]:
    """Return a range of a file.

    Raises:
        ValueError: it ends before.
    """
    buffer = np.empty(size_bytes, dtype=np.uint8)
    got = 0
    while got < size_bytes:
        count = os.preadv(descriptor, [buffer[got:].data], at + got)
        if count == 0:
            raise ValueError("became shorter while it was read")
        got += count
    return buffer


def unreadable(path: Path, error: OSError) -> DataSetError:
    """Return what to raise when a file of the input cannot be read."""
    what = f"cannot read ({os.strerror(error.errno or 0)})"
    return DataSetError(what, where=str(path), then="check its rights and its storage")


def _check_same(descriptor: int, path: Path, file: SourceFile) -> None:
    status = os.fstat(descriptor)
    if (status.st_size, status.st_mtime_ns) != (file.bytes, file.mtime_ns):
        raise DataSetError("changed while it was read", where=str(path), then=_CHANGED)


def write_source(directory: Path, source: Source) -> None:
    """Write the listing into a scaled data set's directory, flushed: a line, and its CRC32C.

    Raises:
        PathError: it cannot be written.
    """
    text = json.dumps(source, default=_as_json, separators=(",", ":"))
    path, temporary = directory / SOURCE_NAME, directory / f"{SOURCE_NAME}.partial"
    with writing(path):
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(f"{text}\n{_checksum(text)}\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)


def read_source(directory: Path) -> Source:
    """Return the listing in a scaled data set's directory.

    Raises:
        DataSetError: there is none, or it is malformed.
    """
    path = directory / SOURCE_NAME
    try:
        text, checksum = path.read_text("utf-8").splitlines()
        if checksum != _checksum(text):
            raise ValueError("another CRC of its text")
        return _from_document(json.loads(text))
    except FileNotFoundError as error:
        then = _RENEWED
        what = "the listing of the input is missing"
        raise DataSetError(what, where=str(path), then=then) from error
    except OSError as error:
        then = "check the directory's rights"
        raise PathError(f"cannot read ({error.strerror})", where=str(path), then=then) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        then = _RENEWED
        raise DataSetError("malformed listing", where=str(path), then=then) from error


def _checksum(text: str) -> str:
    return f"{google_crc32c.value(text.encode()):08x}"


def _as_json(value: Source | SourceFile | MadeDay) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _from_document(document: dict[str, Any]) -> Source:
    files = tuple(
        SourceFile(**{**entry, "shape": tuple(entry["shape"])}) for entry in document.pop("files")
    )
    days = tuple(
        MadeDay(**{**entry, "arrays_bytes": tuple(entry["arrays_bytes"])})
        for entry in document.pop("days")
    )
    cut, counts = tuple(document.pop("cut")), tuple(document.pop("counts"))
    return Source(**document, files=files, cut=cut, days=days, counts=counts)
