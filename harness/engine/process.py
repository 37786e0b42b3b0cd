"""A command as a process group: it ends as a whole, and never outlives this process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

_GUARD = Path(__file__).with_name("guard.py")
_CHUNK_BYTES = 1 << 16


class ProcessGroup:
    """A command under its guard, in a session of its own; `stdout` and `stderr` are chunks."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        errors_to: int = subprocess.PIPE,
    ) -> "ProcessGroup":
        """Start `command`, in a thread that lives as long as the command may.

        `errors_to` is where standard error goes: subprocess.PIPE, to be read, or STDOUT.
        """
        guarded = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *command]
        return cls(
            subprocess.Popen(
                guarded,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors_to,
                start_new_session=True,
            )
        )

    @property
    def stdout(self) -> Iterator[bytes]:
        """What the command writes to standard output."""
        return _chunks(self._process.stdout)

    @property
    def stderr(self) -> Iterator[bytes]:
        """What the command writes to standard error."""
        return _chunks(self._process.stderr)

    def alive(self) -> bool:
        """Return whether the command still runs; it is not reaped, so that its id stays ours."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, options) is None

    def terminate(self) -> None:
        """Send SIGTERM to the command, and let go on whatever of the group was stopped.

        A stopped process hears a request to end only when it goes on, and who ends it by force
        waits for it first.
        """
        self._process.send_signal(signal.SIGTERM)
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill what is left of the group."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until the command has ended, and return its exit code as `end` does."""
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return self.end()

    def end(self) -> int:
        """Kill what is left, and return the exit code as a container would: 128 + signal."""
        self.kill()
        code = self._process.wait()
        return code if code >= 0 else 128 - code


def _chunks(stream: IO[bytes] | None) -> Iterator[bytes]:
    pipe = cast(IO[bytes], stream)
    with pipe:
        while chunk := os.read(pipe.fileno(), _CHUNK_BYTES):
            yield chunk
