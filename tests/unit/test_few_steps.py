"""A verdict from a few steps says so: in its sentence and among the warnings."""

import numpy as np
import pytest

from harness.analysis.epoch import epochs_of
from harness.analysis.result import build_result
from harness.analysis.start import FEW_STEPS, few_steps
from tests.golden.recordings import MS, Plan, facts, plan, record

WORDS = "its start, when nothing is read ahead yet, weighs heavily in AU"


def result_of(recording, *, workers=4, prefetch=2, **changes):
    config = {"loader_workers": workers, "prefetch_batches": prefetch}
    return build_result(recording, facts(recording.ranks, config=config, **changes))


@pytest.mark.parametrize(("load_ms", "outcome"), [(1, "pass"), (50, "fail")])
@pytest.mark.parametrize(("steps", "warned"), [(1, True), (29, True), (30, False)])
def test_a_verdict_either_way_is_warned_of_below_thirty_steps(load_ms, outcome, steps, warned):
    result = result_of(record(plan(2, steps, load_ms=load_ms, declared_ms=1000 // load_ms)))
    assert result.verdict.outcome == outcome
    some = "1 step" if steps == 1 else f"{steps} steps"
    assert (f"An epoch has {some}, fewer than 30: {WORDS}." in result.verdict.sentence) is warned
    told = f"an epoch has {some}, fewer than 30: {WORDS}; a larger data set gives more steps"
    assert (told in result.warnings) is warned


def test_thirty_is_where_a_load_as_long_as_a_step_takes_three_points():
    # One load of 100 ms that nothing hides, all others hidden.
    def au(steps):
        loads = [[[100 * MS] + [0] * (steps - 1)]]
        recording = record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * steps]))
        return result_of(recording).metrics.au.value

    assert 1 - au(FEW_STEPS - 3) > 0.035
    assert 1 - au(FEW_STEPS) < 0.033


@pytest.mark.parametrize(
    ("workers", "prefetch", "warned"), [(20, 2, False), (20, 3, True), (0, 64, False)]
)
def test_what_is_read_ahead_at_the_start_takes_more_steps(workers, prefetch, warned):
    result = result_of(record(plan(1, 40)), workers=workers, prefetch=prefetch)
    assert any("40 steps, fewer than 60" in one for one in result.warnings) is warned


def test_epochs_do_not_add_up():
    loads, declared = [[[MS] * 10]] * 5, [[10 * MS] * 10] * 5
    recording = record(Plan(loads_ns=loads, declared_ns=declared))
    epochs = epochs_of(recording, warmup_epochs=0)
    assert "an epoch has 10 steps" in few_steps(epochs, read_ahead=0)


def test_an_epoch_that_evaluations_cut_begins_as_often():
    recording = record(plan(2, 40))
    for rows in recording.steps:
        later = rows["step"] > 20
        for name in ("load_start_ns", "load_end_ns", "compute_end_ns", "barrier_end_ns"):
            rows[name][later] += 500 * MS
    for windows in recording.windows:
        windows["end_ns"] += 500 * MS
    [epoch] = epochs_of(recording, warmup_epochs=0)
    assert np.flatnonzero(epoch.pauses_ns).tolist() == [20]
    assert "an epoch has 20 steps" in few_steps((epoch,), read_ahead=0)


def test_nothing_is_said_where_nothing_was_measured():
    epochs = epochs_of(record(plan(2, 3)), warmup_epochs=1)
    assert few_steps(epochs, read_ahead=0) is None
