"""A call is blocked only in a thread that slept in it."""

import os
import time

import pytest

from dsgen.memory import touched
from harness.worker.record import FileClass
from harness.worker.recording.io import DataCalls, TracedFile

pytestmark = pytest.mark.alone

WAIT_S = 0.03


@pytest.fixture
def calls():
    """Calls of this thread."""
    made = DataCalls(rank=0, loader=0, rows=100, marks=100)
    made.clock.open()
    yield made
    made.clock.close()


def read_slowly(calls, tmp_path):
    """Read a small cached file in a call that takes `WAIT_S` more, and return where it went."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    file = TracedFile(
        id=0, path=str(path), size_bytes=1000, file_class=FileClass.OTHER, role="train"
    )
    calls.delay = lambda _: time.sleep(WAIT_S)
    buffer = touched(1000)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        calls.read(descriptor, file, offset=0, address=buffer.ctypes.data, size_bytes=1000)
    finally:
        os.close(descriptor)
    totals = calls.totals
    assert totals.wall_ns >= WAIT_S * 1e9
    return totals.wall_ns - totals.cpu_ns - totals.runqueue_ns


def test_a_thread_that_slept_in_a_call_was_blocked_in_it(calls, tmp_path):
    assert read_slowly(calls, tmp_path) >= 0.9 * WAIT_S * 1e9


def test_a_thread_that_never_slept_was_without_a_core(calls, tmp_path, monkeypatch):
    # As when a hypervisor takes the core away: the wall goes on, and no counter of the thread's.
    monkeypatch.setattr(calls.clock, "sleeps", lambda: 7)
    assert read_slowly(calls, tmp_path) <= 0.1 * WAIT_S * 1e9
    assert calls.totals.runqueue_ns >= 0.9 * WAIT_S * 1e9
