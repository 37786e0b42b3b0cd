"""Emulated accelerators: one declared time for all ranks, and a wait that never ends early."""

import statistics
import time

import pytest

from harness.worker.accelerators.emulated import Emulated
from harness.worker.recording.clock import set_timer_slack
from harness.worker.spec import StepTime

pytestmark = pytest.mark.alone


def emulated(mean_s, sd_s=0.0, seed=1, spin=True, has_loaders=False):
    step_time = StepTime(mean_s=mean_s, sd_s=sd_s)
    return Emulated(step_time=step_time, seed=seed, spin=spin, has_loaders=has_loaders)


def test_ranks_with_the_same_seed_declare_the_same_times():
    assert emulated(1, 0.1).declare(3, 50) == emulated(1, 0.1).declare(3, 50)
    assert emulated(1, 0.1).declare(3, 50) != emulated(1, 0.1).declare(4, 50)
    assert emulated(1, 0.1).declare(3, 50) != emulated(1, 0.1, seed=2).declare(3, 50)


def test_declared_times_follow_the_law():
    draws = emulated(1.0, 0.1).declare(1, 20_000)
    # Five standard errors of a mean and of a deviation over 20,000 draws.
    assert statistics.mean(draws) == pytest.approx(1e9, abs=5 * 1e8 / 20_000**0.5)
    assert statistics.stdev(draws) == pytest.approx(1e8, abs=5 * 1e8 / 40_000**0.5)


def test_declared_times_are_never_negative():
    draws = emulated(0.001, 1.0).declare(1, 1000)
    assert min(draws) == 0
    assert max(draws) > 0


def test_without_deviation_every_step_takes_the_mean():
    assert emulated(0.25).declare(1, 3) == [250_000_000] * 3


@pytest.mark.parametrize("spin", [True, False])
@pytest.mark.parametrize("mean_s", [0.001, 0.01])
def test_a_step_ends_at_its_time_and_not_before(mean_s, spin):
    set_timer_slack()
    accelerator = emulated(mean_s, spin=spin)
    declared_ns = accelerator.declare(1, 1)[0]
    late = []
    for _ in range(50):
        start_ns = time.monotonic_ns()
        late.append((accelerator.run(start_ns, declared_ns) - start_ns) / declared_ns - 1)
    print(f"spin {spin}: {declared_ns / 1e6} ms overshot by {statistics.median(late):.3%} (p50)")
    assert min(late) >= 0
    # On an idle core the median is far less; a busy one must spare a single step out of 50.
    assert min(late) < 0.2
    assert (accelerator.spin_ns > 1_000_000) is spin


def rehearsed(accelerator, declared_ns, *, steps=20, takes_ns=0):
    """Run steps; return when in each a rehearsal was begun, in ns, that takes so long."""
    begun_ns = []

    def step():
        start_ns = time.monotonic_ns()
        begun_ns.append([])

        def rehearse():
            at_ns = time.monotonic_ns()
            begun_ns[-1].append(at_ns - start_ns)
            while time.monotonic_ns() - at_ns < takes_ns:
                pass

        accelerator.run(start_ns, declared_ns, None, rehearse)

    set_timer_slack()
    for _ in range(steps):
        step()
    return begun_ns


def test_what_comes_next_is_rehearsed_again_and_again_and_never_up_to_the_deadline():
    steps_ns = rehearsed(emulated(0), 10_000_000)
    assert max(map(len, steps_ns)) > 10
    # A core lost in the middle makes one late, but not many.
    assert sum(step_ns[-1] > 9_990_000 for step_ns in steps_ns if step_ns) < 5


def test_who_does_not_spin_rehearses_nothing():
    assert not any(rehearsed(emulated(0, spin=False), 10_000_000))


def test_beside_loader_workers_it_is_rehearsed_once():
    assert max(map(len, rehearsed(emulated(0, has_loaders=True), 10_000_000))) == 1


@pytest.mark.parametrize(
    ("declared_ns", "has_loaders", "from_ns"),
    [
        (100_000_000, False, 98_000_000),
        (5_000_000, False, 4_000_000),
        (1_000_000, False, 500_000),
        (400_000, False, 0),
        (10_000_000, True, 9_500_000),
    ],
)
def test_a_fifth_of_a_step_is_spun_within_bounds(declared_ns, has_loaders, from_ns):
    steps_ns = rehearsed(emulated(0, has_loaders=has_loaders), declared_ns)
    # It never wakes up early, and of 20 times once in time.
    assert from_ns <= min(step_ns[0] for step_ns in steps_ns if step_ns) < from_ns + 300_000


def test_a_slow_rehearsal_is_not_begun_shortly_before_the_deadline():
    steps_ns = rehearsed(emulated(0), 10_000_000, takes_ns=300_000)
    assert max(map(len, steps_ns)) > 1
    assert sum(max(step_ns[1:], default=0) > 9_400_000 for step_ns in steps_ns) < 5


def test_a_step_that_is_over_already_does_not_wait():
    accelerator = emulated(0)
    start_ns = time.monotonic_ns()
    end_ns = accelerator.run(start_ns - 1_000_000, 500_000)
    assert end_ns - start_ns < 100_000_000
