"""Two ways to show how tasks advance: bars on a terminal, and lines that a log can keep."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from harness.pace import Pace

# A log gets a line for each tenth or epoch, and between them a sign of life: often enough for a
# person who watches, seldom enough for a run of a week.
_SIGN_OF_LIFE_S: Final = 30.0


class Display(Protocol):
    """Something that shows paces and sentences."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, and leave the stream at the start of a line."""

    def say(self, text: str) -> None:
        """Show a sentence that stays."""

    def show(self, task: str, pace: Pace, mark: object) -> None:
        """Show where `task` stands; `mark` changes where a log should have a line."""


@dataclass(slots=True)
class _Shown:
    """What was last written about a task."""

    mark: object
    at_s: float


class LineDisplay:
    """Write a line at every new mark, and one when nothing was written for a while."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._shown: dict[str, _Shown] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def say(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._stream, flush=True)

    def show(self, task: str, pace: Pace, mark: object) -> None:
        """Write the pace if its mark is new or the last line is old."""
        now_s = self._clock()
        last = self._shown.get(task)
        if last is None or last.mark != mark or now_s - last.at_s >= _SIGN_OF_LIFE_S:
            self._shown[task] = _Shown(mark=mark, at_s=now_s)
            self.say(pace.text())


class BarDisplay:
    """Draw a bar for each task. Nothing runs in the background: bars move when events come."""

    def __init__(self, stream: TextIO) -> None:
        # A thread of rich's own would be forked into the processes that the harness starts.
        self._progress = Progress(
            BarColumn(bar_width=16),
            # What is waited for is longer than a line, and the end of it tells for how long.
            TextColumn(
                "{task.description}", markup=False, table_column=Column(overflow="fold", ratio=1)
            ),
            console=Console(file=stream, force_terminal=True),
            auto_refresh=False,
            expand=True,
            redirect_stdout=False,  # it would come out at our stream
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Write a line above the bars, as it is."""
        self._progress.console.print(Text(text), soft_wrap=True)

    def show(self, task: str, pace: Pace, mark: object) -> None:  # noqa: ARG002 - bars always move
        """Move the task's bar."""
        if task not in self._tasks:
            self._tasks[task] = self._progress.add_task(pace.text(), total=1.0)
        self._progress.update(
            self._tasks[task], completed=pace.fraction, description=pace.text(), refresh=True
        )
