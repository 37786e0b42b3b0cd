"""The journal of a data set that is being written: a header line, then a line a finished segment.

While it exists the data set is incomplete. A line is added only after its segment reached the
device, so after a crash or a loss of power every line is true, and a torn last line is dropped.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from dsgen.errors import DataSetError, writing
from dsgen.layout import Parameters

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
            self._stream.write(json.dumps(asdict(written), separators=(",", ":")) + "\n")
            self._stream.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of a line that could not be added, as was said then
            self._stream.close()


def begin_journal(directory: Path, parameters: Parameters) -> Journal:
    """Open the journal for appending; a new one starts with the parameters, flushed.

    Raises:
        DataSetError: what is there cannot be read.
        PathError: it cannot be written.
    """
    path = directory / JOURNAL_NAME
    kept = _whole_lines(path) if path.exists() else []
    if not kept:
        kept = [json.dumps(parameters.as_json(), separators=(",", ":"))]
    temporary = path.with_name(f"{JOURNAL_NAME}.partial")
    with writing(path):
        with temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in kept)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
        return Journal(path, path.open("a", encoding="utf-8"))


def read_journal(directory: Path) -> tuple[Parameters, dict[tuple[int, int], Written]] | None:
    """Return what an interrupted generation was making and what it finished, or None.

    Raises:
        DataSetError: the journal cannot be read.
    """
    path = directory / JOURNAL_NAME
    if not path.exists():
        return None
    lines = _whole_lines(path)
    if not lines:
        return None
    try:
        parameters = Parameters(**json.loads(lines[0]))
        written = [Written(**json.loads(line)) for line in lines[1:]]
    except (ValueError, TypeError) as error:
        then = "delete this one file and generate again"
        raise DataSetError("malformed journal", where=str(path), then=then) from error
    return parameters, {(entry.file, entry.segment): entry for entry in written}


def _whole_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        then = "check its rights, or delete it and generate again"
        raise DataSetError(f"cannot read ({error.strerror})", where=str(path), then=then) from error
    return text[: text.rfind("\n") + 1].splitlines()
