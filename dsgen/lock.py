"""One writer or many readers of a data set: a lock that dies with the process that holds it.

POSIX record locks, because they reach over NFS and between containers of one host, and because
a forked child does not inherit them. The empty lock file stays; it means nothing by itself.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsgen.errors import DataSetError, PathError

LOCK_NAME = ".feedrate.lock"


@contextmanager
def hold_exclusive(directory: Path) -> Iterator[None]:
    """Keep every other process out of the data set while the block runs.

    Raises:
        PathError: another process writes or reads it, or the directory is not writable.
    """
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        then = "choose a directory that you may write to"
        raise PathError(
            f"cannot lock ({error.strerror})", where=str(directory), then=then
        ) from error
    try:
        _lock(descriptor, fcntl.LOCK_EX, directory)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def hold_shared(directory: Path) -> Iterator[None]:
    """Keep writers out of the data set while the block runs; readers may come and go.

    Raises:
        DataSetError: there is no data set.
        PathError: a process is writing it, or the lock cannot be read.
    """
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        then = "generate the data set first"
        raise DataSetError("no data set here", where=str(directory), then=then) from error
    except OSError as error:
        then = f"make {LOCK_NAME} readable"
        raise PathError(
            f"cannot lock ({error.strerror})", where=str(directory), then=then
        ) from error
    try:
        _lock(descriptor, fcntl.LOCK_SH, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int, directory: Path) -> None:
    try:
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        then = "wait until it ends, or end it"
        raise PathError(
            "another process uses the data set", where=str(directory), then=then
        ) from error
