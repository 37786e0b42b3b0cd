"""dlrm npz: a user's days, whole but for the last one, which is made again with fewer rows.

How long the rows of the last day are in its archive is known when they have been deflated once,
while the layout is planned. They are deflated a second time when they are written.
"""

import itertools
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dsgen.errors import DataSetError
from dsgen.layout import Compression, PlannedFile, even_starts
from dsgen.npz import DEFLATE_END, LEAST_PADDING, empty_blocks
from dsgen.source import Source, SourceFile, listed, unchanged, unreadable
from dsgen.workloads.dlrm_npz import deflated_blocks, structure
from dsgen.workloads.dlrm_npz_parts import ARRAYS, Part, split, with_headers

_METHODS: Final[dict[int, Compression]] = {
    zipfile.ZIP_STORED: "stored",
    zipfile.ZIP_DEFLATED: "deflate",
}
# A cut day is at most a piece longer than it has to be: 0.2 % of the data set, or less.
_PIECES: Final = 500
_MOST_ROWS: Final = 4096
_LEAST_ROWS: Final = 64
_SLACK_BYTES: Final = 8  # a piece
_ROW_BYTES: Final = 8 * 40
_THEN: Final = "leave it out of the input, or make it again"


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
        except (zipfile.BadZipFile, NotImplementedError, ValueError, KeyError) as error:
            what = f"not an archive of X_cat, X_int and y as float64 ({error})"
            raise DataSetError(what, where=str(path), then=_THEN) from error
    rows = shapes[-1][0]
    if shapes != [array.shape(rows) for array in ARRAYS] or len(methods) > 1:
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
    if np.lib.format.read_magic(member) != (1, 0):
        raise ValueError("not .npy of version 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype != np.dtype("<f8") or fortran:
        raise ValueError(f"{dtype}{' in Fortran order' if fortran else ''}")
    return tuple(shape)


def cut(root: Path, source: Source, size_bytes: int) -> tuple[int, ...]:
    """Return rows, rows a piece and the bytes of the three arrays of the last day.

    Nothing where the last day is whole.

    Raises:
        DataSetError: the day cannot be read, or has changed.
    """
    whole, left = _whole_days(source, size_bytes)
    if not left:
        return ()
    of = source.files[whole % len(source.files)]
    piece_rows = min(_MOST_ROWS, max(_LEAST_ROWS, size_bytes // _PIECES // _ROW_BYTES))
    ends = 0 if source.compression == "stored" else LEAST_PADDING + len(DEFLATE_END)
    rows, totals = 0, [ends] * len(ARRAYS)
    with _opened(root, of) as members:
        streams = [_pieces(member, n, of.samples, piece_rows) for n, member in enumerate(members)]
        for pieces in zip(*streams, strict=True):
            rows += len(pieces[0]) // ARRAYS[0].row_bytes
            for number, piece in enumerate(pieces):
                totals[number] += len(_kept(piece, source.compression)) + _slack(source)
            if sum(part.bytes for part in _parts(rows, totals, source.compression)) >= left:
                break
    return () if rows == of.samples else (rows, piece_rows, *totals)


def days(source: Source, size_bytes: int) -> list[PlannedFile]:
    """Return whole days in turns, and the last one as it was cut."""
    whole, left = _whole_days(source, size_bytes)
    files = [_whole(source, index) for index in range(whole + bool(left and not source.cut))]
    return [*files, _cut(source, whole)] if source.cut else files


def is_cut(file: PlannedFile) -> bool:
    """Say whether a day is the one that was cut."""
    return bool(file.closing)


def blocks(
    root: Path, source: Source, file: PlannedFile, segment: int, digests: Mapping[int, int]
) -> Generator[NDArray[np.uint8], None, int | None]:
    """Yield one segment of the day that was cut; the digest of rows is their CRC-32.

    Raises:
        DataSetError: its source cannot be read, or has changed.
    """
    rows, piece_rows, *totals = source.cut
    parts = _parts(rows, totals, source.compression)
    part = parts[segment]
    if not part.rows:
        data = structure(parts, segment, file, digests, source.compression)
        yield np.frombuffer(data, dtype=np.uint8)
        return None
    crc = written_bytes = 0
    with _opened(root, source.files[file.key]) as members:
        for piece in _pieces(members[part.array], part.array, rows, piece_rows):
            crc = isal_zlib.crc32(piece, crc)
            kept = _kept(piece, source.compression)
            written_bytes += len(kept)
            yield np.frombuffer(kept, dtype=np.uint8)
    if source.compression == "deflate":
        padding = empty_blocks(part.bytes - written_bytes - len(DEFLATE_END))
        yield np.frombuffer(padding + DEFLATE_END, dtype=np.uint8)
    return crc


def _whole_days(source: Source, size_bytes: int) -> tuple[int, int]:
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


def _cut(source: Source, index: int) -> PlannedFile:
    rows, _, *totals = source.cut
    parts = _parts(rows, totals, source.compression)
    copy, number = divmod(index, len(source.files))
    *starts, size_bytes = itertools.accumulate((part.bytes for part in parts), initial=0)
    return PlannedFile(
        index=index,
        path=f"day_{index}_reordered.npz",
        role="train",
        file_class="day",
        bytes=size_bytes,
        samples=rows,
        shape=(rows,),
        key=number,
        starts=tuple(starts),
        closing=frozenset(n for n, part in enumerate(parts) if not part.rows),
        copy=copy,
    )


def _parts(rows: int, totals: Sequence[int], compression: Compression) -> tuple[Part, ...]:
    chunks = [
        [Part(array=index, rows=rows, bytes=size_bytes, is_last=True)]
        for index, size_bytes in enumerate(totals)
    ]
    return with_headers(chunks, compression)


@contextmanager
def _opened(root: Path, file: SourceFile) -> Iterator[list[IO[bytes]]]:
    """Open the three arrays of a day, each at its rows."""
    path = root / file.path
    with unchanged(root, file) as descriptor, ExitStack() as stack:
        try:
            stream = stack.enter_context(open(descriptor, "rb", closefd=False))
            archive = stack.enter_context(zipfile.ZipFile(stream))
            members = [stack.enter_context(archive.open(f"{one.name}.npy")) for one in ARRAYS]
            for member in members:
                _shape(member)
            yield members
        except OSError as error:
            raise unreadable(path, error) from error
        except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError) as error:
            what = f"a damaged archive ({error})"
            raise DataSetError(what, where=str(path), then=_THEN) from error


def _pieces(member: IO[bytes], array: int, rows: int, piece_rows: int) -> Iterator[bytes]:
    for count in split(rows, piece_rows):
        piece = member.read(count * ARRAYS[array].row_bytes)
        if len(piece) < count * ARRAYS[array].row_bytes:
            raise ValueError("fewer rows than its header says")
        yield piece


def _kept(piece: bytes, compression: Compression) -> bytes:
    return piece if compression == "stored" else deflated_blocks(np.frombuffer(piece, np.uint8))


def _slack(source: Source) -> int:
    # README, limits: the same rows are not always deflated to the same length.
    return 0 if source.compression == "stored" else _SLACK_BYTES
