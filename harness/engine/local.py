"""Jobs as plain processes of this machine, for where there is no container engine."""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.engine import Job, JobExit
from harness.engine.deferral import Deferral
from harness.engine.mounts import create_mounts
from harness.engine.output import Output
from harness.engine.process import ProcessGroup
from harness.engine.supervise import supervise
from harness.errors import ConfigError

_ROOT = Path(__file__).parents[2]


class LocalEngine:
    """The same command lines as the containers', in the environment that runs the harness."""

    name = "local"

    def __init__(self, *, reason: str) -> None:
        self.reason = reason

    def prepare(self, say: Callable[[str], None]) -> None:
        """Say what it means to run here; there is nothing to build."""
        say(f"jobs run as processes with {sys.executable}: no memory limit, no isolation")

    def run(self, job: Job, on_line: Callable[[str], None]) -> JobExit:
        """Run `job` as a process group.

        Raises:
            ConfigError: the job has a limit of memory or reads, which plain processes cannot keep.
            TargetError: a directory or the log cannot be made.
            StopRequested: as it came; the group has ended.
        """
        if job.memory_bytes is not None:
            what = "a memory limit needs a container"
            then = "use --engine docker, or leave out --memory"
            raise ConfigError(what, where=f"--engine local ({self.reason})", then=then)
        if job.read_limits:
            what, then = "a read limit needs a container", "use --engine docker"
            raise ConfigError(what, where=f"--engine local ({self.reason})", then=then)
        create_mounts(job.mounts)
        command = [sys.executable, *job.arguments]
        environment = _environment(os.environ, job.environment)
        with Deferral() as signals:
            group = ProcessGroup.start(command, environment)
            try:
                output = Output(stdout=group.stdout, stderr=group.stderr, log=job.log)
                output.start()
                with signals.let_in():
                    timed_out = supervise(group, output, on_line, job.timeout_s, job.is_over)
            finally:
                code = group.end()
        return JobExit(code=code, timed_out=timed_out, tail=output.tail)

    def facts(self) -> dict[str, Any]:
        """Return the interpreter that runs the jobs."""
        return {"python": platform.python_version(), "executable": sys.executable}


def _environment(ours: Mapping[str, str], jobs: Mapping[str, str]) -> dict[str, str]:
    """Return our environment and the job's, with this code importable from anywhere."""
    path = os.pathsep.join(filter(None, [str(_ROOT), ours.get("PYTHONPATH", "")]))
    return {**ours, "PYTHONPATH": path, **jobs}
