"""`python -m harness.worker SPEC.json`: run one training; events go to standard output."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from dsgen.command import run_command
from dsgen.errors import ExitCode, UsageError
from dsgen.events import emit_json
from harness.worker.spec import WorkerSpec
from harness.worker.training import run_training


def main(arguments: Sequence[str]) -> ExitCode:
    """Run the training that the only argument describes and return the exit code."""
    return run_command(
        partial(_run, arguments),
        emit_error=emit_json,
        when_stopped="interrupted; what was recorded is kept",
    )


def _run(arguments: Sequence[str]) -> ExitCode:
    run_training(_read_spec(arguments), emit_json)
    return ExitCode.DONE


def _read_spec(arguments: Sequence[str]) -> WorkerSpec:
    if len(arguments) != 1:
        raise UsageError(
            "one argument expected", where=repr(list(arguments)), then="give SPEC.json"
        )
    path = Path(arguments[0])
    try:
        return WorkerSpec.read(path)
    except OSError as failure:
        what = f"cannot read ({failure.strerror})"
        raise UsageError(what, where=str(path), then="give a readable SPEC.json") from failure
    except (ValueError, KeyError, TypeError) as failure:
        what = f"not a worker's spec ({failure})"
        raise UsageError(
            what, where=str(path), then="write it with WorkerSpec.to_json"
        ) from failure


def _leave(code: ExitCode) -> NoReturn:
    """End this process, though a rank may be left that nothing ends: Python would wait for it."""
    if multiprocessing.active_children():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    _leave(main(sys.argv[1:]))
