"""`python -m dsgen`: data sets without engine and harness: made, scaled, verified, removed."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from dsgen.choices import Wanted
from dsgen.command import OneLineParser, count_argument, exit_codes, run_command, size_argument
from dsgen.directory import check_capacity
from dsgen.errors import ExitCode
from dsgen.events import Emit, emit_json, notice
from dsgen.remove import remove
from dsgen.scale import MODES, scale_into
from dsgen.size import echo_size, format_size
from dsgen.stand_ins import HOLES_HELP, STAND_IN_SIZE_HELP, STAND_INS, other_file_count
from dsgen.verify import check_sound, verify
from dsgen.workloads import WORKLOADS, plan
from dsgen.write import generate

MODE_HELP = (
    "real bytes again (copy, the default), new samples like them (augment), or the input's blocks "
    "where the file system can share them (clone)"
)


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    emit: Emit = emit_json if options.events else print_event
    return run_command(
        partial(options.run, options, emit), emit_error=emit if options.events else None
    )


def print_event(event: Mapping[str, Any]) -> None:
    """Print an event as a line for a person: notices whole, progress as it grows."""
    if event["kind"] == "notice":
        print(event["text"], flush=True)
    elif event["kind"] == "progress" and event["done_bytes"] == event["total_bytes"]:
        peak = event.get("peak_process_bytes")
        memory = f", at most {format_size(peak)} of memory a process" if peak else ""
        print(f"{event['task']}: {format_size(event['total_bytes'])} done{memory}", flush=True)


def generate_into(
    workload: str,
    directory: Path,
    *,
    size_bytes: int,
    seed: int,
    wanted: Wanted,
    processes: int,
    emit: Emit,
) -> ExitCode:
    """Generate a data set in `directory`, saying first what it will be."""
    if wanted.entropy != "holes":
        check_capacity(size_bytes, directory)
    layout = plan(workload, size_bytes=size_bytes, seed=seed, wanted=wanted)
    emit(notice(f"asked for {echo_size(size_bytes)}"))
    beside = f", and {layout.sidecar_bytes:,} beside" if layout.sidecar_bytes else ""
    emit(
        notice(
            f"{workload} {layout.parameters.format}, law {layout.parameters.law}, seed {seed}: "
            f"{len(layout.files)} files, {layout.samples('train'):,} training and "
            f"{layout.samples('eval'):,} evaluation samples, {layout.data_bytes:,} bytes{beside}"
        )
    )
    if other := other_file_count(layout):
        emit(notice(other))
    smallest = plan(workload, size_bytes=1, seed=seed, wanted=replace(wanted, min_files=0))
    if size_bytes < layout.data_bytes == smallest.data_bytes:
        emit(notice("the size is below that of the smallest data set: this is the smallest"))
    generate(layout, directory, processes=processes, emit=emit)
    return ExitCode.DONE


def available_processes() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def add_wanted(parser: argparse.ArgumentParser, format_flag: str) -> None:
    """Add the flags of `Wanted`; the one of the format has two names."""
    parser.add_argument(
        format_flag, dest="format", metavar="NAME", help="dlrm: text, npz or bin; no default"
    )
    parser.add_argument("--law", metavar="NAME", help="law of sizes; default: the workload's first")
    parser.add_argument(
        "--entropy",
        metavar="NAME",
        help="natural (default), incompressible (imseg, dlrm), or holes (not text, npz)",
    )
    parser.add_argument(
        "--compression", metavar="NAME", help="of dlrm npz: deflate (default) or stored"
    )
    parser.add_argument(
        "--min-files",
        type=count_argument,
        default=0,
        metavar="N",
        help="bert: shorten files so that there are as many",
    )


def wanted_from(options: argparse.Namespace) -> Wanted:
    """Return what the flags of `add_wanted` say."""
    return Wanted(**{field.name: getattr(options, field.name) for field in fields(Wanted)})


def _generate(options: argparse.Namespace, emit: Emit) -> ExitCode:
    return generate_into(
        options.workload,
        options.output,
        size_bytes=options.size,
        seed=options.seed,
        wanted=wanted_from(options),
        processes=options.processes,
        emit=emit,
    )


def _originals(options: argparse.Namespace, emit: Emit) -> ExitCode:
    stand_in = STAND_INS[options.workload]
    size_bytes = options.size or stand_in.bytes
    emit(notice(stand_in.sentence(size_bytes)))
    return generate_into(
        options.workload,
        options.output,
        size_bytes=size_bytes,
        seed=options.seed,
        wanted=stand_in.filled(holes=options.holes),
        processes=options.processes,
        emit=emit,
    )


def _scale(options: argparse.Namespace, emit: Emit) -> ExitCode:
    return scale_into(
        options.workload,
        options.input,
        options.output,
        size_bytes=options.size,
        mode=options.mode,
        seed=options.seed,
        processes=options.processes,
        emit=emit,
    )


def _verify(options: argparse.Namespace, emit: Emit) -> ExitCode:
    findings = verify(options.directory, processes=options.processes, emit=emit)
    check_sound(findings, options.directory)
    emit(notice(f"{options.directory}: every byte is as its manifest says"))
    return ExitCode.DONE


def _remove(options: argparse.Namespace, emit: Emit) -> ExitCode:
    remove(options.directory, emit=emit)
    return ExitCode.DONE


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m dsgen",
        description=__doc__,
        epilog=exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    make = verbs.add_parser("generate", help="make a data set, or continue or repair one")
    make.add_argument("workload", choices=sorted(WORKLOADS))
    make.add_argument("--output", type=Path, required=True, metavar="DIR")
    make.add_argument("--size", type=size_argument, required=True, metavar="SIZE")
    add_wanted(make, "--format")
    make.add_argument("--seed", type=int, default=1, metavar="INT")
    make.set_defaults(run=_generate)
    originals = verbs.add_parser("originals", help="lay out an original's names and sizes")
    originals.add_argument("workload", choices=sorted(STAND_INS))
    originals.add_argument("--output", type=Path, required=True, metavar="DIR")
    originals.add_argument("--size", type=size_argument, metavar="SIZE", help=STAND_IN_SIZE_HELP)
    originals.add_argument("--holes", action="store_true", help=HOLES_HELP)
    originals.add_argument("--seed", type=int, default=1, metavar="INT", help="of the content")
    originals.set_defaults(run=_originals)
    larger = verbs.add_parser("scale", help="enlarge a data set of yours, or continue or repair it")
    larger.add_argument("workload", choices=sorted(WORKLOADS))
    larger.add_argument("--input", type=Path, required=True, metavar="PATH")
    larger.add_argument("--output", type=Path, required=True, metavar="DIR")
    larger.add_argument("--size", type=size_argument, required=True, metavar="SIZE")
    larger.add_argument("--mode", choices=MODES, default=MODES[0], help=MODE_HELP)
    larger.add_argument("--seed", type=int, default=1, metavar="INT")
    larger.set_defaults(run=_scale)
    check = verbs.add_parser("verify", help="read every byte and compare with the manifest")
    check.add_argument("directory", type=Path)
    check.set_defaults(run=_verify)
    delete = verbs.add_parser("remove", help="delete one data set")
    delete.add_argument("directory", type=Path)
    delete.set_defaults(run=_remove, processes=1)
    for verb in (make, originals, larger, check):
        verb.add_argument("--processes", type=count_argument, default=available_processes())
    for verb in (make, originals, larger, check, delete):
        verb.add_argument("--events", action="store_true", help="JSON lines on standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
