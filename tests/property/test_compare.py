"""Laws of a comparison: right about chance, the same from either side and in any unit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.compare import FIGURES, change, compare_values
from harness.analysis.welch import ratio_of, spread_of

BANDWIDTH = next(figure for figure in FIGURES if figure.name == "bandwidth")
LOAD_TIME = next(figure for figure in FIGURES if figure.better == "lower")
DRAWS = 1_000

# Runs scatter by little, and figures have any size that an unit gives them.
sizes = st.floats(min_value=1e-3, max_value=1e12)
scatters = st.lists(st.floats(min_value=0.9, max_value=1.1), min_size=2, max_size=9)


def samples(seed, runs, spread, factor=1.0):
    """Return pairs of samples of one population, the second times a factor."""
    random = np.random.default_rng(seed)
    for _ in range(DRAWS):
        a, b = np.exp(random.normal(0, spread, (2, runs)))
        yield list(98e6 * a), list(98e6 * factor * b)


def words(pairs, **options):
    return [compare_values(BANDWIDTH, a, b, **options).word for a, b in pairs]


@pytest.mark.parametrize(("runs", "spread"), [(5, 0.005), (5, 0.05), (3, 0.005), (10, 0.02)])
def test_of_equal_populations_one_in_twenty_is_called_different(runs, spread):
    told = words(samples(1, runs, spread), min_effect=0)
    wrong = sum(word in ("faster", "slower") for word in told) / DRAWS
    assert 0.03 <= wrong <= 0.07, wrong


def test_small_differences_are_called_none():
    told = words(samples(1, 5, 0.002))
    assert set(told) == {"no significant difference"}


def test_three_percent_at_half_a_percent_of_scatter_are_found():
    assert words(samples(2, 5, 0.005, factor=0.97)).count("slower") >= 0.999 * DRAWS
    assert words(samples(3, 5, 0.005, factor=1 / 0.97)).count("faster") >= 0.999 * DRAWS


def test_the_interval_holds_the_truth_nineteen_times_in_twenty():
    ratios = [ratio_of(a, b) for a, b in samples(4, 5, 0.02, factor=0.97)]
    held = sum(ratio.low <= 0.97 <= ratio.high for ratio in ratios) / DRAWS
    assert 0.93 <= held <= 0.97, held


def test_sides_of_different_scatter_and_number_are_judged_as_well():
    random = np.random.default_rng(5)
    wrong = 0
    for _ in range(DRAWS):
        a, b = np.exp(random.normal(0, 0.05, 5)), np.exp(random.normal(0, 0.005, 12))
        wrong += ratio_of(list(a), list(b)).is_significant
    assert 0.03 <= wrong / DRAWS <= 0.07, wrong


@given(scatters, scatters, sizes, sizes)
def test_swapped_sides_say_the_inverse(a, b, mean_a, mean_b):
    a, b = [mean_a * value for value in a], [mean_b * value for value in b]
    there, back = compare_values(BANDWIDTH, a, b), compare_values(BANDWIDTH, b, a)
    assert back.ratio.value == pytest.approx(1 / there.ratio.value, rel=1e-9)
    assert back.ratio.low == pytest.approx(1 / there.ratio.high, rel=1e-9)
    assert back.ratio.high == pytest.approx(1 / there.ratio.low, rel=1e-9)
    assert back.ratio.p_value == pytest.approx(there.ratio.p_value, abs=1e-12)
    inverse = {"faster": "slower", "slower": "faster"}
    assert back.word == inverse.get(there.word, there.word)


@given(scatters, scatters, sizes)
def test_a_unit_changes_nothing(a, b, unit):
    plain = compare_values(BANDWIDTH, a, b).ratio
    scaled = ratio_of([unit * value for value in a], [unit * value for value in b])
    assert scaled.value == pytest.approx(plain.value, rel=1e-9)
    assert scaled.low == pytest.approx(plain.low, rel=1e-6)
    assert scaled.high == pytest.approx(plain.high, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(scatters, scatters)
def test_it_is_the_test_of_scipy(a, b):
    logs = np.log(a), np.log(b)
    if np.ptp(logs[0]) < 1e-6 and np.ptp(logs[1]) < 1e-6:
        return  # scipy divides by no scatter at all
    theirs = stats.ttest_ind(logs[1], logs[0], equal_var=False)
    interval = theirs.confidence_interval(0.95)
    ours = ratio_of(a, b)
    assert ours.value == pytest.approx(math.exp(logs[1].mean() - logs[0].mean()))
    assert ours.low == pytest.approx(math.exp(interval.low), rel=1e-6)
    assert ours.high == pytest.approx(math.exp(interval.high), rel=1e-6)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-4, abs=1e-12)


@given(scatters)
def test_the_interval_of_a_mean_is_that_of_scipy(values):
    spread = spread_of(values)
    assert spread.smallest <= spread.mean * (1 + 1e-12)
    assert spread.mean <= spread.largest * (1 + 1e-12)
    if np.ptp(values) > 1e-6:
        logs = np.log(values)
        low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
        assert spread.low == pytest.approx(math.exp(low), rel=1e-6)
        assert spread.high == pytest.approx(math.exp(high), rel=1e-6)


@given(sizes, scatters, st.floats(min_value=0.5, max_value=2))
def test_one_run_gives_a_ratio_and_claims_nothing(one, many, factor):
    for a, b in (([one], [one * factor]), ([one], many), (many, [one])):
        told = compare_values(BANDWIDTH, a, b, regression_limit=0.0)
        assert told.word == "not tested"
        assert told.regressed is None
        assert (told.ratio.low, told.ratio.high, told.ratio.p_value) == (None, None, None)
    assert ratio_of([one], [one * factor]).value == pytest.approx(factor)


@pytest.mark.parametrize("missing", [None, 0.0, -1.0])
def test_a_run_without_a_value_leaves_the_metric_without_a_word(missing):
    told = compare_values(BANDWIDTH, [1.0, 2.0, missing], [1.0, 2.0], regression_limit=0.01)
    assert (told.word, told.ratio, told.a, told.regressed) == ("no figure", None, None, None)


def test_runs_without_any_scatter_differ_by_what_they_differ():
    assert compare_values(BANDWIDTH, [5.0, 5.0], [5.0, 5.0]).word == "no significant difference"
    assert compare_values(BANDWIDTH, [5.0, 5.0], [4.0, 4.0]).word == "slower"


def test_of_load_times_less_is_faster():
    assert compare_values(LOAD_TIME, [100.0, 101.0, 99.0], [50.0, 51.0, 50.0]).word == "faster"


@pytest.mark.parametrize(
    ("factor", "limit", "regressed"),
    [(0.97, 0.02, True), (0.97, 0.05, False), (1.03, 0.02, False), (0.995, 0.0, True)],
)
def test_a_regression_is_worse_than_its_limit_and_significant(factor, limit, regressed):
    a = [100.0, 100.1, 99.9, 100.05]
    b = [value * factor for value in a]
    assert compare_values(BANDWIDTH, a, b, regression_limit=limit).regressed is regressed


def test_what_may_be_chance_is_no_regression():
    told = compare_values(BANDWIDTH, [100.0, 120.0], [90.0, 110.0], regression_limit=0.02)
    assert told.ratio.value < 0.98
    assert told.regressed is False


def test_load_times_decide_nothing():
    told = compare_values(LOAD_TIME, [1.0, 1.01], [9.0, 9.01], regression_limit=0.02)
    assert (told.word, told.regressed) == ("slower", None)


def test_changes_are_signed():
    assert [change(ratio) for ratio in (1.0, 0.9, 3.5)] == ["+0.00 %", "-10.00 %", "+250 %"]
