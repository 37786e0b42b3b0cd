"""Work that must come to its end although a signal handler may raise at any moment."""

import threading
from collections.abc import Callable
from typing import TypeVar

from harness.errors import StopRequested

Result = TypeVar("Result")


def to_the_end(call: Callable[[], Result]) -> Result:
    """Run `call` in a thread, which no signal handler interrupts, and wait for its end.

    Raises:
        StopRequested: it came meanwhile; `call` has ended all the same.
        BaseException: what `call` raised.
    """
    outcomes: list[Result] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            outcomes.append(call())
        except BaseException as error:  # raised again below, in the thread that asked
            failures.append(error)

    thread = threading.Thread(target=work)
    stop: StopRequested | KeyboardInterrupt | None = None
    while thread.ident is None or thread.is_alive():
        try:
            if thread.ident is None:
                thread.start()
            thread.join()
        except (StopRequested, KeyboardInterrupt) as request:
            stop = request
    if stop is not None:
        raise stop
    if failures:
        raise failures[0]
    return outcomes[0]
