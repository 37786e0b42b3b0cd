"""The clocks of a thread: what a look says when the thread loses its core in the middle of it."""

from itertools import pairwise

import pytest

from harness.worker.recording import clock
from harness.worker.recording.clock import ThreadClock

pytestmark = pytest.mark.alone


class Thread:
    """A thread whose clocks are told what happens; it replaces `time` and the schedstat file."""

    def __init__(self):
        self.wall_ns = self.cpu_ns = self.queue_ns = 0
        self.events = {}
        self.calls = 0

    def _at(self, value_ns):
        self.calls += 1
        self.work(1_000)
        for kind, off_ns in self.events.pop(self.calls, ()):
            self.wall_ns += off_ns
            self.queue_ns += off_ns if kind == "queue" else 0
        return value_ns

    def work(self, ns):
        self.wall_ns += ns
        self.cpu_ns += ns

    def wait(self, ns):
        self.wall_ns += ns
        self.queue_ns += ns

    def monotonic_ns(self):
        return self._at(self.wall_ns)

    def thread_time_ns(self):
        return self._at(self.cpu_ns)

    def runqueue_ns(self):
        return self._at(self.queue_ns)


@pytest.fixture
def thread(monkeypatch):
    made = Thread()
    monkeypatch.setattr(clock, "time", made)
    return made


# Which of the four calls of a look is followed by the loss: now, cpu, queue, now again.
@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("kind", ["queue", "stolen"])
def test_a_core_lost_during_a_look_gives_no_negative_delay(thread, monkeypatch, kind, place):
    own = ThreadClock()
    monkeypatch.setattr(own, "runqueue_ns", thread.runqueue_ns)
    thread.wait(1_000_000)
    looks = [own.look()]
    for number in range(3):
        thread.work(5_000_000)
        thread.wait(20_000)
        if number == 1:
            thread.events[thread.calls + place] = [(kind, 470_000)]
        looks.append(own.look())
    thread.work(5_000_000)
    looks.append(own.look())
    delays = [after.queue - before.queue for before, after in pairwise(looks)]
    assert min(delays) >= 0
    lost_ns = 470_000 if kind == "queue" else 0
    assert sum(delays) == 3 * 20_000 + lost_ns
    if kind == "queue" and place < 3:  # it began after the moment of the look
        assert delays[1:3] == pytest.approx([20_000, 490_000], abs=10_000)
