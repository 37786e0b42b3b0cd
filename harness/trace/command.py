"""The verb `trace`: a log of strace becomes a recording."""

import argparse
import sys
from pathlib import Path

from dsgen.command import OneLineParser, size_argument
from dsgen.errors import ExitCode
from harness.trace.importing import RECORD, Import, import_trace, parse_map

_EXAMPLE = f"""record and import a training of yours:
  {RECORD}
  python -m harness trace --import LOG --map 'case_*_x.npy=x' --map 'case_*_y.npy=y' --output DIR

A training that leaves an empty file rank-RRRRR-train-EEEEE-SSSSS (or -eval-) whenever rank R has
the batch of step S of epoch E lets its calls be told apart by epoch and phase.
"""


def add_trace_verb(verbs: "argparse._SubParsersAction[OneLineParser]") -> None:
    """Add the verb to those of the command line."""
    parser = verbs.add_parser(
        "trace",
        help="make a recording of a log of strace",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--import", dest="log", type=Path, required=True, metavar="LOG", help="what strace wrote"
    )
    parser.add_argument(
        "--map",
        action="append",
        required=True,
        metavar="PATTERN=CLASS[:ROLE]",
        help="files that count, by path or name, and what they are: x, y, record, row, day, line, "
        "checkpoint; roles train (default), eval; repeatable, the first that matches decides",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the directory to make"
    )
    parser.add_argument(
        "--readers",
        choices=("thread", "process"),
        default="thread",
        help="who reads: each thread, or a process whose threads take turns, as tf.data's do",
    )
    parser.add_argument(
        "--memory",
        type=size_argument,
        metavar="SIZE",
        help="of the machine or the limit: without it times are not compared",
    )
    parser.add_argument("--partial", action="store_true", help="take a log that was cut off")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, _: tuple[str, ...]) -> ExitCode:
    wanted = Import(
        log=options.log,
        maps=tuple(parse_map(text) for text in options.map),
        output=options.output,
        readers=options.readers,
        memory_bytes=options.memory,
        partial=options.partial,
    )
    print(import_trace(wanted, lambda line: print(line, file=sys.stderr, flush=True)))
    return ExitCode.DONE
