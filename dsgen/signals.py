"""The signals that ask a command to stop: it puts away what it has, and ends with its exit code."""

import signal
from typing import Final

# SIGHUP comes when the terminal goes away, such as a connection that is closed.
STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded() -> tuple[signal.Signals, ...]:
    """Return those of `STOPPING` to answer: not SIGHUP while it is ignored, as `nohup` orders."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return tuple(number for number in STOPPING if number is not signal.SIGHUP)
    return STOPPING
