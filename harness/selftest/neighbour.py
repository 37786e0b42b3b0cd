"""A neighbour that keeps every core busy."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SPIN = "while True: pass"


@contextmanager
def spinning(per_core: int) -> Iterator[None]:
    """Run so many processes for each usable core that never wait, and end them."""
    command = [sys.executable, "-S", "-c", _SPIN]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(per_core * len(os.sched_getaffinity(0))):
            running.append(subprocess.Popen(command))
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()
