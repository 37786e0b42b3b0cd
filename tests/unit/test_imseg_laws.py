"""The laws of imseg: shapes, numbers and roles."""

import itertools
from collections import Counter

import pytest

from dsgen.choices import Wanted
from dsgen.workloads import plan
from dsgen.workloads.imseg import FORMATS, cases, originals

LAWS = FORMATS["npy"].laws


def first(law, count, seed=1):
    return list(itertools.islice(cases(law, seed), count))


def test_the_original_has_its_published_size():
    voxels = sum(d * h * w for d, h, w in (case.shape for case in originals()))
    assert 5 * voxels + 210 * 2 * 128 == 30_786_131_935
    assert Counter(case.role for case in originals()) == {"train": 168, "eval": 42}


def test_law_original_is_the_original_then_its_cycle():
    made = first("original", 420)
    assert tuple(made[:210]) == originals()
    assert [case.shape for case in made[210:]] == [case.shape for case in originals()]
    assert {case.role for case in made[210:]} == {"train"}


def test_210_cases_of_kits19_are_the_originals_shapes_role_by_role():
    made = first("kits19", 210)
    for role in ("train", "eval"):
        mine = Counter(case.shape for case in made if case.role == role)
        assert mine == Counter(case.shape for case in originals() if case.role == role)


@pytest.mark.parametrize("law", LAWS)
def test_evaluation_numbers_are_the_references(law):
    evaluation = {case.case for case in originals() if case.role == "eval"}
    for case in first(law, 300):
        assert (case.role == "eval") == (case.case in evaluation)


@pytest.mark.parametrize("law", LAWS)
def test_no_number_comes_twice(law):
    numbers = [case.case for case in first(law, 1000)]
    assert len(set(numbers)) == 1000


def test_a_small_set_has_24_training_and_8_evaluation_cases_at_2_gb():
    layout = plan("imseg", size_bytes=2 * 10**9, seed=1, wanted=Wanted(law="small"))
    assert (layout.samples("train"), layout.samples("eval")) == (24, 8)


def test_16_gb_have_an_evaluation_case_for_each_of_8_ranks():
    layout = plan("imseg", size_bytes=16 * 10**9, seed=1, wanted=Wanted(law="kits19"))
    assert layout.samples("eval") >= 8


def test_any_40_cases_of_kits19_have_the_spread_of_the_original():
    ordered = sorted(d * h * w for d, h, w in (case.shape for case in originals()))
    median = ordered[len(ordered) // 2]
    for seed in range(20):
        small = [d * h * w < median for d, h, w in (c.shape for c in first("kits19", 40, seed))]
        assert 14 <= sum(small) <= 26
