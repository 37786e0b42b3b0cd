"""The watch over ranks that hang: what is waited for, and when to wait no longer."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.worker.failure import StalledError, TimeLimitError
from harness.worker.host.vitals import Vitals
from harness.worker.ranks.comm import Board
from harness.worker.record import Op
from harness.worker.recording.io import TracedFile
from harness.worker.recording.whereabouts import Place, Where, Whereabouts

# So long nothing has to move before it is said. Slow storage takes as long for a call now and then.
QUIET_S: Final = 10.0
# A longer time between two looks was not spent watching: the watch was stopped as well.
_LONGEST_LOOK_S: Final = 5.0
# Who uses more of a core than this works, though no byte moves: it inflates, or computes.
_BUSY: Final = 0.05

_WORDS: Final = {
    Place.BARRIER: "at the barrier",
    Place.COMPUTE: "in a step of its accelerator",
    Place.BATCH: "waiting for its loader workers",
    Place.HANDOVER: "waiting for another rank's batch",
    Place.EVICTION: "evicting",
    Place.WARMING: "reading into memory",
    Place.PROBE: "asking what is in memory of",
    Place.PIPELINE: "in tf.data's pipeline",
}
# They wait for a rank, which is what is to be named.
_FOLLOWING: Final = (Place.BATCH, Place.HANDOVER, Place.BARRIER)
# More would not fit on a line.
_NAMED: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When a run is ended, in s; None for never.

    Args:
        stall_s: since anything moved.
        duration_s: since the run began.
    """

    stall_s: float | None
    duration_s: float | None


class Watchdog:
    """Looks at the ranks about once a second.

    Something moves when a thread begins or ends a call, a step, or anything else that it writes
    down; when the kernel counts a byte for a rank; when a rank uses its processor; and while an
    emulated accelerator has not had its time.

    Args:
        whereabouts: of all threads.
        board: of all ranks.
        files: of the trace.
        limits: of the run.
        vitals: returns those of each rank, None for one that has ended.
        clock: ns, CLOCK_MONOTONIC.
    """

    def __init__(
        self,
        *,
        whereabouts: Whereabouts,
        board: Board,
        files: Iterable[TracedFile],
        limits: Limits,
        vitals: Callable[[], Sequence[Vitals | None]],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._whereabouts = whereabouts
        self._board = board
        self._files = {file.id: file for file in files}
        self._limits = limits
        self._vitals = vitals
        self._clock = clock
        self._started_ns = self._looked_ns = clock()
        self._quiet_ns = 0
        self._pulse: object = None
        self._cpu_s = 0.0

    def look(self) -> str | None:
        """Return what is waited for once nothing has moved for a while; None while all is well.

        Raises:
            StalledError: nothing has moved for too long.
            TimeLimitError: the run has taken too long.
        """
        now_ns = self._clock()
        vitals = self._vitals()
        self._listen(now_ns, vitals)
        waits = describe(self._whereabouts.read(), vitals, self._files, now_ns)
        self._check(now_ns, waits)
        return waits if self._quiet_ns >= QUIET_S * 1e9 else None

    def _listen(self, now_ns: int, vitals: Sequence[Vitals | None]) -> None:
        looked_ns, self._looked_ns = self._looked_ns, now_ns
        since_s = (now_ns - looked_ns) / 1e9
        if self._moved(now_ns, since_s, vitals):
            self._quiet_ns = 0
        else:
            self._quiet_ns += int(min(since_s, _LONGEST_LOOK_S) * 1e9)

    def _moved(self, now_ns: int, since_s: float, vitals: Sequence[Vitals | None]) -> bool:
        living = [one for one in vitals if one is not None]
        moved_bytes = [one.moved_bytes for one in living]
        pulse = (self._whereabouts.snapshot(), self._board.snapshot(), moved_bytes)
        before, self._pulse = self._pulse, pulse
        cpu_s = sum(one.cpu_s for one in living)
        used_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        computes = any(
            where.place is Place.COMPUTE and where.since_ns > now_ns
            for where in self._whereabouts.read()
        )
        return pulse != before or used_s > _BUSY * since_s or computes

    def _check(self, now_ns: int, waits: str) -> None:
        limits, quiet_s = self._limits, self._quiet_ns / 1e9
        if limits.stall_s is not None and quiet_s >= limits.stall_s:
            what = f"nothing moved for {quiet_s:.0f} s"
            raise StalledError(what, where=waits, then="check the storage, or raise --stall")
        if limits.duration_s is not None and now_ns - self._started_ns >= limits.duration_s * 1e9:
            activity, epoch, step, steps = self._board.position()
            at = f"{activity.name.lower()}, epoch {epoch}, step {step} of {steps}"
            what = f"stopped at its time limit of {limits.duration_s:g} s"
            where = f"{at}; {waits}" if quiet_s else at
            raise TimeLimitError(what, where=where, then="raise --max-duration")


def describe(
    wheres: Iterable[Where],
    vitals: Sequence[Vitals | None],
    files: Mapping[int, TracedFile],
    now_ns: int,
) -> str:
    """Return in words what is waited for, the ranks that others wait for first.

    Args:
        wheres: what threads are in.
        vitals: of each rank, None for one that has ended.
        files: by their ids.
        now_ns: when this is.
    """
    first: dict[int, tuple[tuple[int, int], str]] = {}
    for rank, own in enumerate(vitals):
        if own is not None and own.state in "Tt":
            first[rank] = ((-1, 0), f"rank {rank} is stopped by a signal")
    for where in wheres:
        order = (_order(where.place), where.since_ns)
        if where.rank not in first or order < first[where.rank][0]:
            first[where.rank] = (order, _where_words(where, files, now_ns))
    ranked = sorted(first.values())
    if not ranked:
        return "no rank is in a call on data"
    leading = [words for order, words in ranked if order[0] == ranked[0][0][0]]
    more = len(ranked) - min(len(leading), _NAMED)
    return "; ".join(leading[:_NAMED]) + (f"; {_others(more)}" if more else "")


def _others(count: int) -> str:
    return "1 more rank waits" if count == 1 else f"{count} more ranks wait"


def _order(place: Place | Op) -> int:
    if isinstance(place, Op):
        return 0
    return 2 + _FOLLOWING.index(place) if place in _FOLLOWING else int(place is Place.COMPUTE)


def _where_words(where: Where, files: Mapping[int, TracedFile], now_ns: int) -> str:
    file = files.get(where.file) if where.file is not None else None
    name = "" if file is None else Path(file.path).name
    if isinstance(where.place, Op):
        kind = "the checkpoint " if file is not None and file.role == "checkpoint" else ""
        words = f"in {where.place.name.lower()} of {kind}{name}"
    else:
        words = f"{_WORDS[where.place]} {name}".rstrip()
    seconds = max(0, now_ns - where.since_ns) // 10**9
    return f"rank {where.rank} {words} for {seconds} s"
