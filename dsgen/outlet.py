"""Standard output and standard error for work that must not end because nobody reads it."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


class Outlet(io.TextIOBase):
    """A text stream that is given up at its first failure: what is written then goes nowhere.

    `lost` says why it was given up, `last` is the last thing written, whether it got out or not.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream
        self.lost: OSError | None = None
        self.last = ""

    @property
    def encoding(self) -> str:  # type: ignore[override] # typeshed: a plain attribute
        """The stream's own."""
        return self._stream.encoding if self._stream is not None else "utf-8"

    @property
    def missed(self) -> str:
        """Why somebody misses what was lost; nothing if its reader went away, or never was."""
        if self.lost is None or self.lost.errno in (errno.EPIPE, errno.EBADF):
            return ""
        return self.lost.strerror or str(self.lost)

    def writable(self) -> bool:
        """Return True: whatever happens, this can be written to."""
        return True

    def isatty(self) -> bool:
        """Return whether a terminal shows it."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        if self._stream is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write, or give up."""
        self.last = text.strip() or self.last
        if self._stream is not None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush, or give up."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.lost = self.lost or error
        # What the stream still holds, or is given at the interpreter's end, must not fail again.
        with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())
        self._stream = None


@contextmanager
def standard_outlets() -> Iterator[tuple[Outlet, Outlet]]:
    """Put outlets in the place of standard output and standard error, and yield them."""
    _open_closed()
    before = sys.stdout, sys.stderr
    output, errors = Outlet(sys.stdout), Outlet(sys.stderr)
    sys.stdout, sys.stderr = output, errors
    try:
        yield output, errors
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Open what was closed from the start, or a file of ours would become standard error."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free, which is this one
            os.set_inheritable(descriptor, True)
