"""dlrm npz: how long the days become that are made again, measured while the layout is planned."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from dsgen.deflate import DEFLATE_END, LEAST_PADDING, Deflater
from dsgen.errors import DataSetError
from dsgen.layout import Compression, Parameters
from dsgen.parallel import run_parallel
from dsgen.source import MadeDay, Source, SourceFile
from dsgen.workloads.dlrm_cut import (
    opened,
    parts_of,
    piece_counts,
    pieces,
    shuffle_key,
    whole_days,
)
from dsgen.workloads.dlrm_npz_parts import ARRAYS
from dsgen.workloads.dlrm_shuffle import FEWEST_ROWS

# Rows, and what they take in each array.
Piece = tuple[int, tuple[int, ...]]

# A cut day is at most a piece longer than it has to be: 0.2 % of the data set, or less.
_PIECES: Final = 500
_MOST_ROWS: Final = 4096
_LEAST_ROWS: Final = 64
_ROW_BYTES: Final = 8 * 40
_MARGIN: Final = 1.05  # of rows: they may deflate to less here than in the source
_THEN: Final = "leave it out, or make it again"


def made_days(
    root: Path, source: Source, parameters: Parameters, processes: int
) -> tuple[MadeDay, ...]:
    """Return the days that are made again: the last one, where it is cut, and all with new rows.

    Raises:
        DataSetError: a day cannot be read, has changed, or has too few rows to make new ones.
        WriterDiedError: a process was killed.
    """
    left = parameters.size_requested_bytes - sum(file.bytes for file in source.files)
    if parameters.origin != "augment" or left <= 0:
        return _cut_day(root, source, parameters.size_requested_bytes, processes)
    for file in source.files:
        if file.samples < FEWEST_ROWS:
            what = f"{file.samples} rows, where {FEWEST_ROWS} are needed to make new ones"
            raise DataSetError(what, where=str(root / file.path), then=_THEN)
    found: list[MadeDay] = []
    for index, measured in _new_days(root, source, parameters, processes):
        day = _until(left, index, measured, parameters.size_requested_bytes, source)
        found.append(day)
        left -= _bytes(day, source)
        if left <= 0:
            return tuple(found)
    raise AssertionError("the turns do not end")


def _cut_day(root: Path, source: Source, size_bytes: int, processes: int) -> tuple[MadeDay, ...]:
    """Return the last day of copies; none where it is whole."""
    whole, left = whole_days(source, size_bytes)
    if not left:
        return ()
    of = source.files[whole % len(source.files)]
    # Rows take about as much as they do in the source; if it is less, all are measured.
    for least_rows in (int(of.samples * left / of.bytes * _MARGIN), of.samples):
        measured = _cut_pieces(root, of, source, size_bytes, least_rows, processes)
        day = _until(left, whole, measured, size_bytes, source)
        if _bytes(day, source) >= left or day.rows == of.samples:
            break
    return () if day.rows == of.samples else (day,)


def _cut_pieces(
    root: Path, of: SourceFile, source: Source, size_bytes: int, least_rows: int, processes: int
) -> list[Piece]:
    """Return the first pieces of a day, whole ones, of more than so many rows or of all."""
    piece_rows = _piece_rows(size_bytes)
    rows = (least_rows // piece_rows + 1) * piece_rows
    counts = list(piece_counts(min(of.samples, rows), piece_rows, None))

    def work(array: int) -> tuple[int, list[int]]:
        with opened(root, of) as members:
            streams = pieces(members[array], array, of.samples, piece_rows, None)
            return array, _lengths(streams, array, counts, source.compression)

    arrays = dict(run_parallel(range(len(ARRAYS)), work, processes))
    return _joined(counts, [arrays[array] for array in range(len(ARRAYS))])


def _new_days(
    root: Path, source: Source, parameters: Parameters, processes: int
) -> Iterator[tuple[int, list[Piece]]]:
    """Yield number and pieces of the days after the first turn, in their order, without an end."""
    piece_rows = _piece_rows(parameters.size_requested_bytes)

    def work(index: int) -> tuple[int, list[Piece]]:
        copy, number = divmod(index, len(source.files))
        of, key = source.files[number], shuffle_key(parameters, number, copy)
        counts = list(piece_counts(of.samples, piece_rows, key))
        with opened(root, of) as members:
            streams = [
                pieces(member, array, of.samples, piece_rows, key)
                for array, member in enumerate(members)
            ]
            arrays = [
                _lengths(stream, array, counts, source.compression)
                for array, stream in enumerate(streams)
            ]
            return index, _joined(counts, arrays)

    following, waiting = len(source.files), dict[int, list[Piece]]()
    for index, measured in run_parallel(itertools.count(following), work, processes):
        waiting[index] = measured
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1


def _lengths(
    stream: Iterator[bytes], array: int, counts: Sequence[int], compression: Compression
) -> list[int]:
    """Return what the first pieces of an array take in the archive; `counts` are their rows."""
    if compression == "stored":
        return [rows * ARRAYS[array].row_bytes for rows in counts]
    deflater = Deflater()
    return [
        deflater.measure(np.frombuffer(piece, np.uint8))
        for piece in itertools.islice(stream, len(counts))
    ]


def _joined(counts: Sequence[int], arrays: Sequence[Sequence[int]]) -> list[Piece]:
    return list(zip(counts, zip(*arrays, strict=True), strict=True))


def _until(
    left: int, index: int, measured: Iterable[Piece], size_bytes: int, source: Source
) -> MadeDay:
    """Return the day of as many pieces as reach a size, or of all."""
    ends = 0 if source.compression == "stored" else LEAST_PADDING + len(DEFLATE_END)
    rows, totals = 0, [ends] * len(ARRAYS)
    for count, lengths in measured:
        rows += count
        totals = [total + length for total, length in zip(totals, lengths, strict=True)]
        day = MadeDay(
            index=index,
            rows=rows,
            piece_rows=_piece_rows(size_bytes),
            arrays_bytes=tuple(totals),
        )
        if _bytes(day, source) >= left:
            break
    return day


def _bytes(day: MadeDay, source: Source) -> int:
    return sum(part.bytes for part in parts_of(day, source.compression))


def _piece_rows(size_bytes: int) -> int:
    return min(_MOST_ROWS, max(_LEAST_ROWS, size_bytes // _PIECES // _ROW_BYTES))
