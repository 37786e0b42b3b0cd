"""The signals that ask a command to stop: it puts away what it has, and ends with its exit code."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# SIGHUP comes when the terminal goes away, such as a connection that is closed.
STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded() -> tuple[signal.Signals, ...]:
    """Return those of `STOPPING` to answer: not SIGHUP while it is ignored, as `nohup` orders."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return tuple(number for number in STOPPING if number is not signal.SIGHUP)
    return STOPPING


@contextmanager
def held() -> Iterator[Callable[[], None]]:
    """Let stopping signals wait while the block runs, but for the moments when it calls the result.

    A handler that raises in the middle of a fork, or of a callback that the interpreter guards,
    raises into nothing: the signal would be lost.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)

    def heed() -> None:
        if signal.sigpending() & set(STOPPING):
            signal.pthread_sigmask(signal.SIG_SETMASK, before)  # the handler raises here
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)

    try:
        yield heed
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
