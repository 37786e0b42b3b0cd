"""What every step of a command works with."""

from dataclasses import dataclass
from pathlib import Path

from harness.analysis.repeat import Repeat
from harness.config import Config
from harness.engine import Engine
from harness.progress import Progress
from harness.system import SystemFacts
from harness.target import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The configuration, and what it came to on this machine.

    `notices` are sentences of the echo that a result repeats; `repeat` is which run of a group a
    training is, None where it is no group.
    """

    config: Config
    target: Target
    system: SystemFacts
    engine: Engine
    progress: Progress
    command: tuple[str, ...]
    notices: tuple[str, ...] = ()
    repeat: Repeat | None = None

    @property
    def order_seed(self) -> int:
        """Seed of a training's order and step times: the data set's, but for repeats."""
        return self.config.seed if self.repeat is None else self.repeat.seed

    @property
    def home(self) -> Path:
        """Directory in which the results of this command lie, each in its own."""
        home = self.config.results / self.config.workload
        return home if self.repeat is None else home / self.repeat.group
