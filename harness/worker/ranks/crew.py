"""The parent of the ranks: starts them, watches them, and lets none outlive the others."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, ForkProcess
from pathlib import Path

from dsgen.errors import ExitCode, FeedrateError
from dsgen.signals import STOPPING
from harness.worker.failure import RankDiedError, RankError
from harness.worker.host.vitals import Vitals, vitals
from harness.worker.ranks.loop import Job
from harness.worker.ranks.rank import Outcome, run_rank
from harness.worker.recording.ledger import Ledger

# What ranks get to write what they recorded, before they are killed.
GRACE_S = 5.0
TICK_S = 1.0
# After a kill the kernel needs a moment; who is there after that is held in it.
KILLED_S = 5.0


@dataclass(kw_only=True, slots=True)
class Member:
    """One rank as its parent sees it."""

    rank: int
    process: ForkProcess
    connection: Connection
    outcome: Outcome | None = None
    ended: bool = False
    saved_rows: int | None = None

    def save(self, ledger: Ledger, out_dir: Path) -> None:
        """Write for a rank that could not itself; where nothing can be written, that is told."""
        if self.outcome is None or self.outcome.rows is None:
            with suppress(OSError):
                self.saved_rows = ledger.save(out_dir)

    def failure(self) -> FeedrateError | None:
        """Return why a rank failed, None if it did not; one that has not ended cannot be ended."""
        if not self.ended:
            then = "it goes when what it waits for comes back; what it recorded is kept"
            where = f"process {self.process.pid}, which the kernel holds"
            return RankDiedError(f"rank {self.rank} cannot be ended", where=where, then=then)
        code, outcome = self.process.exitcode, self.outcome
        if code == 0 and outcome is not None and outcome.status == "ok":
            return None
        if outcome is not None and outcome.error and outcome.exit_code is not ExitCode.BUG:
            return RankError(outcome.exit_code, outcome.error)
        how = f"exit code {code}"
        if code is not None and code < 0:
            how = f"killed by {signal.Signals(-code).name}"
        if outcome is not None and outcome.error:
            how = f"{how}, {outcome.error}"
        then = "see its standard error; what was recorded is kept"
        return RankDiedError(f"rank {self.rank} died", where=how, then=then)

    def wake(self) -> None:
        """Let a rank that was stopped go on, so that it can put away what it has."""
        if self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGCONT)


class Crew:
    """The ranks of a run, as forked processes.

    Args:
        context: of the processes and of what they share.
        job: theirs.
    """

    def __init__(self, context: ForkContext, job: Job) -> None:
        self._context = context
        self._job = job
        self.members: list[Member] = []

    def start(self) -> None:
        """Fork every rank.

        Raises:
            RankDiedError: the system allows no further process, or no further open file.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until a rank has its own handlers
        try:
            for rank in range(self._job.spec.accelerators):
                self.members.append(self._fork(rank))
        except OSError as error:
            where = f"rank {len(self.members)} ({error.strerror})"
            then = "raise the limits (ulimit -u, ulimit -n), or use fewer accelerators"
            raise RankDiedError("a rank cannot be started", where=where, then=then) from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def watch(self, tick: Callable[[], None]) -> None:
        """Return when every rank has ended well; call `tick` about once a second meanwhile.

        Raises:
            RankError: a rank met an expected error.
            RankDiedError: a rank died of something else, or was killed.
        """
        next_tick_s = time.monotonic()
        while any(not member.ended for member in self.members):
            self._collect(next_tick_s - time.monotonic())
            for member in self.members:
                if member.ended and (failure := member.failure()):
                    raise failure
            if time.monotonic() >= next_tick_s:
                tick()
                next_tick_s = time.monotonic() + TICK_S

    def stop(self) -> None:
        """End every rank that still runs: with a word first, by force after `GRACE_S`.

        One that the kernel holds ends by neither, and is left: its `ended` stays False.
        """
        for member in self._running():
            member.process.terminate()
            member.wake()
        self._collect_for(GRACE_S)
        for member in self._running():
            member.process.kill()
        self._collect_for(KILLED_S)
        for member, ledger in zip(self.members, self._job.ledgers, strict=False):
            member.save(ledger, Path(self._job.spec.out_dir))

    def vitals(self) -> list[Vitals | None]:
        """Return those of every rank, None for one that has ended."""
        return [
            None if member.ended or member.process.pid is None else vitals(member.process.pid)
            for member in self.members
        ]

    def _collect_for(self, seconds: float) -> None:
        deadline_s = time.monotonic() + seconds
        while self._running() and (left_s := deadline_s - time.monotonic()) > 0:
            self._collect(left_s)

    def _fork(self, rank: int) -> Member:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=run_rank,
            args=(self._job, rank, os.getpid(), theirs),
            name=f"rank-{rank}",
            daemon=True,
        )
        process.start()
        theirs.close()
        return Member(rank=rank, process=process, connection=ours)

    def _running(self) -> list[Member]:
        return [member for member in self.members if not member.ended]

    def _collect(self, timeout_s: float) -> None:
        """Take what ranks say and note who ended, waiting for the first of it."""
        running = self._running()
        # An outcome may be larger than a pipe holds, so it is taken while its rank still runs.
        talking = [member.connection for member in running if member.outcome is None]
        ends = [member.process.sentinel for member in running]
        wait([*talking, *ends], max(0.0, timeout_s))
        for member in running:
            if member.outcome is None and member.connection.poll():
                member.outcome = _receive(member.connection)
            if not member.process.is_alive():
                if member.outcome is None and member.connection.poll():
                    member.outcome = _receive(member.connection)
                member.process.join()
                member.connection.close()
                member.ended = True


def _receive(connection: Connection) -> Outcome | None:
    try:
        outcome: Outcome = connection.recv()
    except EOFError:  # it died without a word
        return None
    return outcome
