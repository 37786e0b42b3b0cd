"""Every expected failure, with its exit code.

A message is one line of three parts: what happened, where, and what to do next.
"""

import errno
import os
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Final

# Control characters, surrogates, and what ends a line or a paragraph.
_BREAKING: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


class ExitCode(IntEnum):
    """Exit codes of `python -m harness` and `python -m dsgen` (nox turns all of them into 1)."""

    DONE = 0
    USAGE = 2
    ENGINE = 3
    IMAGE_BUILD = 4
    DEVICE = 5
    DATA_SET = 6
    PATH = 7
    RANK_DIED = 8
    OUT_OF_MEMORY = 9
    STALLED = 10
    RESULT = 11
    AU_BELOW = 20
    REGRESSION = 21
    NOT_COMPARABLE = 22
    BUG = 70
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODE_MEANING = {
    ExitCode.DONE: "done, whatever the verdict",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.ENGINE: "engine absent, too old or lost",
    ExitCode.IMAGE_BUILD: "image build failed",
    ExitCode.DEVICE: "device or driver",
    ExitCode.DATA_SET: "data set absent, incomplete, corrupt, other or too small",
    ExitCode.PATH: "path not writable, foreign files, no space, locked",
    ExitCode.RANK_DIED: "rank or container died",
    ExitCode.OUT_OF_MEMORY: "out of memory",
    ExitCode.STALLED: "time limit or stall",
    ExitCode.RESULT: "result incomplete or self-check failed",
    ExitCode.AU_BELOW: "AU below --require-au",
    ExitCode.REGRESSION: "regression",
    ExitCode.NOT_COMPARABLE: "results not comparable",
    ExitCode.BUG: "a bug, with its traceback",
    ExitCode.HUNG_UP: "hung up (SIGHUP): the terminal or the connection was closed",
    ExitCode.INTERRUPTED: "interrupted (SIGINT)",
    ExitCode.TERMINATED: "terminated (SIGTERM)",
}


class FeedrateError(Exception):
    """An expected failure in one line: `what` happened, `where`, what to do `then`.

    `lines` follow below it, where one does not say all: each problem, the end of an output.
    """

    exit_code = ExitCode.USAGE

    def __init__(
        self, what: str, *, where: str = "", then: str = "", lines: Iterable[str] = ()
    ) -> None:
        self.what = what
        self.where = where
        self.then = then
        message = f"{what}: {where}" if where else what
        message = f"{message}; {then}" if then else message
        super().__init__("\n  ".join(map(_one_line, (message, *lines))))


def breaks_line(char: str) -> bool:
    r"""Return whether a character cannot stand in a message of one line.

    >>> breaks_line("\n"), breaks_line("\udcff"), breaks_line("\u00fc")
    (True, True, False)
    """
    return unicodedata.category(char) in _BREAKING


def _one_line(message: str) -> str:
    return "".join(ascii(char)[1:-1] if breaks_line(char) else char for char in message)


class DsgenError(FeedrateError):
    """Root of what data set code raises."""


class UsageError(DsgenError):
    """A flag or value that cannot be meant."""

    exit_code = ExitCode.USAGE


class DataSetError(DsgenError):
    """The data set is absent, incomplete, corrupt, of another kind, or too small."""

    exit_code = ExitCode.DATA_SET


class PathError(DsgenError):
    """The directory cannot take the data set: rights, foreign files, space, lock."""

    exit_code = ExitCode.PATH


def unwritten(error: OSError, path: Path) -> PathError:
    """Return what to raise when the system refuses to write `path`; what is written stays."""
    then = "run the same command again to continue"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        then = f"free space, then {then}"
    return PathError(f"cannot write ({os.strerror(error.errno or 0)})", where=str(path), then=then)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system refuses in the block into a PathError that names `path`."""
    try:
        yield
    except OSError as error:
        raise unwritten(error, path) from error


class WriterDiedError(DsgenError):
    """A process that writes or reads segments died before its time."""

    exit_code = ExitCode.RANK_DIED


class StopRequested(BaseException):
    """One of `dsgen.signals`: `finally` blocks put everything away; the exit code says which.

    `left` says what it leaves behind, for who raises it again; nothing where that is as always.
    """

    def __init__(self, signal_number: int, *, left: str = "") -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
        self.left = left
        self.exit_code = ExitCode(128 + signal_number)
