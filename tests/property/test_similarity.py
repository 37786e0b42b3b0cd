"""What a reviewer tries on a similarity: equal is 1, and differences cost the more they are."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsgen.choices import Wanted
from dsgen.workloads import plan
from harness.analysis.recording import DataFile
from harness.similarity.components import CALL_COMPONENTS, TIME_COMPONENTS
from harness.similarity.pattern import Pattern
from harness.similarity.score import digest_sides, score, score_sides
from harness.similarity.series import compare_runs
from harness.worker.record import ROW, FileClass, Op, Phase
from tests.property.patterns import (
    dropped,
    scaled_sizes,
    slowed,
    stream,
    to_one_rank,
    volumes,
    with_rows,
)

GIB = 2**30
EPOCHS = 5


@cache
def images(law, size_bytes, seed=1):
    """Return the sizes of the training images that a law of dsgen gives."""
    layout = plan("imseg", size_bytes=size_bytes, seed=seed, wanted=Wanted(law=law))
    return tuple(
        file.bytes for file in layout.files if file.file_class == "x" and file.role == "train"
    )


@cache
def original(seed=1):
    """Return the original at 16 GiB."""
    return volumes(images("original", 16 * GIB), seed=seed, epochs=EPOCHS)


PATTERNS = st.builds(
    volumes,
    st.lists(st.integers(5_000, 3_000_000), min_size=4, max_size=20),
    seed=st.integers(0, 9),
    ranks=st.integers(1, 2),
    batch_size=st.integers(1, 2),
    epochs=st.integers(1, 3),
)


@st.composite
def any_rows(draw):
    """Return a pattern of arbitrary calls on a few files."""
    count = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = np.zeros(count, ROW)
    rows["t0_ns"] = rng.integers(0, 10**9, count)
    rows["t1_ns"] = rows["t0_ns"] + rng.integers(0, 10**7, count)
    rows["offset"] = rng.integers(-1, 10**7, count)
    rows["returned"] = rng.integers(-1, draw(st.sampled_from([1, 10**7])), count)
    rows["requested"] = 10**7
    rows["file"] = rng.integers(0, 4, count)
    rows["class"] = rows["file"] % 3 + 1
    rows["op"] = rng.choice([Op.OPEN, Op.READ, Op.PREAD, Op.LSEEK, Op.WRITE], count)
    rows["epoch"], rows["phase"] = rng.integers(1, 4, count), rng.integers(1, 4, count)
    rows["rank"] = rng.integers(0, 3, count)
    files = {
        number: DataFile(
            path=str(number),
            size_bytes=10**7,
            file_class=FileClass(number % 3 + 1),
            role="train",
        )
        for number in range(4)
    }
    return Pattern(rows=rows, files=files, memory_bytes=10**12, sparse=False)


ANY = st.one_of(PATTERNS, any_rows())


@settings(max_examples=40, deadline=None)
@given(ANY)
def test_identity_is_1(pattern):
    found = score(pattern, replace(pattern, rows=pattern.rows.copy()))
    assert found.L == 1
    assert found.T == 1
    assert set(found.components.values()) == {1.0}


@settings(max_examples=60, deadline=None)
@given(ANY, ANY)
def test_symmetry_is_exact_and_everything_is_within_0_and_1(one, other):
    found = score(one, other)
    assert found == score(other, one)
    assert all(0 <= value <= 1 for value in found.components.values())
    assert 1e-3 <= found.L <= 1
    assert 1e-3 <= found.T <= 1


@settings(max_examples=40, deadline=None)
@given(PATTERNS, PATTERNS, st.randoms(use_true_random=False))
def test_names_of_ranks_and_files_and_the_clock_change_nothing(one, other, random):
    rows = one.rows.copy()
    ranks = random.sample(range(100), int(rows["rank"].max()) + 1)
    numbers = dict(zip(one.files, random.sample(range(1000), len(one.files)), strict=True))
    rows["rank"] = np.array(ranks)[rows["rank"]]
    rows["file"] = [numbers[int(number)] for number in rows["file"]]
    shift_ns = random.randrange(10**18)
    for name in ("t0_ns", "t1_ns"):
        rows[name] += shift_ns
    random.shuffle(order := list(range(len(rows))))
    files = {
        numbers[number]: replace(file, path=f"/elsewhere/{number}")
        for number, file in one.files.items()
    }
    renamed = replace(one, rows=rows[order], files=files)
    assert score(one, renamed) == score(one, one)
    assert score(renamed, other) == score(one, other)


CHANGES = {
    "sizes": (scaled_sizes, (1.05, 1.25, 1.5, 2, 4), "L"),
    "dropped": (dropped, (0.01, 0.05, 0.2, 0.5), "L"),
    "slowed": (slowed, (1.1, 1.5, 2, 4), "T"),
    "one rank": (to_one_rank, (0.1, 0.3, 0.6), "L"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_larger_a_change_the_lower_the_score(name):
    change, amounts, value = CHANGES[name]
    pattern = volumes(images("original", 8 * GIB), epochs=3)
    found = [getattr(score(pattern, change(pattern, amount)), value) for amount in amounts]
    assert all(later < earlier - 0.01 for earlier, later in zip([1, *found], found, strict=False))


def test_reading_in_order_costs_against_any_shuffle():
    sizes = images("original", 16 * GIB)
    unshuffled = volumes(sizes, seed=2, epochs=EPOCHS, shuffled=False)
    shuffled, in_order = score(original(), original(2)), score(original(), unshuffled)
    assert in_order.components["order"] < 0.6 < 0.95 < shuffled.components["order"]
    assert in_order.L < shuffled.L - 0.03


@pytest.mark.parametrize("op", [Op.OPEN, Op.READ, Op.WRITE, Op.FSYNC])
def test_one_more_call_in_a_thousand_costs_less_than_a_hundredth(op):
    pattern = original()
    rows = pattern.rows
    more = rows[:: len(rows) // (len(rows) // 1000)].copy()
    more["op"], more["returned"], more["requested"], more["offset"] = op, 0, 0, 0
    found = score(pattern, with_rows(pattern, np.concatenate((rows, more))))
    assert 0.99 < found.L < 1
    assert found.T > 0.99


def law_sizes(law, total_bytes, seed):
    """Return image sizes by a law, of a data set of this size.

    They are fitted to the original's images: mean and deviation, or those of the logarithm.
    """
    rng = np.random.default_rng(seed)
    known = np.array(images("original", 30 * GIB), float)
    draws = {
        "lognormal": lambda: rng.lognormal(np.log(known).mean(), np.log(known).std()),
        "normal": lambda: max(rng.normal(known.mean(), known.std()), known.min()),
        "constant": lambda: known.mean(),
    }
    sizes = []
    while sum(sizes) * 1.25 < total_bytes:
        sizes.append(int(draws[law]()))
    return sizes


def test_at_200_gib_the_closer_the_law_of_sizes_the_higher_the_score():
    size_bytes = 200 * GIB
    first = images("original", size_bytes)
    # The same number of cases on both sides: a step more or less would move everything.
    laws = [
        images("kits19", size_bytes, 2),
        law_sizes("lognormal", size_bytes, 2),
        law_sizes("normal", size_bytes, 2),
        images("uniform", size_bytes, 2),
        law_sizes("constant", size_bytes, 2),
    ]
    cases = min(map(len, [first, *laws]))
    (reference, *others) = digest_sides(
        [
            volumes(sizes[:cases], seed=number, epochs=2)
            for number, sizes in enumerate([first, *laws], 1)
        ]
    )
    found = [score_sides(reference, other).L for other in others]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.99
    assert found[0] - found[1] > 0.003
    assert found[-1] < 0.93


def test_the_original_is_at_its_own_floor_and_another_workload_is_not():
    seeds = (1, 2, 3, 4)
    sizes = images("original", 16 * GIB)
    first = [volumes(sizes, seed=seed, epochs=2) for seed in seeds]
    generated = [
        volumes(images("kits19", 16 * GIB, seed)[: len(sizes)], seed=10 + seed, epochs=2)
        for seed in seeds
    ]
    doubled = [scaled_sizes(pattern, 2) for pattern in generated]
    sides = digest_sides([*first, *generated, *doubled])
    own, theirs, larger = sides[:4], sides[4:8], sides[8:]
    same = compare_runs(own, own)
    assert pytest.approx(same.floor.L) == same.L
    assert same.holds
    assert compare_runs(own, theirs).holds
    wrong = compare_runs(own, larger)
    assert wrong.holds is False
    assert wrong.interval < 0.05
    assert score(first[0], stream()).L < 0.3


def test_components_that_no_side_defines_are_left_out_and_those_of_one_side_are_0():
    sizes = [10**6, 2 * 10**6, 3 * 10**6, 4 * 10**6]
    once, twice = (volumes(sizes, ranks=1, batch_size=4, epochs=epochs) for epochs in (1, 2))
    assert set(score(once, once).components) == {*CALL_COMPONENTS, *TIME_COMPONENTS} - {"order"}
    assert score(once, twice).components["order"] == 0
    assert set(score(twice, twice).components) == {*CALL_COMPONENTS, *TIME_COMPONENTS}


def test_a_file_that_is_written_is_not_read():
    pattern = volumes([10**6] * 8, ranks=1, batch_size=1)
    written = pattern.rows[-1:].copy()
    number = max(pattern.files) + 1
    written["file"], written["op"], written["class"] = number, Op.WRITE, FileClass.CHECKPOINT
    written["phase"], written["returned"] = Phase.CHECKPOINT, 10**7
    file = DataFile(
        path="model", size_bytes=10**7, file_class=FileClass.CHECKPOINT, role="checkpoint"
    )
    saved = replace(
        with_rows(pattern, np.concatenate([pattern.rows, written])),
        files={**pattern.files, number: file},
    )
    found = score(pattern, saved).components
    assert found["files"] == found["file_bytes"] == found["coverage"] == 1
    assert found["volume"] < 1


def test_times_count_within_one_regime_only_and_never_on_holes_or_plans():
    sizes = [10**6] * 8
    pattern = volumes(sizes, ranks=1, batch_size=1)
    data_bytes = pattern.data_bytes
    warm, cold = (replace(pattern, memory_bytes=int(data_bytes * part)) for part in (2.0, 0.5))
    assert score(warm, warm).T == 1
    for other, word in (
        (cold, "regimes differ"),
        (replace(warm, sparse=True), "holes"),
        (replace(warm, timed=False), "planned"),
        (replace(warm, memory_bytes=None), "unknown"),
    ):
        found = score(warm, other)
        assert found.T is None
        assert word in found.time_withheld
        assert found.L == 1
        assert set(found.components) == set(CALL_COMPONENTS)
