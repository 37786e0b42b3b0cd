"""The wait for a batch is split as the delivering thread spent it."""

import numpy as np

from harness.worker.recording.io import MARK
from harness.worker.recording.waits import split_delivered, split_own


def ns(*values):
    return np.array(values, np.int64)


def marks(*rows):
    return np.array([(*row, *[0] * (6 - len(row))) for row in rows], MARK)


# A worker: born at 100, in a call from 200 to 300 (10 of CPU, 20 without a core), then on its CPU
# for 30 of 40, in a call from 340 to 440 (blocked throughout), ready at 460.
WORKER = marks(
    (100, 100, 0, 0, 0),
    (200, 300, 60, 70, 20),
    (340, 440, 100, 100, 0),
    (460, 460, 120, 120, 0),
)


def kinds(waits):
    return [
        int(kind[0])
        for kind in (waits.storage_ns, waits.io_cpu_ns, waits.decode_cpu_ns, waits.runqueue_ns)
    ]


def delivered(start, end, ready, cpu):
    return kinds(
        split_delivered(
            start_ns=ns(start), end_ns=ns(end), ready_ns=ns(ready), cpu_ns=ns(cpu), marks=WORKER
        )
    )


def test_a_whole_life_is_split_call_by_call():
    # storage 70 + 100; CPU in calls 10; elsewhere 60 + 30 + 20; queue 20 + (40 of 100) + (10 of 40)
    assert delivered(100, 460, 460, 0) == [170, 10, 110, 70]


def test_a_call_across_the_start_counts_in_proportion():
    # half of the second call is before the interval
    assert delivered(390, 460, 460, 0) == [50, 0, 20, 0]


def test_what_follows_readiness_is_the_main_threads_own():
    assert delivered(390, 500, 460, 15) == [50, 0, 35, 25]


def test_what_precedes_the_worker_is_the_main_threads_own():
    assert delivered(40, 200, 300, 50) == [0, 0, 110, 50]


def test_a_batch_that_was_ready_costs_only_the_main_thread():
    assert delivered(600, 610, 460, 7) == [0, 0, 7, 3]


def test_the_kinds_of_a_delivered_wait_fill_the_interval():
    chance = np.random.default_rng(1)
    start = chance.integers(0, 500, 200)
    end = start + chance.integers(0, 300, 200)
    ready = chance.integers(0, 900, 200)
    waits = split_delivered(
        start_ns=start,
        end_ns=end,
        ready_ns=ready,
        cpu_ns=chance.integers(0, 400, 200),
        marks=WORKER,
    )
    parts = [waits.storage_ns, waits.io_cpu_ns, waits.decode_cpu_ns, waits.runqueue_ns]
    assert np.abs(sum(parts) - (end - start)).max() <= 2  # ns, by rounding
    assert min(part.min() for part in parts) >= 0


def own(**changes):
    values = {
        "interval_ns": 1000,
        "cpu_ns": 300,
        "queue_ns": 100,
        "io_wall_ns": 800,
        "io_cpu_ns": 150,
        "io_queue_ns": 50,
    } | changes
    return kinds(split_own(**{name: ns(value) for name, value in values.items()}))


def test_the_main_threads_own_reads_are_split_by_its_clocks():
    assert own() == [600, 150, 150, 100]


def test_a_core_that_a_hypervisor_took_away_is_a_missing_core():
    # Off its CPU for 700, of which 100 in the run queue; blocked in calls for 400 only.
    assert own(io_wall_ns=600) == [400, 150, 150, 300]


def test_calls_are_not_blocked_for_longer_than_the_thread_was_off_its_cpu():
    assert own(cpu_ns=800) == [100, 150, 650, 100]


def test_calls_have_no_more_cpu_than_the_thread():
    assert own(io_wall_ns=350, io_cpu_ns=310, io_queue_ns=0) == [40, 300, 0, 660]
