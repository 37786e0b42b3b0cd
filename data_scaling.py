"""Enlarge a data set: `--input_path PATH --output_path DIR --desired_size BYTES --workload W`."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

try:
    from dsgen.__main__ import MODE_HELP, available_processes, print_event
    from dsgen.command import OneLineParser, count_argument, run_command, size_argument
    from dsgen.errors import ExitCode
    from dsgen.scale import MODES, scale_into
    from dsgen.workloads import WORKLOADS
except ModuleNotFoundError as missing:  # the script is run without nox, which installs these
    then = "run `python3 -m pip install .` in this directory"
    sys.stderr.write(f"error: package {missing.name} is not installed: {sys.executable}; {then}\n")
    sys.exit(2)


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Run the command with its original flags; the rest have defaults."""
    parser = OneLineParser(prog="data_scaling.py", description=__doc__)
    parser.add_argument("--input_path", type=Path, required=True, metavar="PATH")
    parser.add_argument("--output_path", type=Path, required=True, metavar="DIR")
    parser.add_argument("--desired_size", type=size_argument, required=True, metavar="BYTES")
    parser.add_argument("--workload", choices=sorted(WORKLOADS), required=True)
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help=MODE_HELP)
    parser.add_argument("--seed", type=int, default=1, metavar="INT")
    parser.add_argument("--processes", type=count_argument, default=available_processes())
    options = parser.parse_args(arguments)
    scaling = partial(
        scale_into,
        options.workload,
        options.input_path,
        options.output_path,
        size_bytes=options.desired_size,
        mode=options.mode,
        seed=options.seed,
        processes=options.processes,
        emit=print_event,
    )
    return run_command(scaling)


if __name__ == "__main__":
    sys.exit(main())
