"""The watch over a running job, the same for a container and for processes."""

import math
import time
from collections.abc import Callable
from typing import Protocol

from harness.engine.output import Output
from harness.errors import StopRequested

# Between two looks at a job that writes; the end of its output is noticed at once.
POLL_S = 0.5
# Between the end of the output and the end of the job.
ENDING_POLL_S = 0.05
# From the request to stop to the kill: time to write what was recorded.
GRACE_S = 10.0
# From the word of a job that it has ended to its end: a rank that the kernel holds holds it, too.
OVER_S = 20.0
# For output that is still under way when the job has ended.
DRAIN_S = 10.0


class Running(Protocol):
    """Something that was started and has to end."""

    def alive(self) -> bool:
        """Return whether it still runs."""

    def terminate(self) -> None:
        """Ask its command to end (SIGTERM)."""

    def kill(self) -> None:
        """End whatever of it still runs (SIGKILL)."""


def supervise(
    running: Running,
    output: Output,
    on_line: Callable[[str], None],
    timeout_s: float | None,
    is_over: Callable[[], bool] = lambda: False,
) -> bool:
    """Hand on the lines of a job until it has ended; return whether it had to be ended.

    That is at the time limit, or when it goes on for `OVER_S` after `is_over`.

    Raises:
        StopRequested: as it came, once the job has had its time to end.
    """
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    try:
        if _watch(running, output, on_line, deadline, is_over):
            return False
        _stop(running, output, on_line)
    except (StopRequested, KeyboardInterrupt):
        _stop(running, output, on_line)
        raise
    return True


def _stop(running: Running, output: Output, on_line: Callable[[str], None]) -> None:
    """Ask, go on listening for the grace, then kill. A second request ends the grace."""
    running.terminate()
    try:
        _watch(running, output, on_line, time.monotonic() + GRACE_S)
    finally:
        running.kill()


def _watch(
    running: Running,
    output: Output,
    on_line: Callable[[str], None],
    deadline: float,
    is_over: Callable[[], bool] = lambda: False,
) -> bool:
    """Return True when the job has ended and its output was read, False at the deadline."""
    next_look = 0.0
    while True:
        line = output.take(ENDING_POLL_S if output.ended else POLL_S)
        if line is not None:
            on_line(line)
        now = time.monotonic()
        if is_over():
            deadline, is_over = min(deadline, now + OVER_S), lambda: False
        if now >= next_look or output.ended:
            if not running.alive():
                break
            next_look = now + POLL_S
        if now >= deadline:
            return False
    # Children that outlive the command hold its output open.
    running.kill()
    for line in output.rest(DRAIN_S):
        on_line(line)
    return True
