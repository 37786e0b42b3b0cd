"""dlrm npz: a user's days, whole but for those that are made again.

These are the last one, with fewer rows, and all with new rows, piece by piece. How long rows are in
their archive is counted while the layout is planned; they are deflated when they are written.
"""

import itertools
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dsgen.deflate import DEFLATE_END, Deflater, empty_blocks
from dsgen.errors import DataSetError
from dsgen.layout import Compression, Parameters, PlannedFile, even_starts
from dsgen.npy import MALFORMED, read_npy_header
from dsgen.source import MadeDay, Source, SourceFile, listed, unchanged, unreadable
from dsgen.unzip import open_member
from dsgen.workloads.dlrm_npz import structure
from dsgen.workloads.dlrm_npz_parts import ARRAYS, Part, split, with_headers
from dsgen.workloads.dlrm_shuffle import orders, part_at, shuffled

# Seed, source and copy.
ShuffleKey = tuple[int, int, int]

_METHODS: Final[dict[int, Compression]] = {
    zipfile.ZIP_STORED: "stored",
    zipfile.ZIP_DEFLATED: "deflate",
}
_READ_BYTES: Final = 2**20
_SHOWN: Final = 100  # of what is wrong with an archive
_THEN: Final = "leave it out, or make it again"


def look(root: Path, name: str) -> tuple[SourceFile, Compression]:
    """Return a day of the input, and how its arrays are kept.

    Raises:
        DataSetError: no archive of the three arrays as the reference's preparation writes them.
    """
    path = root / name
    file = listed(root, name, role="train", file_class="day", samples=0)
    with unchanged(root, file) as descriptor, open(descriptor, "rb", closefd=False) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                shapes, methods = _members(archive)
        except OSError as error:
            raise unreadable(path, error) from error
        except MALFORMED as error:
            what = f"not an archive of X_cat, X_int and y as float64 ({str(error)[:_SHOWN]})"
            raise DataSetError(what, where=str(path), then=_THEN) from error
    (rows,) = shapes[-1] if len(shapes[-1]) == 1 else (0,)
    if not rows or shapes != [array.shape(rows) for array in ARRAYS] or len(methods) > 1:
        what = f"arrays of {', '.join(map(str, shapes))} where rows of 26, of 13 and of 1 belong"
        raise DataSetError(what, where=str(path), then=_THEN)
    counted = listed(root, name, role="train", file_class="day", samples=rows, shape=(rows,))
    return counted, methods.pop()


def _members(archive: zipfile.ZipFile) -> tuple[list[tuple[int, ...]], set[Compression]]:
    shapes, methods = [], set()
    for array in ARRAYS:
        info = archive.getinfo(f"{array.name}.npy")
        with archive.open(info) as member:
            shapes.append(_shape(member))
        methods.add(_METHODS[info.compress_type])
    return shapes, methods


def _shape(member: IO[bytes]) -> tuple[int, ...]:
    """Return the shape in a member's header, and leave the member at its rows."""
    shape, fortran, dtype = read_npy_header(member)
    if dtype != np.dtype("<f8") or fortran:
        raise ValueError(f"{dtype}{' in Fortran order' if fortran else ''}")
    return shape


def days(source: Source, size_bytes: int) -> list[PlannedFile]:
    """Return whole days in turns, and those that are made again in their places."""
    made = {day.index: day for day in source.days}
    whole, left = whole_days(source, size_bytes)
    count = max(made) + 1 if made else whole + bool(left)
    return [
        _made(source, made[index]) if index in made else _whole(source, index)
        for index in range(count)
    ]


def is_made(file: PlannedFile) -> bool:
    """Say whether a day is one that is made again."""
    return bool(file.closing)


def blocks(
    root: Path,
    source: Source,
    parameters: Parameters,
    file: PlannedFile,
    segment: int,
    digests: Mapping[int, int],
) -> Generator[NDArray[np.uint8], None, int | None]:
    """Yield one segment of a day that is made again; the digest of rows is their CRC-32.

    Raises:
        DataSetError: its source cannot be read, or has changed.
    """
    day = next(day for day in source.days if day.index == file.index)
    parts = parts_of(day, source.compression)
    part = parts[segment]
    if not part.rows:
        data = structure(parts, segment, file, digests, source.compression)
        yield np.frombuffer(data, dtype=np.uint8)
        return None
    of, key = source.files[file.key], shuffle_key(parameters, file.key, file.copy)
    crc = rows = written_bytes = 0
    with opened(root, of) as members:
        keep = keeper(source.compression)
        pieces_ = pieces(members[part.array], part.array, of.samples, day.piece_rows, key)
        while rows < day.rows:
            piece = next(pieces_)
            rows += len(piece) // ARRAYS[part.array].row_bytes
            crc = isal_zlib.crc32(piece, crc)
            data = keep(piece)
            written_bytes += len(data)
            yield np.frombuffer(data, dtype=np.uint8)
        # The archive's CRC is of all rows: those that are damaged would get a new one here.
        while members[part.array].read(_READ_BYTES):
            pass
    if source.compression == "deflate":
        padding = empty_blocks(part.bytes - written_bytes - len(DEFLATE_END))
        yield np.frombuffer(padding + DEFLATE_END, dtype=np.uint8)
    return crc


def whole_days(source: Source, size_bytes: int) -> tuple[int, int]:
    """Return how many whole days are below the size, and what they leave of it."""
    count, left = 0, size_bytes
    for file in itertools.cycle(source.files):
        if file.bytes > left or not left:
            return count, left
        count, left = count + 1, left - file.bytes
    raise AssertionError("the turns do not end")


def _whole(source: Source, index: int) -> PlannedFile:
    copy, number = divmod(index, len(source.files))
    of = source.files[number]
    return PlannedFile(
        index=index,
        path=f"day_{index}_reordered.npz",
        role="train",
        file_class="day",
        bytes=of.bytes,
        samples=of.samples,
        shape=of.shape,
        key=number,
        starts=even_starts(of.bytes),
        copy=copy,
    )


def _made(source: Source, day: MadeDay) -> PlannedFile:
    parts = parts_of(day, source.compression)
    copy, number = divmod(day.index, len(source.files))
    *starts, size_bytes = itertools.accumulate((part.bytes for part in parts), initial=0)
    return PlannedFile(
        index=day.index,
        path=f"day_{day.index}_reordered.npz",
        role="train",
        file_class="day",
        bytes=size_bytes,
        samples=day.rows,
        shape=(day.rows,),
        key=number,
        starts=tuple(starts),
        closing=frozenset(n for n, part in enumerate(parts) if not part.rows),
        copy=copy,
    )


def parts_of(day: MadeDay, compression: Compression) -> tuple[Part, ...]:
    """Return the segments of a day that is made again: an array is one of them."""
    chunks = [
        [Part(array=index, rows=day.rows, bytes=size_bytes, is_last=True)]
        for index, size_bytes in enumerate(day.arrays_bytes)
    ]
    return with_headers(chunks, compression)


@contextmanager
def opened(root: Path, file: SourceFile) -> Iterator[list[BinaryIO]]:
    """Open the three arrays of a day, each at its rows."""
    path = root / file.path
    with unchanged(root, file) as descriptor, ExitStack() as stack:
        try:
            stream = stack.enter_context(open(descriptor, "rb", closefd=False))
            archive = stack.enter_context(zipfile.ZipFile(stream))
            members = [
                stack.enter_context(open_member(archive, f"{one.name}.npy")) for one in ARRAYS
            ]
            for member in members:
                _shape(member)
            yield members
        except OSError as error:
            raise unreadable(path, error) from error
        except MALFORMED as error:
            what = f"a damaged archive ({str(error)[:_SHOWN]})"
            raise DataSetError(what, where=str(path), then=_THEN) from error


def shuffle_key(parameters: Parameters, number: int, copy: int) -> ShuffleKey | None:
    """Return what orders of new rows follow from; None where a day keeps its rows."""
    return (parameters.seed, number, copy) if parameters.origin == "augment" and copy else None


def piece_counts(rows: int, piece_rows: int, key: ShuffleKey | None) -> Iterator[int]:
    """Yield the rows of the pieces of a whole day; those to be shuffled are about equal."""
    if key is None:
        yield from split(rows, piece_rows)
        return
    at = 0
    while at < rows:
        _, first, at = part_at(rows, piece_rows, at)
        yield at - first


def pieces(
    member: IO[bytes], array: int, rows: int, piece_rows: int, key: ShuffleKey | None
) -> Iterator[bytes]:
    """Yield the rows of a day's array, piece by piece, shuffled where there is a key.

    Raises:
        ValueError: it has fewer.
    """
    kind = ARRAYS[array]
    columns = kind.row_bytes // 8
    for number, count in enumerate(piece_counts(rows, piece_rows, key)):
        piece = member.read(count * kind.row_bytes)
        if len(piece) < count * kind.row_bytes:
            raise ValueError("fewer rows than its header says")
        if key is not None:
            seed, *place = key
            order = orders(
                "dlrm-npz-shuffle", seed, *place, array, number, rows=count, columns=columns
            )
            piece = shuffled(np.frombuffer(piece, "<f8").reshape(-1, columns), order).tobytes()
        yield piece


def keeper(compression: Compression) -> Callable[[bytes], bytes]:
    """Return what turns the pieces of an array, from its first on, into what an archive keeps."""
    if compression == "stored":
        return bytes
    deflater = Deflater()
    return lambda piece: deflater.blocks(np.frombuffer(piece, np.uint8))
