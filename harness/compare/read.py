"""The results of one side: one, those of a group, or all below a directory."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import NotComparableError, ResultError, SchemaError
from harness.result import RESULT_NAME, Result, read_result
from harness.run_name import is_partial

# What a run makes first, and a plan as well: results are beside these, not below.
_BEGUN = ("spec.json", "steps")


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """Results that can be compared, in the order of their starts, and what was left out and why."""

    path: Path
    results: tuple[Result, ...]
    left_out: tuple[str, ...]


def read_runs(path: Path) -> Runs:
    """Return the results that `path` names: a result.json, its directory, or one with many below.

    Runs that failed or were interrupted have no figures to compare; they are left out by name.

    Raises:
        ResultError: there is none, or one cannot be read.
        NotComparableError: one is of another schema version, or none ended well.
    """
    found, left_out = _find(path)
    if not found:
        raise _nothing(path, left_out)
    kept: dict[str, Result] = {}
    for place in found:
        result = _read(place)
        if result.status != "ok":
            left_out.append(f"left out: {place} is of a run that {_fate(result)}")
        elif result.run_id in kept:
            left_out.append(f"left out: {place} is a copy of run {result.run_id}")
        else:
            kept[result.run_id] = result
    if not kept:
        then = "give results of runs that ended well"
        what = f"no figures to compare ({left_out[-1].removeprefix('left out: ')})"
        raise NotComparableError(what, where=str(path), then=then)
    ordered = sorted(kept.values(), key=lambda result: result.run_id)
    return Runs(path=path, results=tuple(ordered), left_out=tuple(left_out))


def _find(path: Path) -> tuple[list[Path], list[str]]:
    """Return the results that a path names, and the directories without one."""
    if not _is_directory(path):
        return [path], []
    found: list[Path] = []
    unfinished: list[str] = []
    for directory, names in _walk(path):
        if RESULT_NAME in names:
            found.append(directory / RESULT_NAME)
        elif is_partial(directory) and names.intersection(_BEGUN):
            unfinished.append(f"left out: {directory} is of a run that did not end")
    return found, unfinished


def _walk(top: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yield directories and the names in them, links followed, nothing below that of a run."""
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        try:
            place = directory.stat()
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            what, then = f"cannot be read ({error.strerror})", "give a directory that can be read"
            raise ResultError(what, where=str(directory), then=then) from error
        if (place.st_dev, place.st_ino) in seen:
            continue
        seen.add((place.st_dev, place.st_ino))
        names = {entry.name for entry in entries}
        yield directory, names
        if RESULT_NAME not in names and not names.intersection(_BEGUN):
            below = (directory / entry.name for entry in entries)
            waiting += [path for path in below if _is_directory(path)]


def _is_directory(path: Path) -> bool:
    """Return whether it is one as far as that can be told: not where rights or loops forbid."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _read(path: Path) -> Result:
    try:
        return read_result(path)
    except SchemaError as error:
        raise NotComparableError(error.what, where=error.where, then=error.then) from error


def _fate(result: Result) -> str:
    return "was interrupted" if result.status == "interrupted" else "failed"


def _nothing(path: Path, unfinished: list[str]) -> ResultError:
    if len(unfinished) > 1:
        what = f"no result, and {len(unfinished)} runs that did not end"
        return ResultError(what, where=str(path), then="repeat them")
    if unfinished:
        what = "no result, because its run did not end"
        return ResultError(what, where=str(path), then="repeat the run")
    then = "give a result.json, or a directory with results below"
    return ResultError("no result", where=str(path), then=then)
