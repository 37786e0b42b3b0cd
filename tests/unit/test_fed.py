"""The number of accelerators that a measured bandwidth would feed."""

import pytest

from harness.analysis.fed import Supply, most_fed
from harness.analysis.result import build_result
from tests.golden.recordings import facts, plan, record


def supply(**changes):
    # Eight accelerators wait 300 ms for what they compute on for 100 ms: AU 1/3 or 1/4.
    values = {
        "accelerators": 8,
        "threshold_au": 0.9,
        "step_s": 0.1,
        "wall_s": 0.3,
        "read_ahead": True,
    }
    return Supply(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "steps_s", "fed"),
    [
        # n/8 of the bytes take 0.3 n/8 s: 2 take 0.075 s, 3 take 0.1125 s, AU 0.889.
        ({}, [0.1] * 8, 2),
        ({"threshold_au": 0.88}, [0.1] * 8, 3),
        # Ready to read ahead or not: 0.2 s of waiting, 1/8 of it for one is 0.025, AU 0.8.
        ({"read_ahead": False}, [0.1] * 8, 0),
        ({"read_ahead": False, "threshold_au": 0.8}, [0.1] * 8, 1),
        # Steps that are shorter for fewer accelerators ask for more.
        ({}, [0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.095, 0.1], 1),
        ({}, [0.01] * 7 + [0.1], 0),
        # Where the profile says nothing of small numbers, nothing is said of them.
        ({}, [None] * 7 + [0.1], None),
        ({}, [None, 0.1, None, None, None, None, None, 0.1], 2),
        ({}, [], None),
        ({"accelerators": 1}, [0.1], 0),
    ],
)
def test_the_most_that_would_reach_the_mark(changes, steps_s, fed):
    assert most_fed(supply(**changes), steps_s) == fed


@pytest.mark.parametrize(
    ("steps_s", "said"),
    [
        ((0.1,) * 8, "At this bandwidth 3 x v100 would reach AU 90 % (an estimate)."),
        ((0.01,) * 8, "At this bandwidth not even 1 x v100 would reach AU 90 % (an estimate)."),
        ((), None),
    ],
)
def test_a_verdict_against_the_storage_says_what_would_pass(steps_s, said):
    # 150 + 100 ms a step: three of eight take 94 ms of reading.
    verdict = build_result(record(plan(8, 10, load_ms=150)), facts(8, steps_s=steps_s)).verdict
    assert verdict.limit == "storage"
    assert (said in verdict.sentence) if said else "At this bandwidth" not in verdict.sentence


def test_nothing_is_estimated_where_storage_is_not_the_limit():
    for what in (plan(8, 3, load_ms=1), plan(8, 3, split={"io_cpu": 1.0})):
        verdict = build_result(record(what), facts(8, steps_s=(0.1,) * 8)).verdict
        assert "At this bandwidth" not in verdict.sentence
        assert [item.value for item in verdict.evidence if item.name == "would_pass"] == [None]
