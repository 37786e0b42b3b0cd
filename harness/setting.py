"""What every step of a command works with."""

from dataclasses import dataclass

from harness.config import Config
from harness.engine import Engine
from harness.progress import Progress
from harness.system import SystemFacts
from harness.target import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The configuration, and what it came to on this machine.

    `notices` are sentences of the echo that a result repeats.
    """

    config: Config
    target: Target
    system: SystemFacts
    engine: Engine
    progress: Progress
    command: tuple[str, ...]
    notices: tuple[str, ...] = ()
