"""From two paths to the answer, on the terminal and in a file."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from dsgen.errors import ExitCode
from harness.analysis.caveats import caveats
from harness.analysis.compare import DEFAULT_MIN_EFFECT, Comparison, Side, compare_runs
from harness.beside import write_beside
from harness.compare.junit import junit_of
from harness.compare.read import Runs, read_runs
from harness.compare.table import markdown_of, text_of
from harness.errors import NotComparableError, TargetError


def json_of(comparison: Comparison) -> str:
    """Return the comparison as JSON."""
    content = msgspec.json.format(msgspec.json.encode(comparison), indent=1)
    return f"{content.decode()}\n"


_RENDERERS: Final[Mapping[str, Callable[[Comparison], str]]] = {
    "text": text_of,
    "markdown": markdown_of,
    "json": json_of,
    "junit": junit_of,
}


def answer(options: argparse.Namespace) -> ExitCode:
    """Compare, show and write what `harness.compare.command` was asked for.

    Returns:
        REGRESSION where one was told, DONE else.

    Raises:
        ResultError: results are missing or cannot be read.
        NotComparableError: the work was not the same, or a regression cannot be told.
        TargetError: the file cannot be written.
    """
    a, b = read_runs(options.a), read_runs(options.b)
    _check_apart(a, b)
    comparison = _compare(a, b, options)
    content = _RENDERERS[options.format](comparison)
    if options.output is not None:
        _write(options.output, content)
    sys.stdout.write(content if options.output is None else text_of(comparison))
    return _outcome(comparison)


def _check_apart(a: Runs, b: Runs) -> None:
    """Refuse to compare runs with themselves, which would make any difference smaller."""
    both = {result.run_id for result in a.results} & {result.run_id for result in b.results}
    if both:
        what = f"run {min(both)} is on both sides"
        raise NotComparableError(what, where=f"{a.path} and {b.path}", then="give it to one")


def _compare(a: Runs, b: Runs, options: argparse.Namespace) -> Comparison:
    min_effect: float | None = options.min_effect
    return compare_runs(
        _side(a, b),
        _side(b, a),
        a.results,
        b.results,
        min_effect=DEFAULT_MIN_EFFECT if min_effect is None else min_effect,
        regression_limit=options.fail_on_regression,
        force=options.force,
    )


def _side(runs: Runs, other: Runs) -> Side:
    return Side(
        path=str(runs.path),
        runs=[result.run_id for result in runs.results],
        notices=[*runs.left_out, *caveats(runs.results, other.results)],
    )


def _outcome(comparison: Comparison) -> ExitCode:
    """Return how the command ends, once all is shown."""
    where = f"{comparison.a.path} and {comparison.b.path}"
    if comparison.is_refused:
        what = comparison.sentence.removesuffix(".")
        what = what[0].lower() + what[1:]
        raise NotComparableError(what, where=where, then="--force compares them all the same")
    if comparison.regressed:
        return ExitCode.REGRESSION
    if comparison.regression_limit is not None and not comparison.is_judged:
        what = "a regression cannot be told from one run on a side"
        if comparison.is_tested:
            what = "a regression cannot be told, because figures are missing"
        then = "repeat the runs, by --repeat 5 for instance"
        raise NotComparableError(what, where=where, then=then)
    return ExitCode.DONE


def _write(path: Path, content: str) -> None:
    try:
        # A device or a pipe has nothing beside it, and takes what it is given.
        if path.exists() and not path.is_file():
            path.write_text(content, encoding="utf-8")
        else:
            write_beside(path, content.encode())
    except OSError as error:
        what, then = f"cannot write ({error.strerror})", "name another --output"
        raise TargetError(what, where=str(path), then=then) from error
