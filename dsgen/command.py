"""What every command line here does alike: one-line errors, exit codes, signals."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn

from dsgen.errors import (
    EXIT_CODE_MEANING,
    ExitCode,
    FeedrateError,
    PathError,
    StopRequested,
    UsageError,
)
from dsgen.events import Emit
from dsgen.events import error as error_event
from dsgen.outlet import standard_outlets
from dsgen.signals import STOPPING, heeded
from dsgen.size import parse_size

CONTINUES: Final = "stopped; the same command continues"


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the exit code of usage errors."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where to read more, and exit."""
        self.exit(ExitCode.USAGE, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def exit_codes() -> str:
    """Return the exit codes as the lines that `--help` ends with."""
    return "exit codes:\n" + "\n".join(
        f"  {code:3} {text}" for code, text in EXIT_CODE_MEANING.items()
    )


def size_argument(text: str) -> int:
    """Parse a size for argparse."""
    return _argument(parse_size, text)


def count_argument(text: str) -> int:
    """Parse a whole number of at least 1 for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def run_command(
    run: Callable[[], ExitCode],
    *,
    emit_error: Emit | None = None,
    when_stopped: str = CONTINUES,
) -> ExitCode:
    """Call `run`, and turn expected failures and signals into a line and an exit code.

    Nothing that `run` prints can end it. Output that is lost is an error only if somebody may miss
    it (a full disk, not a reader that has gone), and if nothing else went wrong.
    """
    with standard_outlets() as (output, _):
        code = _answer(run, emit_error, when_stopped)
        output.flush()
        if output.missed and code is ExitCode.DONE:
            what = f"cannot write to standard output ({output.missed})"
            then = "what was asked for is done"
            lost = PathError(what, where=f"its last line, {output.last}", then=then)
            sys.stderr.write(f"error: {lost}\n")
            return lost.exit_code
        return code


def _answer(run: Callable[[], ExitCode], emit_error: Emit | None, when_stopped: str) -> ExitCode:
    before = {number: signal.signal(number, _stop) for number in heeded()}
    try:
        return run()
    except FeedrateError as error:
        sys.stderr.write(f"error: {error}\n")
        if emit_error is not None:
            emit_error(error_event(error.exit_code, str(error)))
        return error.exit_code
    except StopRequested as stop:
        sys.stderr.write(f"{stop.left or when_stopped}\n")
        return stop.exit_code
    except Exception:  # a bug: shown whole, under the exit code that says so
        traceback.print_exc()
        return ExitCode.BUG
    finally:
        for number, handler in before.items():
            # Ignored once one has come, and so to the end.
            if signal.getsignal(number) is _stop:
                signal.signal(number, handler)


def leave_when_stopped() -> None:
    """Let the signals that stop end this process at once: there is nothing yet to put away."""
    for number in heeded():
        signal.signal(number, lambda number, _: os._exit(128 + number))


def _stop(number: int, _: FrameType | None) -> None:
    for other in STOPPING:
        signal.signal(other, signal.SIG_IGN)  # putting away is not interrupted again
    raise StopRequested(number)


def _argument(parse: Callable[[str], int], text: str) -> int:
    try:
        return parse(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
