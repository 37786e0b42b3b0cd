"""Run a command that dies with the process that asked for it, with all that it started.

A script, not a module of the package: `python guard.py PARENT_PID COMMAND...`. It leads the
process group of the command. SIGTERM goes on to the command alone, which speaks for its children,
as an init process in a container does. When the parent dies, by SIGKILL too, the kernel tells the
guard, and the guard kills the group. The exit code is the command's, or 128 + its signal.
"""

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1
_PARENT_DIED = signal.SIGUSR1


def main(parent: int, command: list[str]) -> int:
    """Run `command` to its end and return its exit code; `parent` is who must stay alive."""
    signal.signal(_PARENT_DIED, _kill_group)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _PARENT_DIED, 0, 0, 0)
    if os.getppid() != parent:
        return 128 + signal.SIGKILL
    # A terminal's Ctrl-C is the parent's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Until the command is there to hear it, a request to end waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = subprocess.Popen(command, preexec_fn=_with_default_signals)
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    code = child.wait()
    return code if code >= 0 else 128 - code


def _with_default_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _kill_group(_number: int, _frame: FrameType | None) -> None:
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
