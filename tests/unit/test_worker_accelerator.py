"""Emulated accelerators: one declared time for all ranks, and a wait that never ends early."""

import statistics
import time

import pytest

from harness.worker.accelerators.emulated import SPIN_NS, Emulated
from harness.worker.recording.clock import set_timer_slack
from harness.worker.spec import StepTime

pytestmark = pytest.mark.alone


def emulated(mean_s, sd_s=0.0, seed=1, spin=True):
    return Emulated(step_time=StepTime(mean_s=mean_s, sd_s=sd_s), seed=seed, spin=spin)


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


@pytest.mark.parametrize("spin", [True, False])
def test_what_comes_next_is_rehearsed_again_and_again_and_never_up_to_the_deadline(spin):
    set_timer_slack()
    accelerator = emulated(0, spin=spin)
    rehearsed_ns = []
    for _ in range(20):
        start_ns = time.monotonic_ns()
        accelerator.run(
            start_ns,
            10_000_000,
            None,
            lambda start_ns=start_ns: rehearsed_ns.append(time.monotonic_ns() - start_ns),
        )
    assert (len(rehearsed_ns) > 20 * 10) is spin
    if spin:
        # A core lost in the middle makes a rehearsal late, but not many of them.
        assert sorted(rehearsed_ns)[-20] < 10_000_000
        assert min(rehearsed_ns) >= 10_000_000 - SPIN_NS


def test_a_step_that_is_over_already_does_not_wait():
    accelerator = emulated(0)
    start_ns = time.monotonic_ns()
    end_ns = accelerator.run(start_ns - 1_000_000, 500_000)
    assert end_ns - start_ns < 100_000_000
