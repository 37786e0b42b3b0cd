"""The barrier holds under contention, and the board shows where the ranks are."""

import multiprocessing
import os
import random
import signal
import time
from types import SimpleNamespace

import pytest

from harness.worker.ranks.comm import SPIN_NS, Activity, Board, Turnstile

pytestmark = pytest.mark.alone

CONTEXT = multiprocessing.get_context("fork")


def pass_rounds(barrier, rounds, mine, counters, parties):
    chance = random.Random(mine)
    for number in range(1, rounds + 1):
        if chance.random() < 0.05:
            time.sleep(chance.random() / 1000)
        for _ in range(chance.randrange(4)):
            barrier.rehearse()  # says nothing to others
        counters[mine] = number
        barrier.wait()
        # Everybody has come this far, and nobody is further than one round ahead.
        if not all(number <= counters[other] <= number + 1 for other in range(parties)):
            os._exit(1)
    os._exit(0)


def run_parties(parties, rounds, *, spin):
    barrier = Turnstile(CONTEXT, parties, spin=spin)
    counters = CONTEXT.RawArray("l", parties)
    processes = [
        CONTEXT.Process(
            target=pass_rounds, args=(barrier, rounds, mine, counters, parties), daemon=True
        )
        for mine in range(parties)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    return [process.exitcode for process in processes]


@pytest.mark.parametrize("spin", [False, True])
def test_nobody_passes_before_all_have_arrived(spin):
    assert run_parties(8, 400, spin=spin) == [0] * 8


def test_one_party_never_waits():
    assert run_parties(1, 100, spin=True) == [0]


def test_a_rehearsal_is_in_nobodys_way():
    made = []

    class CountedLock:
        def __init__(self):
            self.taken = 0
            made.append(self)

        def __enter__(self):
            self.taken += 1

        def __exit__(self, *_):
            pass

    barrier = Turnstile(
        SimpleNamespace(Lock=CountedLock, Semaphore=CONTEXT.Semaphore), 1, spin=True
    )
    for _ in range(3):
        barrier.rehearse()
    shared, own = made
    assert (shared.taken, own.taken) == (0, 3)
    barrier.wait()
    assert (shared.taken, own.taken) == (1, 3)


def wait_for_ever(barrier, ready):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(17))
    ready.release()
    barrier.wait()


@pytest.mark.parametrize("spin", [False, True])
def test_a_signal_ends_the_wait(spin):
    barrier, ready = Turnstile(CONTEXT, 2, spin=spin), CONTEXT.Semaphore(0)
    process = CONTEXT.Process(target=wait_for_ever, args=(barrier, ready))
    process.start()
    ready.acquire()
    time.sleep(0.05)
    process.terminate()
    process.join(10)
    assert process.exitcode == 17


def test_what_is_burnt_at_the_barrier_is_counted_and_bounded():
    barrier, ready = Turnstile(CONTEXT, 2, spin=True), CONTEXT.Semaphore(0)

    def arrive_late():
        ready.acquire()
        time.sleep(0.05)
        barrier.wait()

    process = CONTEXT.Process(target=arrive_late)
    process.start()
    ready.release()
    before_ns = time.thread_time_ns()
    barrier.wait()
    burnt_ns = time.thread_time_ns() - before_ns
    process.join(10)
    assert barrier.spin_ns >= SPIN_NS
    assert burnt_ns < 40_000_000, "it slept for most of the time"


def test_the_board_is_shared_with_forked_ranks():
    board = Board(2, epochs=3)
    board.enter(0, Activity.TRAIN, 3, 7)

    def work():
        board.advance(0, 1, 100)
        board.advance(0, 2, 50)
        board.advance(1, 1, 1000)
        os._exit(0)

    process = CONTEXT.Process(target=work)
    process.start()
    process.join(10)
    assert board.position() == (Activity.TRAIN, 3, 2, 7)
    assert board.read_bytes() == 1150
