"""Work in several processes, one task at a time each, with every death noticed.

Processes are forked, so that `work` needs no pickling and numpy is loaded once. Not
concurrent.futures: its workers outlive a parent that is killed, and cannot be ended at once.
"""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import reprlib
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, TypeVar, cast

from dsgen.errors import ExitCode, FeedrateError, WriterDiedError
from dsgen.signals import STOPPING, held

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_PR_SET_PDEATHSIG = 1
# How long a signal may wait for an answer, and a process for its end.
_HEED_EVERY_S = 0.1
_GRACE_S = 5.0


def run_parallel(
    tasks: Iterable[Task], work: Callable[[Task], Outcome], processes: int
) -> Iterator[Outcome]:
    """Yield the outcome of `work` for every task, in the order in which they finish.

    Leaving the iteration early, by an error or a signal, ends all processes at once.

    Raises:
        WriterDiedError: a process died; the task is named by its repr.
        FeedrateError: what `work` raised, as it raised it.
    """
    # What is there stays, a plan of a million files say. Each full collection would walk it again,
    # here and in every process, which would copy its pages.
    gc.freeze()
    remaining = iter(tasks)
    crew: dict[Connection, tuple[ForkProcess, Task]] = {}
    with held() as heed:
        try:
            for task in _take(remaining, processes):
                connection, process = _start(work)
                crew[connection] = (process, task)
                _send(connection, task)
            while crew:
                heed()
                for ready in wait(list(crew), _HEED_EVERY_S):
                    connection = cast(Connection, ready)
                    process, task = crew[connection]
                    outcome = _outcome(connection, process, task)
                    # The process works again while the caller does something with the outcome.
                    for following in _take(remaining, 1):
                        crew[connection] = (process, following)
                        _send(connection, following)
                        break
                    else:
                        del crew[connection]
                        _send(connection, None)
                        process.join()
                    yield outcome
        finally:
            _end([process for process, _ in crew.values()])


def _end(processes: list[ForkProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_GRACE_S)
        process.kill()
        process.join()


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when `parent`, who forked it, ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked to be told
        os._exit(ExitCode.RANK_DIED)


def _take(remaining: Iterator[Task], count: int) -> Iterator[Task]:
    for _ in range(count):
        try:
            yield next(remaining)
        except StopIteration:
            return


def _send(connection: Connection, task: object) -> None:
    # A process that has died meanwhile is noticed, and explained, where its outcome is awaited.
    with contextlib.suppress(BrokenPipeError):
        connection.send(task)


def _start(work: Callable[[Any], Any]) -> tuple[Connection, ForkProcess]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, ours, work, os.getpid()), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _serve(
    connection: Connection, parents_end: Connection, work: Callable[[Any], Any], parent: int
) -> None:
    die_with_parent(parent)
    # A terminal's Ctrl-C or end reaches the whole group; the parent alone decides what it means.
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL if number is signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # held since before the fork
    parents_end.close()
    while True:
        # None ends the work. A closed pipe would not: later children hold copies of this end.
        if (task := connection.recv()) is None:
            return
        try:
            connection.send((work(task), None))
        except FeedrateError as error:
            connection.send((None, error))


def _outcome(connection: Connection, process: ForkProcess, task: object) -> Any:
    try:
        outcome, error = connection.recv()
    except (EOFError, ConnectionResetError) as lost:
        process.join()
        how = f"exit code {process.exitcode}"
        if process.exitcode is not None and process.exitcode < 0:
            how = signal.Signals(-process.exitcode).name
        then = "run the same command again to continue; if it was SIGKILL, check memory"
        raise WriterDiedError(
            f"a process died ({how})", where=f"task {reprlib.repr(task)}", then=then
        ) from lost
    if error is not None:
        raise error
    return outcome
