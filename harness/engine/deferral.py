"""Signals that wait: what was created must be known and removed, whenever one arrives."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from dsgen.signals import heeded

Handler = Callable[[int, FrameType | None], Any] | int | None


class Deferral:
    """Within it, the signals that stop wait; they arrive in `let_in`, or at the end.

    A handler that raises could otherwise do so between the creation of a thing and the note that
    it exists, or within the `finally` that removes it. Only the main thread runs handlers, so
    that elsewhere there is nothing to do.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Handler] = {}
        self._arrived: list[int] = []

    def __enter__(self) -> "Deferral":
        self._hold()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._release()

    @contextmanager
    def let_in(self) -> Iterator[None]:
        """Let signals arrive while what can be interrupted runs."""
        try:
            self._release()
            yield
        finally:
            self._hold()

    def _hold(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        # Asked anew each time: a handler that ran may have put another in its place.
        self._handlers = {number: signal.getsignal(number) for number in heeded()}
        for number in self._handlers:
            signal.signal(number, self._note)

    def _release(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        while self._arrived:
            signal.raise_signal(self._arrived.pop(0))

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # A second one of its kind says nothing new.
        if number not in self._arrived:
            self._arrived.append(number)
