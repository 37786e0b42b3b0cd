"""A planted cause, what is expected of the run, and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dsgen.errors import FeedrateError
from harness.analysis.epoch import Epoch
from harness.analysis.result import Result
from harness.worker.spec import Cache, Planted


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a run left: its result, the measured epochs, and why it ended where it did not end well.

    `declined` is why the cause could not be planted here.
    """

    result: Result | None = None
    epochs: tuple[Epoch, ...] = ()
    error: FeedrateError | None = None
    declined: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Whether the figures and the verdict follow from the cause, and the figures."""

    passed: bool
    figures: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """What is planted in a training of two accelerators.

    Args:
        name: as it is printed.
        step_s: declared time of a step.
        check: looks at what came of it.
        steps: of an epoch.
        epochs: of the run.
        cache: cold, or what else is planted.
        planted: in the worker.
        read_bytes_per_s: of the storage, where it is slowed down.
        memory_bytes: limit of the job.
        neighbours: processes for each core that never wait.
    """

    name: str
    step_s: float
    check: Callable[[Outcome], Finding]
    steps: int = 8
    epochs: int = 1
    cache: Cache = "cold"
    planted: Planted | None = None
    read_bytes_per_s: int | None = None
    memory_bytes: int | None = None
    neighbours: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """How a slow storage is made here: a device that a container may be held to, or none."""

    device: str | None
    reason: str

    def limits(self, cause: Cause) -> Mapping[str, int]:
        """Return the device's limit, nothing where there is none."""
        if self.device is None or cause.read_bytes_per_s is None:
            return {}
        return {self.device: cause.read_bytes_per_s}

    def planted(self, cause: Cause) -> Planted | None:
        """Return what the worker has to do itself."""
        if self.device is None and cause.read_bytes_per_s is not None:
            return Planted(read_bytes_per_s=cause.read_bytes_per_s)
        return cause.planted
