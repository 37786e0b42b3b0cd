"""Where commands run: a container engine or plain processes, behind one protocol.

A job's command line is the same for every engine, because directories are mounted at the path
that they have on the host.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A directory of the host that the job sees at the same absolute path."""

    path: Path
    read_only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One command: `arguments` follow `python` (for instance `-m dsgen generate ...`).

    Args:
        name: short, for container names and messages: `generate-imseg`.
        mounts: what the command may see; data to be read only is mounted so.
        log: receives standard error, line by line.
        read_limits: device -> bytes a second that the job may read of it (of what the page cache
            does not have), to plant a storage of known speed; a container's, as the memory limit.
        memory_bytes: limit for the whole job, page cache included; None for no limit.
        timeout_s: the job is stopped when it takes longer; None waits for ever.
        is_over: says whether the job has told how it ended; it is stopped when it goes on for long.
        extra_processes: how many processes it starts (for pids limits and shm), a hint.
    """

    name: str
    arguments: tuple[str, ...]
    mounts: tuple[Mount, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    read_limits: Mapping[str, int] = field(default_factory=dict)
    memory_bytes: int | None = None
    shm_bytes: int = 1 << 30
    timeout_s: float | None = None
    is_over: Callable[[], bool] = lambda: False


@dataclass(frozen=True, kw_only=True, slots=True)
class JobExit:
    """How a job ended. `tail` holds the last lines of standard error.

    `timed_out` says that it had to be ended: at its time limit, or because it went on for long
    after it had told how it ended. `left_behind` says what could not be ended: something that the
    kernel holds.
    """

    code: int
    out_of_memory: bool = False
    timed_out: bool = False
    left_behind: str = ""
    tail: Sequence[str] = ()


class Engine(Protocol):
    """A place to run jobs. `reason` says why this engine was chosen, for the result."""

    name: str
    reason: str

    def prepare(self, say: Callable[[str], None]) -> None:
        """Make the engine ready (build the image); `say` receives a line at a time.

        Raises:
            EngineError: the engine is absent or too old.
            ImageBuildError: with the build's last lines.
        """

    def run(self, job: Job, on_line: Callable[[str], None]) -> JobExit:
        """Run `job` to its end; `on_line` receives each line of its standard output.

        Whatever ends this call - the job, an error, StopRequested - nothing of the job is left.

        Raises:
            EngineError: the engine was lost while the job ran.
        """

    def facts(self) -> dict[str, Any]:
        """Return what a result should say of the engine: versions, image key, cgroup version."""
