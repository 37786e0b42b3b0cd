"""`python -m harness`: the way in, which answers signals by their exit codes from the start."""

import sys

from dsgen.command import leave_when_stopped
from dsgen.errors import ExitCode


def main() -> ExitCode:
    """Run the command that the arguments name and return its exit code."""
    leave_when_stopped()
    # Only here, because it takes half a second, in which a signal may arrive.
    from harness.commands import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
