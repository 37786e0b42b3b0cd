"""similarity.json as values: the three numbers, what they are held against, and from what.

Schema history: 1, the first.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from harness.analysis.memory import Regime
from harness.analysis.part import Part
from harness.similarity.pattern import DATA_CLASSES, Pattern, read_bytes
from harness.similarity.score import Score, Side, digest_sides, score_sides
from harness.similarity.series import Fidelity, compare_runs
from harness.similarity.sides import CONTROL, NUMBERS

SCHEMA_VERSION: Literal[1] = 1
# What another workload may score at most: what does not tell workloads apart says nothing.
CONTROL_BELOW: Final = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A pattern with a name; `source` says who recorded or planned it, `seed` where it is known."""

    pattern: Pattern
    name: str
    source: str
    notices: tuple[str, ...] = ()
    seed: int | None = None


class Control(Part, frozen=True, kw_only=True):
    """Another workload's score against the first run of the headline: it must be low."""

    name: str
    L: float | None
    T: float | None
    components: dict[str, float]
    limit: float
    holds: bool


class RunFacts(Part, frozen=True, kw_only=True):
    """One run that was compared; rows on other files than the data's are `excluded`, by class."""

    name: str
    source: str
    calls: int
    files: int
    bytes: int
    excluded: dict[str, int]
    regime: Regime | None
    notices: list[str]


class Similarity(Part, frozen=True, kw_only=True):
    """similarity.json. `headline` names the number whose floor, interval and statement stand here.

    `labels`: whether epochs and phases are those that the rows recorded, or were inferred for all
    sides from the order of calls and the role of files.
    """

    schema_version: Literal[1]
    workload: str
    headline: str
    statement: str
    holds: bool | None
    reader: Fidelity | None
    data: Fidelity | None
    both: Fidelity | None
    floor: Score | None
    interval: float | None
    negative_control: Control | None
    regime: Regime | None
    components_used: list[str]
    labels: Literal["recorded", "inferred"]
    notices: list[str]
    runs: dict[str, list[RunFacts]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A document with the digested runs that it was made of, by side, for whoever draws them."""

    document: Similarity
    sides: Mapping[str, tuple[Side, ...]]


def compare_sides(workload: str, runs: Mapping[str, Sequence[Run]]) -> Compared:
    """Return the document of the runs of each side; a side without runs is left out.

    Args:
        workload: what it is called.
        runs: side of MEANING -> its runs, as many for each side but the control, by seed.

    Raises:
        ResultError: different numbers of runs, or runs whose components differ.
    """
    flat = [(name, run) for name, own in runs.items() if name != CONTROL for run in own]
    digested = digest_sides([run.pattern for _, run in flat])
    sides: dict[str, list[Side]] = {}
    for (name, _), side in zip(flat, digested, strict=True):
        sides.setdefault(name, []).append(side)
    numbers = {
        name: compare_runs(sides[first], sides[second])
        for name, (first, second) in NUMBERS.items()
        if first in sides and second in sides
    }
    headline = list(numbers)[-1]
    total, first = numbers[headline], sides[NUMBERS[headline][0]]
    # Apart: a control that does not know its epochs shall not take them from the others.
    given = [run.pattern for run in runs.get(CONTROL, ())]
    control = digest_sides([first[0].pattern, *given]) if given else ()
    regimes = {side.digest.regime for name in NUMBERS[headline] for side in sides[name]}
    every = {**sides, **({CONTROL: [control[1]]} if control else {})}
    document = Similarity(
        schema_version=SCHEMA_VERSION,
        workload=workload,
        headline=headline,
        statement=total.statement,
        holds=total.holds,
        reader=numbers.get("reader"),
        data=numbers.get("data"),
        both=numbers.get("both"),
        floor=total.floor,
        interval=total.interval,
        negative_control=_control(runs, control),
        regime=regimes.pop() if len(regimes) == 1 else None,
        components_used=list(total.components),
        labels="recorded" if all(run.pattern.labelled for _, run in flat) else "inferred",
        notices=unequal_cases({name: own[0] for name, own in sides.items()}),
        runs={
            name: [_facts(run, side) for run, side in zip(runs[name], own, strict=True)]
            for name, own in every.items()
        },
    )
    return Compared(document=document, sides={name: tuple(own) for name, own in every.items()})


def unequal_cases(firsts: Mapping[str, Side]) -> list[str]:
    """Return a sentence for each role and class of which sides read different numbers of files.

    A step more or less in each epoch moves volume and more; that is no likeness of the data.

    Args:
        firsts: side -> one of its runs.
    """
    counts = {name: _files_read(side.pattern) for name, side in firsts.items()}
    kinds = sorted({kind for own in counts.values() for kind in own})
    sentences = []
    for kind in kinds:
        numbers = {name: own[kind] for name, own in counts.items()}
        if len(set(numbers.values())) > 1:
            said = ", ".join(f"{name} {number:,}" for name, number in numbers.items())
            sentences.append(f"Different numbers of files read ({kind}): {said}.")
    return sentences


def _files_read(pattern: Pattern) -> Counter[str]:
    rows = pattern.rows[read_bytes(pattern.rows) > 0]
    files = [pattern.files[int(number)] for number in np.unique(rows["file"])]
    return Counter(
        f"{file.role}, {file.file_class.name.lower()}"
        for file in files
        if file.file_class in DATA_CLASSES
    )


def _control(runs: Mapping[str, Sequence[Run]], sides: Sequence[Side]) -> Control | None:
    """Return the score of the second side, which is the control, against the first."""
    if not sides:
        return None
    found = score_sides(*sides)
    return Control(
        name=runs[CONTROL][0].name,
        L=found.L,
        T=found.T,
        components=found.components,
        limit=CONTROL_BELOW,
        holds=found.L is not None and found.L < CONTROL_BELOW,
    )


def _facts(run: Run, side: Side) -> RunFacts:
    digest = side.digest
    return RunFacts(
        name=run.name,
        source=run.source,
        calls=digest.calls,
        files=digest.files,
        bytes=digest.bytes,
        excluded=dict(digest.excluded),
        regime=digest.regime,
        notices=list(run.notices),
    )
