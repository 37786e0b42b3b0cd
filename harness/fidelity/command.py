"""The verb `similarity`: recordings against recordings, similarity.json and a page."""

import argparse
from pathlib import Path
from typing import Final

from dsgen.command import OneLineParser
from dsgen.errors import ExitCode
from dsgen.workloads import WORKLOADS
from harness.similarity.sides import DOCUMENT_NAME, MEANING, PAGE_NAME

_EPILOG: Final = """reader fidelity: --reference against --original; data fidelity: --original
against --generated; both: --reference against --generated. Give each several times, once for each
seed and in the same order: from two on there is a floor, from three on an interval. A DIR is a
result, the directory of a run, or what `trace --import` made.
"""


def add_similarity_verb(verbs: "argparse._SubParsersAction[OneLineParser]") -> None:
    """Add the verb to those of the command line."""
    parser = verbs.add_parser(
        "similarity",
        help="hold recordings against one another: how alike they load storage",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workload", choices=WORKLOADS)
    for side, meaning in MEANING.items():
        parser.add_argument(
            f"--{side}", type=Path, metavar="DIR", action="append", default=[], help=meaning
        )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", default=Path("results/similarity"),
        help=f"where {DOCUMENT_NAME} and {PAGE_NAME} go (results/similarity)",
    )  # fmt: skip
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, _: tuple[str, ...]) -> ExitCode:
    # Only here, because it imports SciPy and matplotlib, which takes a while.
    from harness.fidelity.run import run_similarity

    return run_similarity(options)
