"""The journal of a data set that is being written: a header line, then a line a finished segment.

While it exists the data set is incomplete. A line is added only after its segment reached the
device, so after a crash or a loss of power every line is true, and a torn last line is dropped.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

from dsgen.errors import DataSetError, writing
from dsgen.layout import Layout, Parameters

JOURNAL_NAME = ".feedrate-journal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """One segment that reached the device, with what was measured of its content.

    `digest` is what the segment's generator returned, for the closing segments of its file.
    """

    file: int
    segment: int
    bytes: int
    crc32c: int
    sampled_bytes: int
    deflated_bytes: int
    sampled_blocks: int
    duplicate_blocks: int
    digest: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields in their order in the journal."""
        return {name: getattr(self, name) for name in self.__slots__}


class Journal:
    """An open journal; a context manager that closes it."""

    def __init__(self, path: Path, stream: IO[str]) -> None:
        self.path = path
        self._stream = stream

    def add(self, written: Written) -> None:
        """Append one segment; it is in the kernel's hands when this returns.

        Raises:
            PathError: it cannot be written.
        """
        with writing(self.path):
            self._stream.write(_line(written.as_json()))
            self._stream.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of a line that could not be added, as was said then
            self._stream.close()


def begin_journal(directory: Path, parameters: Parameters, kept: Iterable[Written]) -> Journal:
    """Open the journal for appending; it starts with the parameters and what is kept, flushed.

    What an earlier journal had beside `kept` is forgotten: its segments are not there any more.

    Raises:
        PathError: it cannot be written.
    """
    path = directory / JOURNAL_NAME
    lines = [_line(parameters.as_json()), *(_line(written.as_json()) for written in kept)]
    temporary = path.with_name(f"{JOURNAL_NAME}.partial")
    with writing(path):
        with temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(lines)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
        return Journal(path, path.open("a", encoding="utf-8"))


def read_journal(
    directory: Path, layout: Layout | None = None
) -> tuple[Parameters, dict[tuple[int, int], Written]] | None:
    """Return what an interrupted generation was making and what it finished, or None.

    Args:
        directory: where it was making it.
        layout: what it should have been making; where that is so, each segment must be one of it.

    Raises:
        DataSetError: the journal cannot be read, or has what no journal of the layout has.
    """
    path = directory / JOURNAL_NAME
    if not path.exists():
        return None
    lines = _whole_lines(path)
    if not lines:
        return None
    try:
        parameters = _parameters_from(lines[0])
        written = [_written_from(line) for line in lines[1:]]
        if layout is not None and layout.parameters == parameters:
            _check_planned(written, layout)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        then = "move its directory away and generate again"
        raise DataSetError("malformed journal", where=str(path), then=then) from error
    return parameters, {(entry.file, entry.segment): entry for entry in written}


def finished_paths(layout: Layout, done: Mapping[tuple[int, int], Written]) -> set[str]:
    """Return the files of which the journal has every segment: only these have their own name."""
    counted = Counter(file for file, _ in done)
    return {file.path for file in layout.files if counted[file.index] == file.segment_count}


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":")) + "\n"


def _parameters_from(line: str) -> Parameters:
    parameters = Parameters(**json.loads(line))
    for field in fields(Parameters):
        value = getattr(parameters, field.name)
        if field.type is int:
            _check_whole(value)
        elif not value.isprintable():
            raise ValueError(f"{field.name} is no line of text")
    return parameters


def _written_from(line: str) -> Written:
    written = Written(**json.loads(line))
    for field in fields(Written):
        value = getattr(written, field.name)
        if field.name != "digest" or value is not None:
            _check_whole(value)
    if written.crc32c >= 2**32 or (written.digest or 0) >= 2**32:
        raise ValueError("a CRC of more than 32 bits")
    return written


def _check_whole(value: object) -> None:
    # True is an int, too, and 1.0 equals one.
    if type(value) is not int or value < 0:
        raise ValueError("no whole number of at least 0")


def _check_planned(written: list[Written], layout: Layout) -> None:
    for entry in written:
        file = layout.files[entry.file] if entry.file < len(layout.files) else None
        if file is None or entry.segment >= file.segment_count:
            raise ValueError("a segment that is not planned")
        if entry.bytes != file.segment(entry.segment).bytes:
            raise ValueError("a segment of another length")


def _whole_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        then = "check its rights, or delete it and generate again"
        raise DataSetError(f"cannot read ({error.strerror})", where=str(path), then=then) from error
    return text[: text.rfind("\n") + 1].splitlines()
