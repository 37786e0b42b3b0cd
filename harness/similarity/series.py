"""Runs of several seeds on each side: the score, the noise of the original, and what they state.

A run of the original differs from another one of the original by its seed. So the score is the
mean over pairs of different seeds, its floor the mean over the same pairs within the original, and
a score at its floor is as good as the original itself would get.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Final

import numpy as np
from scipy.stats import t as student

from harness.analysis.part import Part
from harness.errors import ResultError
from harness.similarity.components import TIME_COMPONENTS
from harness.similarity.score import Score, Side, score_sides

# A jackknife leaves one seed out and still needs a pair.
RUNS_FOR_INTERVAL: Final = 3
CONFIDENCE: Final = 0.95


class Fidelity(Part, frozen=True, kw_only=True):
    """One of the three numbers.

    Args:
        L, T, components: means over the pairs of seeds.
        floor: the same of the first side against itself; null with a single run.
        interval: of score minus floor in L, half its width; null below three runs.
        interval_time: the same in T.
        runs: of each side.
        pairs: how many pairs of runs the means are over.
        statement: what can be said.
        holds: score >= floor - interval; null where that is not known.
        statement_time, holds_time: the same of T.
        time_withheld: why T is null, of the floor, too.
    """

    L: float | None
    T: float | None
    components: dict[str, float]
    floor: Score | None
    interval: float | None
    interval_time: float | None
    runs: int
    pairs: int
    statement: str
    holds: bool | None
    statement_time: str
    holds_time: bool | None
    time_withheld: str


def compare_runs(first: Sequence[Side], second: Sequence[Side]) -> Fidelity:
    """Compare runs of as many seeds on each side, the same seeds in the same order.

    Args:
        first: what is held against itself for the floor.
        second: what is held against it.

    Raises:
        ResultError: the sides have different numbers of runs, or pairs different components.
    """
    if len(first) != len(second):
        what = f"{len(first)} runs on one side and {len(second)} on the other"
        then = "name as many of each, with the same seeds in the same order"
        raise ResultError(what, where="similarity", then=then)
    runs = len(first)
    pairs = list(permutations(range(runs), 2)) or [(0, 0)]
    scores = {(i, j): score_sides(first[i], second[j]) for i, j in pairs}
    own = {(i, j): score_sides(first[i], first[j]) for i, j in pairs if i < j}
    floors = {(i, j): own[min(i, j), max(i, j)] for i, j in pairs if i != j}
    if reason := _why_no_time([*scores.values(), *floors.values()]):
        scores, floors = _without_times(scores, reason), _without_times(floors, reason)
    _check_comparable([*scores.values(), *floors.values()])
    total = mean_score(scores.values())
    floor = mean_score(floors.values()) if floors else None
    interval = jackknife(runs, scores, floors, "L")
    interval_time = jackknife(runs, scores, floors, "T")
    statement, holds = _state("L", total.L, floor.L if floor else None, interval)
    said_time, holds_time = _state("T", total.T, floor.T if floor else None, interval_time)
    return Fidelity(
        L=total.L,
        T=total.T,
        components=total.components,
        floor=floor,
        interval=interval,
        interval_time=interval_time,
        runs=runs,
        pairs=len(pairs),
        statement=statement,
        holds=holds,
        statement_time=f"no T: {total.time_withheld}" if total.time_withheld else said_time,
        holds_time=holds_time,
        time_withheld=total.time_withheld,
    )


def mean_score(scores: Iterable[Score]) -> Score:
    """Return the mean of L, of T and of every component; all must have the same components."""
    every = list(scores)
    names = every[0].components
    return Score(
        L=_mean([one.L for one in every]),
        T=_mean([one.T for one in every]),
        components={
            name: float(np.mean([one.components[name] for one in every])) for name in names
        },
        time_withheld=_why_no_time(every),
    )


def jackknife(
    runs: int,
    scores: dict[tuple[int, int], Score],
    floors: dict[tuple[int, int], Score],
    value: str,
) -> float | None:
    """Return half the width of the interval of the mean score minus the mean floor.

    One seed after the other is left out, on both sides: runs are independent, pairs are not.
    Student's t for the number of seeds, 95 %.

    Returns:
        None where a score is unknown, or below three runs.
    """
    if runs < RUNS_FOR_INTERVAL:
        return None
    if any(getattr(one, value) is None for one in (*scores.values(), *floors.values())):
        return None
    differences = {
        pair: getattr(scores[pair], value) - getattr(floors[pair], value) for pair in floors
    }
    without = np.array(
        [
            np.mean([own for pair, own in differences.items() if left_out not in pair])
            for left_out in range(runs)
        ]
    )
    variance = (runs - 1) / runs * float(((without - without.mean()) ** 2).sum())
    width: float = float(student.ppf((1 + CONFIDENCE) / 2, runs - 1)) * variance**0.5
    return width


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _why_no_time(scores: Iterable[Score]) -> str:
    return next((one.time_withheld for one in scores if one.time_withheld), "")


def _without_times(
    scores: Mapping[tuple[int, int], Score], reason: str
) -> dict[tuple[int, int], Score]:
    """Return the scores by calls alone: a mean and its floor are of the same components."""
    return {
        pair: Score(
            L=one.L,
            T=None,
            components={
                name: value for name, value in one.components.items() if name not in TIME_COMPONENTS
            },
            time_withheld=reason,
        )
        for pair, one in scores.items()
    }


def _check_comparable(scores: Sequence[Score]) -> None:
    counts = Counter(name for one in scores for name in one.components)
    differing = sorted(name for name, count in counts.items() if count < len(scores))
    if differing:
        what = f"pairs of runs do not share {', '.join(differing)}"
        then = "compare runs of one configuration on each side"
        raise ResultError(what, where="similarity", then=then)


def _state(
    name: str, value: float | None, floor: float | None, interval: float | None
) -> tuple[str, bool | None]:
    """Return what can be said of one of the two scores, and whether it is at its floor."""
    if value is None:
        return f"no {name}: nothing to compare, no component is defined", None
    if floor is None:
        return f"{name} {value:.4f}; one run of each has no floor to be held against", None
    if interval is None:
        said = f"{name} {value:.4f}, floor {floor:.4f}; an interval takes {RUNS_FOR_INTERVAL} runs"
        return f"{said} of each", None
    holds = floor - interval <= value
    place = "at the floor" if holds else "below the floor"
    return f"{name} {value:.4f} is {place}: {floor:.4f} - {interval:.4f}", holds
