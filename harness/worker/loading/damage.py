"""Which record of which file another reader has refused."""

import os
from collections.abc import Iterable
from typing import Final

from dsgen.errors import DataSetError
from dsgen.tfrecord import next_header, read_record
from harness.worker.recording.io import TracedFile

_THEN: Final = "`verify` the data set, or restore the file"


class _At:
    """A file from a byte on, as records are read from."""

    def __init__(self, descriptor: int, at: int) -> None:
        self._descriptor = descriptor
        self._at = at

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        data = os.pread(self._descriptor, size, self._at)
        self._at += len(data)
        return data


def find_damage(files: Iterable[TracedFile], offset: int) -> DataSetError | None:
    """Return the error of the first file whose record around byte `offset` is none.

    Headers tell where the records before it begin; a wrong one among these is damage, too. None
    where all files have a record there, or end before it.
    """
    return next((error for file in files if (error := _damage(file, offset)) is not None), None)


def _damage(file: TracedFile, offset: int) -> DataSetError | None:
    records = at = 0
    try:
        descriptor = os.open(file.path, os.O_RDONLY)
        try:
            while (end := next_header(descriptor, at, file.size_bytes)) <= offset:
                if end == at:  # the file's own
                    return None
                records, at = records + 1, end
            read_record(_At(descriptor, at), file.size_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        return DataSetError(f"cannot read ({error.strerror})", where=file.path, then=_THEN)
    except ValueError as error:
        what = record_error(records, at, error)
        return DataSetError(what, where=file.path, then=_THEN)
    return None


def record_error(before: int, at: int, error: ValueError) -> str:
    """Return what is wrong with the record at byte `at`, which has so many `before` it."""
    return f"record {before + 1:,} at byte {at:,}: {error}"
