"""dlrm: a user's click log in one of three formats, and how it continues in a larger data set.

Text and rows go on at their beginning, up to the line or row that reaches the size. Days go on as
whole archives; the last one is cut at a row, and so is an archive of its own. The files of counts
are written anew, for the days there are.
"""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.copied import turn_bytes
from dsgen.errors import DataSetError, UsageError
from dsgen.layout import COUNTED, Layout, Link, Parameters, PlannedFile, Role, even_starts
from dsgen.npy import MALFORMED
from dsgen.source import (
    Source,
    SourceFile,
    listed,
    read_bytes,
    reading,
    unchanged,
    unreadable,
)
from dsgen.workloads import dlrm_cut, dlrm_measure, dlrm_text_augment
from dsgen.workloads.dlrm_bin import LINKS, ROW_BYTES, evaluation_rows
from dsgen.workloads.dlrm_columns import CATEGORIES, COLUMNS, INTEGERS
from dsgen.workloads.dlrm_counts import CATEGORIES_NAME, categories_file, rows_file

NAMES: Final = {
    "text": re.compile(r"train\.txt"),
    "npz": re.compile(r"day_\d+_reordered\.npz"),
    "bin": re.compile(r".*\.bin"),
}

_TEXT: Final = "train.txt"
_SAMPLE_BYTES: Final = 2**20
_SAMPLE_ROWS: Final = 4096
_LARGEST: Final = 2**31
_SHOWN: Final = 100  # of what is wrong with a line
_THEN: Final = "leave it out, or make it again"


def inspect(root: Path, names: list[str], format_: str) -> Source:
    """Return the click log of `names`.

    Raises:
        DataSetError: a file is none of the format, or one that belongs to it is missing.
    """
    looks: dict[str, Callable[[Path, list[str]], Source]] = {
        "text": _text,
        "npz": _days,
        "bin": _rows,
    }
    return looks[format_](root, names)


def cut(root: Path, source: Source, parameters: Parameters, processes: int) -> Source:
    """Return the source with where the text ends, or with the days that are made again."""
    if source.format == "text":
        return replace(source, cut=(_end_of_text(root, source.files[0], parameters),))
    if source.format == "npz":
        days = dlrm_measure.made_days(root, source, parameters, processes)
        return replace(source, days=days)
    return source


def scaled(source: Source, parameters: Parameters) -> Layout:
    """Return the files of the smallest data set of at least the size."""
    links: tuple[Link, ...] = ()
    if source.format == "text":
        files = [_planned(source, 0, 0, _TEXT, source.cut[0], COUNTED)]
    elif source.format == "npz":
        files = dlrm_cut.days(source, parameters.size_requested_bytes)
        files.append(rows_file(len(files), files))
        files.append(categories_file(len(files), source.counts))
    else:
        files, links = _scaled_rows(source, parameters.size_requested_bytes), LINKS
    return Layout(parameters=parameters, files=tuple(files), links=links)


def _planned(
    source: Source, index: int, number: int, path: str, size_bytes: int, samples: int
) -> PlannedFile:
    of = source.files[number]
    return PlannedFile(
        index=index,
        path=path,
        role="eval" if index else "train",
        file_class=of.file_class,
        bytes=size_bytes,
        samples=samples,
        shape=(),
        key=number,
        starts=even_starts(size_bytes),
        counts=not index,
    )


def _scaled_rows(source: Source, size_bytes: int) -> list[PlannedFile]:
    """Return training rows, test rows in the input's proportion, and counts.

    An input without test rows has its training rows in their place, in the original's proportion.
    """
    rows = -(-size_bytes // ROW_BYTES)
    tests = source.of_role("eval")
    beside = evaluation_rows(rows)
    if tests:
        proportion = source.files[tests[0]].samples, source.files[0].samples
        beside = max(1, round(rows * proportion[0] / proportion[1]))
    of = tests[0] if tests else 0
    return [
        _planned(source, 0, 0, "preprocessed.bin", rows * ROW_BYTES, rows),
        _planned(source, 1, of, "preprocessed_test.bin", beside * ROW_BYTES, beside),
        categories_file(2, source.counts),
    ]


def _text(root: Path, names: list[str]) -> Source:
    (name,) = names
    file = listed(root, name, role="train", file_class="line", samples=COUNTED)
    if not file.bytes:
        raise DataSetError("empty", where=str(root / name), then=_THEN)
    with unchanged(root, file) as descriptor:
        start = _read(root, name, descriptor, _SAMPLE_BYTES, 0)
        after = max(0, file.bytes - _SAMPLE_BYTES)
        end = _read(root, name, descriptor, _SAMPLE_BYTES, after)
    lines = start.split(b"\n")
    # The last line of a sample from the beginning may go on, the first of one from the end may
    # have begun before it.
    lines = lines[:-1] + end.split(b"\n")[1:] if after else lines
    if lines and not lines[-1]:  # after the last line end
        del lines[-1]
    if not lines:
        what = f"its first and its last line are longer than {_SAMPLE_BYTES:,} bytes"
        raise DataSetError(what, where=str(root / name), then=_THEN)
    for line in lines:
        _check_line(line, root / name)
    return Source(workload="dlrm", format="text", compression="none", files=(file,))


def _check_line(line: bytes, path: Path) -> None:
    fields = line.removesuffix(b"\r").split(b"\t")
    try:
        if len(fields) != COLUMNS:
            raise ValueError(f"{len(fields)} tab-separated fields")
        for field in filter(None, fields[: INTEGERS.stop]):
            int(field)
        for field in filter(None, fields[CATEGORIES]):
            int(field, 16)
    except ValueError as error:
        belongs = "a label, 13 integers and 26 categories belong"
        what = f"a line is no click: {str(error)[:_SHOWN]} where {belongs}"
        raise DataSetError(what, where=str(path), then=_THEN) from error


def _end_of_text(root: Path, file: SourceFile, parameters: Parameters) -> int:
    """Return where the line ends that reaches the size.

    Raises:
        UsageError: it has no end, and a clone cannot have one.
    """
    least_bytes = parameters.size_requested_bytes
    with unchanged(root, file) as descriptor:
        turn = turn_bytes(descriptor, file)
    if parameters.origin == "augment" and least_bytes > turn:
        return dlrm_text_augment.end_of_line(root, file, parameters.seed, least_bytes)
    end = _end_of_line(root, file, least_bytes)
    if parameters.origin == "clone" and least_bytes <= file.bytes < end:
        what = "its last line has no end, which a copy gets and a clone cannot have"
        then = "ask for less, or use --mode copy"
        raise UsageError(what, where=str(root / file.path), then=then)
    return end


def _end_of_line(root: Path, file: SourceFile, least_bytes: int) -> int:
    """Return where the line ends that holds byte `least_bytes` - 1 of the repeated text."""
    with unchanged(root, file) as descriptor:
        turn = turn_bytes(descriptor, file)
        place = (least_bytes - 1) % turn
        at = place
        while at < file.bytes:
            if not (data := _read(root, file.path, descriptor, _SAMPLE_BYTES, at)):
                break  # it was made shorter, which the end of this block tells
            if (found := data.find(b"\n")) >= 0:
                return least_bytes - place + at + found
            at += len(data)
    return least_bytes - place + turn - 1


def _rows(root: Path, names: list[str]) -> Source:
    # The reference's own links are other names of the same files.
    files_of: dict[str, str] = {}
    for name in sorted(names, key=lambda name: ((root / name).is_symlink(), name)):
        files_of.setdefault(os.path.realpath(root / name), name)
    real = sorted(files_of.values())
    tests = [name for name in real if name.endswith("_test.bin")]
    trains = [name for name in real if name not in tests and not name.endswith("_val.bin")]
    for kind, found in (("training", trains), ("test", tests)):
        if len(found) > 1 or (kind == "training" and not found):
            what = f"{len(found)} files of {kind} rows ({', '.join(found[:3])})"
            raise DataSetError(what, where=str(root), then="leave one in the input")
    files = [_file_of_rows(root, trains[0], evaluates=False)]
    files += [_file_of_rows(root, name, evaluates=True) for name in tests]
    counts = _counts_beside(root)
    for file in files:
        _check_rows(root, file, counts)
    return Source(
        workload="dlrm", format="bin", compression="none", files=tuple(files), counts=counts
    )


def _file_of_rows(root: Path, name: str, *, evaluates: bool) -> SourceFile:
    role: Role = "eval" if evaluates else "train"
    file = listed(root, name, role=role, file_class="row", samples=0)
    rows, rest = divmod(file.bytes, ROW_BYTES)
    if rest or not rows:
        what = f"{file.bytes:,} bytes are no whole number of rows of {ROW_BYTES}"
        raise DataSetError(what, where=str(root / name), then=_THEN)
    return listed(root, name, role=role, file_class="row", samples=rows)


def _check_rows(root: Path, file: SourceFile, counts: tuple[int, ...]) -> None:
    """Check the first and the last rows."""
    with reading(root, file) as descriptor:
        rows = min(_SAMPLE_ROWS, file.samples)
        for at in (0, file.samples - rows):
            data = read_bytes(descriptor, at * ROW_BYTES, rows * ROW_BYTES)
            _check_values(data.view("<i4").reshape(-1, COLUMNS), counts, root / file.path)


def _check_values(rows: NDArray[np.int32], counts: tuple[int, ...], path: Path) -> None:
    what = None
    if rows.min() < 0:
        what = "a value below 0"
    elif rows[:, 0].max() > 1:
        what = "a label above 1"
    elif (rows[:, CATEGORIES].max(axis=0) >= counts).any():
        what = f"an id that {CATEGORIES_NAME} does not count"
    if what is not None:
        raise DataSetError(f"{what} in its rows", where=str(path), then=_THEN)


def _counts_beside(root: Path) -> tuple[int, ...]:
    """Return the categories of each column from the file beside the rows."""
    path = root / CATEGORIES_NAME
    if path.exists() and not path.is_file():
        raise DataSetError("not a file", where=str(path), then=_THEN)
    try:
        with np.load(path) as archive:
            counts = tuple(int(count) for count in archive["counts"])
    except FileNotFoundError as error:
        then = "put the reference's beside the rows: without it training prepares all anew"
        raise DataSetError("no counts of categories", where=str(path), then=then) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except MALFORMED as error:
        raise DataSetError("no counts in it", where=str(path), then=_THEN) from error
    if len(counts) != CATEGORIES.stop - CATEGORIES.start or not all(
        0 < count <= _LARGEST for count in counts
    ):
        raise DataSetError("not 26 counts", where=str(path), then=_THEN)
    return counts


def _days(root: Path, names: list[str]) -> Source:
    ordered = sorted(names, key=lambda name: int(re.sub(r"\D", "", name)))
    looked = [dlrm_cut.look(root, name) for name in ordered]
    compressions = {compression for _, compression in looked}
    if len(compressions) > 1:
        what = "some days are deflated, others stored"
        raise DataSetError(what, where=str(root), then="leave those of one kind in the input")
    return Source(
        workload="dlrm",
        format="npz",
        compression=compressions.pop(),
        files=tuple(file for file, _ in looked),
        counts=_counts_beside(root),
    )


def _read(root: Path, name: str, descriptor: int, size_bytes: int, at: int) -> bytes:
    try:
        return os.pread(descriptor, size_bytes, at)
    except OSError as error:
        raise unreadable(root / name, error) from error
