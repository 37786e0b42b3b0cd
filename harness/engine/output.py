"""What a job writes: standard output line by line, standard error into its log."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.errors import TargetError

TAIL_LINES = 20


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    r"""Yield the lines of a byte stream, wherever its chunks were cut; the last may be open.

    >>> list(lines([b"on", b"e\ntwo\nth", b"ree"]))
    ['one', 'two', 'three']
    """
    pending: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        pending.append(first)
        for part in others:
            yield _text(b"".join(pending))
            pending = [part]
    if rest := b"".join(pending):
        yield _text(rest)


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").removesuffix("\r")


class Output:
    """Both streams of a job, each read by a thread, so that the job never waits for us."""

    def __init__(self, *, stdout: Iterable[bytes], stderr: Iterable[bytes], log: Path) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._log = log
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._open = 2
        self._failures: list[BaseException] = []
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def start(self) -> None:
        """Begin to read."""
        for read in (self._read_stdout, self._read_stderr):
            threading.Thread(target=self._until_end, args=(read,), daemon=True).start()

    def take(self, wait_s: float) -> str | None:
        """Return the next line of standard output, or None when none came within `wait_s`.

        Raises:
            EngineError: the stream broke.
            TargetError: the log cannot be written.
        """
        try:
            line = self._lines.get(timeout=wait_s)
        except queue.Empty:
            return None
        if line is None:
            self._open -= 1
            if self._failures:
                raise self._failures[0]
        return line

    def rest(self, wait_s: float) -> Iterator[str]:
        """Yield what is left, but do not wait longer than `wait_s` for its end."""
        deadline = time.monotonic() + wait_s
        while not self.ended and (left_s := deadline - time.monotonic()) > 0:
            if (line := self.take(left_s)) is not None:
                yield line

    @property
    def ended(self) -> bool:
        """Whether both streams were read to their ends."""
        return self._open == 0

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of standard error."""
        return tuple(self._tail)

    def _until_end(self, read: Callable[[], None]) -> None:
        try:
            read()
        except BaseException as error:  # raised again by take, in the thread that supervises
            self._failures.append(error)
        finally:
            self._lines.put(None)

    def _read_stdout(self) -> None:
        for line in lines(self._stdout):
            self._lines.put(line)

    def _read_stderr(self) -> None:
        stream = lines(self._stderr)
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a", encoding="utf-8") as log:
                for line in stream:
                    self._tail.append(line)
                    log.write(f"{line}\n")
                    log.flush()
        except OSError as error:
            what = f"cannot write the job's log ({error.strerror})"
            then = "free space or name another --results"
            raise TargetError(what, where=str(self._log), then=then) from error
