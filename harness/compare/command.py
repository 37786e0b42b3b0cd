"""The flags of `python -m harness compare A B`."""

import argparse
import re
from pathlib import Path
from typing import Any

from dsgen.errors import ExitCode

FORMATS = ("text", "markdown", "json", "junit")


def add_compare(verbs: Any) -> None:
    """Add the verb to what `argparse.ArgumentParser.add_subparsers` returned."""
    parser = verbs.add_parser(
        "compare", help="tell whether the runs of B were faster or slower than those of A"
    )
    for side in ("a", "b"):
        parser.add_argument(
            side,
            type=Path,
            metavar=side.upper(),
            help="a result, a group of repeats, or a directory with results below",
        )
    parser.add_argument(
        "--fail-on-regression",
        type=share_argument,
        metavar="X%",
        help="exit with 21 where B is worse by more than X %%, significantly",
    )
    parser.add_argument(
        "--min-effect",
        type=share_argument,
        metavar="X%",
        help="differences below X %% are called none (1%%)",
    )
    parser.add_argument(
        "--force", action="store_true", help="compare runs that did not do the same work"
    )
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0])
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where that goes; text is shown in any case"
    )
    parser.set_defaults(run=_compare)


def share_argument(text: str) -> float:
    """Parse a share for argparse: `2%`, or 0.02.

    >>> share_argument("2%"), share_argument("0.02"), share_argument("0.5 %")
    (0.02, 0.02, 0.005)
    """
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(?: ?(%))?", text.strip(), re.ASCII)
    share = float(found[1]) / (100 if found[2] else 1) if found else 1.0
    # A bare 2 may mean 2 % or 200 %.
    if share >= 1:
        then = "give it as 2% or 0.02, below 100%"
        raise argparse.ArgumentTypeError(f"{text!r} is no share; {then}")
    return share


def _compare(options: argparse.Namespace, _: tuple[str, ...]) -> ExitCode:
    # Only here, because it imports SciPy, which takes a while.
    from harness.compare.answer import answer

    return answer(options)
