"""`python -m harness.worker SPEC.json`: run one training; events go to standard output."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dsgen.errors import ExitCode, FeedrateError, UsageError
from dsgen.events import emit_json, error
from harness.worker.failure import Stop
from harness.worker.spec import WorkerSpec
from harness.worker.training import run_training


def main(arguments: Sequence[str]) -> int:
    """Run the training that the only argument describes and return the exit code."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        run_training(_read_spec(arguments), emit_json)
    except FeedrateError as failure:
        emit_json(error(failure.exit_code, str(failure)))
        sys.stderr.write(f"{failure}\n")
        return failure.exit_code
    except Stop as stop:
        sys.stderr.write("interrupted; what was recorded is kept\n")
        return stop.exit_code
    return ExitCode.DONE


def _stop(number: int, _frame: object) -> NoReturn:
    # Once: the ranks are being ended and the recording written when a second one arrives.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stop(number)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
