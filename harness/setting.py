"""What every step of a command works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.config import Config
from harness.engine import Engine
from harness.progress import Progress
from harness.system import SystemFacts
from harness.target import Target
from harness.worker.spec import Planted


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The configuration, and what it came to on this machine.

    `notices` are sentences of the echo that a result repeats. `planted` and `read_limits`, bytes/s
    of a device, are None and empty but in tests of the verdict.
    """

    config: Config
    target: Target
    system: SystemFacts
    engine: Engine
    progress: Progress
    command: tuple[str, ...]
    notices: tuple[str, ...] = ()
    planted: Planted | None = None
    read_limits: Mapping[str, int] = field(default_factory=dict)
