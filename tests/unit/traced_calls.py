"""Commands of this machine under strace, and what they did with the files of a data set."""

import re
import subprocess
from pathlib import Path

from harness.trace.calls import Trace, by_thread, calls_of
from harness.trace.strace import OPTIONS, parse
from tests.reference.calls import Call
from tests.unit.worker_run import REPOSITORY

DLRM = re.compile(r".*/(preprocessed\w*\.bin|day_\w+\.npz|train\.txt)")


def run_traced(output: Path, arguments: list[str]) -> Trace:
    """Run a command to its end, and return its Trace; `output` is made for the log."""
    output.mkdir(parents=True, exist_ok=True)
    log = output / "strace.log"
    done = subprocess.run(
        ["strace", *OPTIONS, str(log), *arguments],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with log.open(errors="replace") as lines:
        return parse(lines)


def strace(output: Path, arguments: list[str]) -> list[list[Call]]:
    """Return the calls of each thread that made any on a data file of dlrm."""
    trace = run_traced(output, arguments)
    seen = [traced for traced in trace.calls if DLRM.fullmatch(traced.call.path)]
    return [calls_of(own) for own in by_thread(seen).values()]
