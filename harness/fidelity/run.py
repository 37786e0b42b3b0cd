"""Recordings against recordings: what may be compared, what is said, what is written."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from dsgen.errors import ExitCode, UsageError
from harness.beside import write_beside
from harness.errors import ResultError, TargetError
from harness.patterns import read_pattern
from harness.report.similarity_page import render_similarity
from harness.similarity.document import Compared, Run, Similarity, compare_sides
from harness.similarity.pattern import moved_bytes
from harness.similarity.sides import CONTROL, DOCUMENT_NAME, MEANING, NUMBERS, PAGE_NAME
from harness.worker.record import FileClass

# What the files of a workload are.
CLASSES: Final = {
    "imseg": frozenset({FileClass.X, FileClass.Y}),
    "bert": frozenset({FileClass.RECORD}),
    "dlrm": frozenset({FileClass.ROW, FileClass.DAY, FileClass.LINE}),
}


def run_similarity(options: argparse.Namespace) -> ExitCode:
    """Compare the recordings that the verb names, and print where similarity.json lies."""
    given: dict[str, list[Path]] = {side: getattr(options, side) for side in MEANING}
    check_sides(given)
    check_recordings({side: paths for side, paths in given.items() if side != CONTROL})
    runs = {side: [read_pattern(path) for path in paths] for side, paths in given.items() if paths}
    for side, own in runs.items():
        for run in own:
            check_workload(run, options.workload, is_control=side == CONTROL)
        check_seeds(side, own)
    check_places({side: own for side, own in runs.items() if side != CONTROL})
    compared = compare_sides(options.workload, runs)
    for line in said(compared.document):
        print(line, file=sys.stderr, flush=True)
    print(write_similarity(compared, options.output))
    return ExitCode.DONE


def check_sides(given: Mapping[str, Sequence[object]]) -> None:
    """Check that there is something to compare.

    Raises:
        UsageError: fewer than two sides, or sides with different numbers of runs.
    """
    counts = {side: len(given.get(side, ())) for side in MEANING if side != CONTROL}
    named = {side: count for side, count in counts.items() if count}
    if len(named) < 2:
        then = "give two of --reference, --original and --generated"
        raise UsageError("nothing to compare", where="similarity", then=then)
    if len(set(named.values())) > 1:
        what = ", ".join(f"{count} of --{side}" for side, count in named.items())
        then = "give as many of each, for the same seeds in the same order"
        raise UsageError(what, where="similarity", then=then)
    if len(given.get(CONTROL, ())) > 1:
        raise UsageError("more than one --control", where="similarity", then="give one")


def check_recordings(given: Mapping[str, Sequence[Path]]) -> None:
    """Check that no recording is named twice: it would be a run that is like another in everything.

    Raises:
        UsageError: one is.
    """
    sides: dict[str, str] = {}
    for side, paths in given.items():
        for path in paths:
            own = os.path.realpath(path)
            if own in sides:
                where = " and ".join(dict.fromkeys((f"--{sides[own]}", f"--{side}")))
                then = "a floor and a score are of different runs"
                raise UsageError(f"one recording twice: {path}", where=where, then=then)
            sides[own] = side


def check_workload(run: Run, workload: str, *, is_control: bool) -> None:
    """Check that a run is of the workload, or of another one if it is a control.

    Raises:
        ResultError: it is not.
    """
    rows = run.pattern.rows
    moving = np.unique(rows["class"][moved_bytes(rows) > 0])
    classes = {FileClass(int(number)) for number in moving}
    is_of_it = not classes.isdisjoint(CLASSES[workload])
    if is_control and is_of_it:
        then = "name a recording of another workload"
        raise ResultError(f"a control of {workload} itself", where=run.name, then=then)
    if not is_control and not is_of_it:
        found = ", ".join(sorted(own.name.lower() for own in classes))
        wanted = ", ".join(sorted(own.name.lower() for own in CLASSES[workload]))
        what = f"not a recording of {workload}: files of class {found}, and its are {wanted}"
        raise ResultError(what, where=run.name, then="name a recording of it, or import by --map")


def check_seeds(side: str, runs: Sequence[Run]) -> None:
    """Check that the runs of a side differ, or the noise of the original would seem to be none.

    Raises:
        UsageError: two of one seed.
    """
    seeds = Counter(run.seed for run in runs if run.seed is not None)
    if twice := [seed for seed, count in seeds.items() if count > 1]:
        then = "a floor is made of runs of different seeds"
        raise UsageError(f"one seed twice: {twice[0]}", where=f"--{side}", then=then)


def check_places(runs: Mapping[str, Sequence[Run]]) -> None:
    """Check that a seed has one place on all sides: pairs are of different seeds by their places.

    Raises:
        UsageError: a pair would have one seed, and so one order of files, which no floor has.
    """
    places: dict[int, tuple[str, int]] = {}
    for side, own in runs.items():
        for place, run in enumerate(own, 1):
            if run.seed is None:
                continue
            other, other_place = places.setdefault(run.seed, (side, place))
            if other_place != place:
                what = f"seed {run.seed} is run {other_place} of --{other} and {place} of --{side}"
                then = "give the same seeds in the same order"
                raise UsageError(what, where="similarity", then=then)


def said(document: Similarity) -> list[str]:
    """Return what a person should read of it, a line each."""
    lines = []
    for name, (first, second) in NUMBERS.items():
        if (number := getattr(document, name)) is None:
            continue
        lines.append(f"{name:8}{number.statement}  ({MEANING[first]} / {MEANING[second]})")
        lines.append(f"        {number.statement_time}")
        lowest = sorted(number.components.items(), key=lambda item: item[1])[:3]
        lines.append("        lowest " + ", ".join(f"{key} {value:.4f}" for key, value in lowest))
    control = document.negative_control
    if control is None:
        lines.append("control none: name a recording of another workload by --control")
    else:
        word = "below" if control.holds else "NOT below"
        lines.append(f"control L {control.L or 0:.4f} of {control.name}, {word} {control.limit}")
    if document.labels == "inferred":
        lines.append("epochs and phases are inferred on all sides: a recording does not have them")
    lines += [f"notice  {notice}" for notice in document.notices]
    lines += [
        f"notice  {run.name}: {notice}"
        for runs in document.runs.values()
        for run in runs
        for notice in run.notices
    ]
    return lines


def write_similarity(compared: Compared, directory: Path) -> Path:
    """Write similarity.json and the page beside it, and return the path of the first.

    Raises:
        TargetError: the directory does not take them.
    """
    content = msgspec.json.format(msgspec.json.encode(compared.document), indent=1)
    page = render_similarity(compared).encode()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_beside(directory / PAGE_NAME, page)
        write_beside(directory / DOCUMENT_NAME, content + b"\n")
    except OSError as error:
        what = f"cannot write ({error.strerror})"
        then = "free space, or name another --output"
        raise TargetError(what, where=str(directory), then=then) from error
    return directory / DOCUMENT_NAME
