"""Generate a data set: `--output_path DIR --desired_size BYTES --workload imseg|bert|dlrm`."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

try:
    from dsgen.__main__ import (
        add_wanted,
        available_processes,
        generate_into,
        print_event,
        wanted_from,
    )
    from dsgen.command import OneLineParser, count_argument, run_command, size_argument
    from dsgen.errors import ExitCode
    from dsgen.workloads import WORKLOADS
except ModuleNotFoundError as missing:  # the script is run without nox, which installs these
    then = "run `python3 -m pip install .` in this directory"
    sys.stderr.write(f"error: package {missing.name} is not installed: {sys.executable}; {then}\n")
    sys.exit(2)


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Run the command with its original flags; the rest have defaults."""
    parser = OneLineParser(prog="data_generation.py", description=__doc__)
    parser.add_argument("--output_path", type=Path, required=True, metavar="DIR")
    parser.add_argument("--desired_size", type=size_argument, required=True, metavar="BYTES")
    parser.add_argument("--workload", choices=sorted(WORKLOADS), required=True)
    add_wanted(parser, "--data_format")
    parser.add_argument("--seed", type=int, default=1, metavar="INT")
    parser.add_argument("--processes", type=count_argument, default=available_processes())
    options = parser.parse_args(arguments)
    generation = partial(
        generate_into,
        options.workload,
        options.output_path,
        size_bytes=options.desired_size,
        seed=options.seed,
        wanted=wanted_from(options),
        processes=options.processes,
        emit=print_event,
    )
    return run_command(generation)


if __name__ == "__main__":
    sys.exit(main())
