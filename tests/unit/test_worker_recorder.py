"""What is recorded of a call is exact although most clocks are only read where they can tell."""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.worker.record import FileClass, Op
from harness.worker.recording import recorder
from harness.worker.recording.io import DataCalls, TracedFile

pytestmark = pytest.mark.alone

MS = 1_000_000


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    return TracedFile(
        id=3, path=str(path), size_bytes=1 << 20, file_class=FileClass.X, role="train"
    )


@pytest.fixture
def calls():
    calls = DataCalls(rank=0, loader=0, rows=100_000, marks=100_000)
    calls.clock.open()
    yield calls
    calls.clock.close()


def test_a_brief_call_that_lost_its_core_has_waited_for_one_and_not_for_storage(calls, file):
    descriptor = calls.open(file)
    before = calls.totals.runqueue_ns
    calls._brief(Op.LSEEK, file, -1, time.sleep, 0.05)
    calls.close(descriptor, file)
    row = calls.rows()[1]
    assert row["t1_ns"] - row["t0_ns"] >= 50 * MS
    assert row["cpu_ns"] < 5 * MS
    assert calls.totals.runqueue_ns - before >= 45 * MS


def burn():
    until_ns = time.thread_time_ns() + 20 * MS
    while time.thread_time_ns() < until_ns:
        pass


def test_a_brief_call_that_computed_for_long_has_cpu_time(calls, file):
    calls.close(calls.open(file), file)
    time.sleep(0.05)  # what was slept before is no loss of the call
    before = calls.totals.runqueue_ns
    calls._brief(Op.LSEEK, file, -1, burn)
    row = calls.rows()[-1]
    # Whatever else ran on this core meanwhile is no part of it.
    assert 20 * MS - 1000 <= row["cpu_ns"] <= 25 * MS
    lost_ns = row["t1_ns"] - row["t0_ns"] - row["cpu_ns"]
    assert calls.totals.runqueue_ns - before == lost_ns


def test_what_a_brief_call_lost_is_not_booked_again_by_the_next(calls, file):
    descriptor = calls.open(file)
    calls._brief(Op.LSEEK, file, -1, time.sleep, 0.05)
    before = calls.totals.runqueue_ns
    calls._brief(Op.LSEEK, file, -1, burn)
    row = calls.rows()[-1]
    assert calls.totals.runqueue_ns - before == row["t1_ns"] - row["t0_ns"] - row["cpu_ns"]
    assert row["cpu_ns"] >= 20 * MS - 1000
    calls.close(descriptor, file)


def test_brief_calls_are_in_the_marks_after_them(calls, file):
    descriptor = calls.open(file)
    calls.tell(descriptor, file)
    calls.flags(descriptor, file)
    calls.rehearse()  # takes nothing
    calls.close(descriptor, file)
    opened, closed = calls.marks()
    brief = calls.rows()[1:3]
    assert list(brief["op"]) == [Op.LSEEK, Op.FCNTL]
    assert closed["brief_ns"] == brief["cpu_ns"].sum() > 0
    assert opened["brief_ns"] == 0


def test_a_seek_to_the_end_is_one_that_a_server_may_answer(calls, file):
    descriptor = calls.open(file)
    for whence, marks in ((os.SEEK_SET, 1), (os.SEEK_CUR, 1), (os.SEEK_END, 2)):
        calls.move(descriptor, file, 0, whence)
        assert calls.mark_count == marks
    with pytest.raises(OSError, match="Invalid argument"):
        calls.move(descriptor, file, -2 * file.size_bytes, os.SEEK_END)
    calls.close(descriptor, file)
    assert list(calls.rows()["op"][1:5]) == [Op.LSEEK] * 4
    assert calls.mark_count == 4


def test_a_thread_that_keeps_its_core_is_not_asked_for_its_run_queue(calls, file):
    descriptor = calls.open(file)
    for _ in range(1000):
        calls.fstat(descriptor, file)
    calls.close(descriptor, file)
    assert calls.look_count < 500


def test_what_lies_between_the_readings_of_two_clocks_is_no_wait(calls, file):
    descriptor = calls.open(file)
    for _ in range(1000):
        calls.fstat(descriptor, file)
    calls.close(descriptor, file)
    rows, marks = calls.rows(), calls.marks()
    waits_ns = rows["t1_ns"] - rows["t0_ns"] - rows["cpu_ns"]
    assert ((waits_ns == 0) | (waits_ns > recorder._UNNOTICED_NS)).all()
    assert np.mean(waits_ns == 0) > 0.9
    assert np.array_equal(marks["cpu1_ns"] - marks["cpu0_ns"], rows["cpu_ns"])


READER = """
import ctypes, sys, time
from harness.worker.recording.io import DataCalls, TracedFile
from harness.worker.record import FileClass
path = sys.argv[1]
file = TracedFile(id=0, path=path, size_bytes=1 << 20, file_class=FileClass.X, role="train")
calls = DataCalls(rank=0, loader=0, rows=1 << 18, marks=1 << 18)
calls.clock.open()
buffer = ctypes.create_string_buffer(1 << 20)
descriptor = calls.open(file)
address = ctypes.addressof(buffer)
queue_ns, began_ns = calls.clock.runqueue_ns(), time.monotonic_ns()
while time.monotonic_ns() < began_ns + 1_000_000_000:
    calls.pread(descriptor, file, offset=0, address=address, size_bytes=1 << 20)
wall_ns, queue_ns = time.monotonic_ns() - began_ns, calls.clock.runqueue_ns() - queue_ns
totals = calls.totals
storage_ns = totals.wall_ns - totals.cpu_ns - totals.runqueue_ns
print(wall_ns, queue_ns, totals.runqueue_ns, storage_ns)
"""


def test_cached_reads_beside_a_busy_neighbour_wait_for_the_core_and_not_for_storage(file):
    core = min(os.sched_getaffinity(0))
    root = Path(__file__).parents[2]
    pinned = {"preexec_fn": lambda: os.sched_setaffinity(0, {core}), "cwd": root}
    with subprocess.Popen([sys.executable, "-c", "while True: pass"], **pinned) as neighbour:
        try:
            command = [sys.executable, "-c", READER, file.path]
            done = subprocess.run(command, capture_output=True, text=True, check=True, **pinned)
        finally:
            neighbour.kill()
    wall_ns, queue_ns, recorded_ns, storage_ns = map(int, done.stdout.split())
    assert queue_ns > wall_ns / 5, "the neighbour took no core"
    # What is lost between two calls is theirs, and not in the calls' sum; what a hypervisor takes
    # in them is in the sum, and not the run queue's.
    assert 0.8 * queue_ns < recorded_ns < 1.2 * queue_ns
    assert storage_ns < 0.02 * wall_ns


def test_a_read_that_waits_is_not_told_as_the_run_queues(calls, file):
    reader, writer = os.pipe()
    byte = ctypes.create_string_buffer(1)
    child = subprocess.Popen(["sh", "-c", "sleep 0.1; printf x"], stdout=writer)
    os.close(writer)
    address = ctypes.addressof(byte)
    calls.read(reader, file, offset=0, address=address, size_bytes=1)
    child.wait()
    os.close(reader)
    totals = calls.totals
    waited_ns = totals.wall_ns - totals.cpu_ns - totals.runqueue_ns
    assert waited_ns > 0.6 * totals.wall_ns > 30 * MS


def test_where_the_threshold_is_nothing_is_left_out(calls, file, monkeypatch):
    monkeypatch.setattr(recorder, "_UNNOTICED_NS", -(10**12))
    descriptor = calls.open(file)
    calls.fstat(descriptor, file)
    calls.close(descriptor, file)
    assert calls.look_count == 6
    marks = calls.marks()
    assert (marks["queue_ns"] <= marks["t1_ns"] - marks["t0_ns"]).all()
    assert np.array_equal(marks["t0_ns"], np.sort(marks["t0_ns"]))
