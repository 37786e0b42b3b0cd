"""What the events of a job look like to the person who waits for it."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Annotated, Any, Final, Self, TextIO

import msgspec
from msgspec import Meta

from dsgen.errors import ExitCode
from dsgen.events import event_line, notice
from harness.display import BarDisplay, Display, LineDisplay
from harness.pace import Pace, rate, time_left

# Whatever a job prints, arithmetic on it stays finite.
Total = Annotated[int, Meta(ge=0, le=2**62)]
Seconds = Annotated[float, Meta(ge=0, le=1e10)]


class ProgressEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="progress"):
    """Bytes done of a task, see `dsgen.events.progress`."""

    task: str
    done_bytes: Total
    total_bytes: Total


class TrainEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="train"):
    """Where training stands; `bytes` and `elapsed_s` are totals since it began.

    `au` and `bytes_per_s` are those of the steps so far, by the definitions of a result; None
    before there are any. `waits` is what is waited for, once nothing has moved for a while.
    """

    epoch: Total
    epochs: Total
    step: Total
    steps: Total
    phase: str
    bytes: Total
    elapsed_s: Seconds
    au: Annotated[float, Meta(ge=0, le=1e3)] | None = None
    bytes_per_s: Annotated[float, Meta(ge=0, le=1e18)] | None = None
    waits: str | None = None


class NoticeEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="notice"):
    """A sentence that the user should read."""

    text: str


class ErrorEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="error"):
    """An expected failure, said before the job ends."""

    exit_code: ExitCode
    text: str


Event = ProgressEvent | TrainEvent | NoticeEvent | ErrorEvent
_DECODER: Final = msgspec.json.Decoder(Event)
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeEncodeError, RecursionError)


class Progress:
    """Take the lines that jobs print, show how they get on, and keep the last error.

    Args:
        stream: for people, standard error as a rule.
        is_terminal: bars instead of lines.
        events: where events go on as they came, and all else as notices; then nothing is shown.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        is_terminal: bool,
        events: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.last_error: ErrorEvent | None = None
        self._events = events
        self._clock = clock
        # Bars redraw lines; among passed-on events they would tear.
        bars = is_terminal and events is None
        self._display: Display = BarDisplay(stream) if bars else LineDisplay(stream, clock)
        self._starts: dict[str, tuple[float, int]] = {}

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._display.__exit__(kind, error, trace)

    def line(self, text: str) -> None:
        """Take one line of a job's output; what is no event is shown as it is."""
        text = text.rstrip("\r\n")
        event = parse_event(text)
        # A job may say more than one; the last is the one it ended with.
        if isinstance(event, ErrorEvent):
            self.last_error = event
        if self._events is not None and (event is not None or _has_kind(text)):
            print(text, file=self._events, flush=True)
        elif event is None:
            self.say(text)
        else:
            self._show(event)

    def say(self, text: str) -> None:
        """Show a sentence, above bars if there are any; a blank one is left out."""
        if not text.strip():
            return
        if self._events is not None:
            print(event_line(notice(text)), file=self._events, flush=True)
        else:
            self._display.say(text)

    def end(self, outcome: Mapping[str, Any]) -> None:
        """Say where the outcome lies: by its event, or its bare path on standard output."""
        # Bars would share the line.
        self._display.__exit__(None, None, None)
        if self._events is not None:
            print(event_line(outcome), file=self._events, flush=True)
        else:
            print(outcome["path"], flush=True)

    def _show(self, event: Event) -> None:
        match event:
            case NoticeEvent(text=text):
                self.say(text)
            case TrainEvent():
                mark = (event.epoch, event.phase, event.waits is None)
                self._display.show("train", train_pace(event), mark)
            case ProgressEvent():
                pace = self._byte_pace(event)
                self._display.show(event.task, pace, int(pace.fraction * 10))
            case ErrorEvent():
                pass  # said once, by whoever ends the run with its exit code

    def _byte_pace(self, event: ProgressEvent) -> Pace:
        """Return the pace since the task's first event: what was done before it took no time."""
        now_s = self._clock()
        started_s, first_bytes = self._starts.setdefault(event.task, (now_s, event.done_bytes))
        return byte_pace(event, elapsed_s=now_s - started_s, first_bytes=first_bytes)


def parse_event(text: str) -> Event | None:
    """Return the event that a line is, None if it is none.

    >>> parse_event('{"kind":"notice","text":"hello"}')
    NoticeEvent(text='hello')
    """
    try:
        event: Event = _DECODER.decode(text)
    except _NOT_JSON:
        return None
    return event


def _has_kind(text: str) -> bool:
    """Return whether the line is an event of a kind that is not known here."""
    try:
        value = msgspec.json.decode(text)
    except _NOT_JSON:
        return False
    return isinstance(value, dict) and isinstance(value.get("kind"), str)


def byte_pace(event: ProgressEvent, *, elapsed_s: float, first_bytes: int) -> Pace:
    """Return the pace of a task that had done `first_bytes` when the clock started."""
    fresh_bytes = event.done_bytes - first_bytes
    rest_bytes = event.total_bytes - first_bytes
    fraction = event.done_bytes / event.total_bytes if event.total_bytes else 1.0
    return Pace(
        label=event.task,
        fraction=min(1.0, fraction),
        bytes_per_s=rate(fresh_bytes, elapsed_s),
        left_s=time_left(fresh_bytes, rest_bytes, elapsed_s),
    )


def train_pace(event: TrainEvent) -> Pace:
    """Return the pace of training: steps of all epochs, bytes over all the time it took.

    Only phase `train` counts steps of an epoch; eviction comes before them, all else after.
    """
    part = event.step / event.steps if event.steps else 0.0
    within = {"train": part, "evict": 0.0}.get(event.phase, 1.0)
    fraction = (event.epoch - 1 + within) / event.epochs if event.epoch and event.epochs else 0.0
    where = f"{event.phase} epoch {event.epoch}/{event.epochs}"
    return Pace(
        label=f"{where} step {event.step}/{event.steps}" if event.steps else where,
        fraction=min(1.0, fraction),
        # Before the first step has ended there are bytes, but no window that they belong to.
        bytes_per_s=event.bytes_per_s or rate(event.bytes, event.elapsed_s),
        left_s=time_left(min(1.0, fraction), 1.0, event.elapsed_s),
        au=event.au,
        waits=event.waits,
    )
