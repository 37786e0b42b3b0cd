"""Who reads in a foreign trace: processes and threads as ranks and their loaders.

Numbers are given out as a machine would give seats: who comes takes the lowest that is free among
the living. So processes that a training starts anew for each epoch are the same loaders again.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from harness.trace.calls import Life, Trace, Traced

Readers = Literal["thread", "process"]


class Seat(NamedTuple):
    """A rank and which of its readers; loader 0 is the only one, or the rank's own."""

    rank: int
    loader: int


def seats(
    trace: Trace, calls: Iterable[Traced], ranks: Mapping[int, int], readers: Readers
) -> dict[int, Seat]:
    """Return thread -> its seat.

    Args:
        trace: knows who made whom, and when they ended.
        calls: on data files; who made none has no seat.
        ranks: process -> the rank that it is known to be, as far as it is.
        readers: whether each thread reads for itself, or a process is one reader whose threads
            take turns.
    """
    threads: dict[int, int] = {}
    for one in calls:
        threads.setdefault(one.thread, one.process)
    ancestry = {process: _ancestry(trace, process) for process in threads.values()}
    places = _places(trace, ancestry, ranks)
    within = _seated(trace, threads)
    keys = {
        thread: (*places[process], within[thread] if readers == "thread" else 0)
        for thread, process in threads.items()
    }
    loaders: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)
    for rank, *own in sorted(set(keys.values())):
        loaders[rank][own[0], own[1]] = len(loaders[rank])
    return {
        thread: Seat(rank, loaders[rank][place, number])
        for thread, (rank, place, number) in keys.items()
    }


def _places(
    trace: Trace, ancestry: Mapping[int, list[int]], ranks: Mapping[int, int]
) -> dict[int, tuple[int, int]]:
    """Return process -> its rank, and its place among the processes that read for it."""
    below = _below_the_common(list(ancestry.values()))
    # Where the common ancestor reads itself, all others are its loaders.
    alone = not all(below.values())
    parents: dict[int, int] = {}
    for line in ancestry.values():
        for child, parent in zip(line[1:], line, strict=False):
            parents[child] = parent
        parents.setdefault(line[0], 0)
    seat = _seated(trace, parents)
    places = {}
    for process, line in ancestry.items():
        known = [ranks[one] for one in reversed(line) if one in ranks]
        path = below[process]
        if known:
            is_rank = process in ranks
            places[process] = (known[0], 0 if is_rank else seat[process] + 1)
        elif alone:
            places[process] = (0, seat[process] + 1 if path else 0)
        else:
            places[process] = (seat[path[0]], seat[path[-1]] + 1 if len(path) > 1 else 0)
    return places


def _ancestry(trace: Trace, process: int) -> list[int]:
    """Return the processes from the first one to this one."""
    line = [process]
    while (parent := trace.parents.get(line[0])) is not None:
        line.insert(0, parent)
    return line


def _below_the_common(lines: list[list[int]]) -> dict[int, tuple[int, ...]]:
    """Return process -> its ancestors from below the last one that all have in common."""
    common = 0
    while all(len(line) > common for line in lines) and len({line[common] for line in lines}) == 1:
        common += 1
    return {line[-1]: tuple(line[common:]) for line in lines}


def _seated(trace: Trace, parents: Mapping[int, int]) -> dict[int, int]:
    """Return for each process or thread the lowest number that was free when it came.

    Args:
        trace: knows their lives.
        parents: who they share the numbers with: all of one parent.
    """
    forever = Life(born=0, ended=trace.log.lines + 1)
    seat: dict[int, int] = {}
    free: dict[int, list[int]] = defaultdict(list)
    taken: dict[int, list[tuple[int, int]]] = defaultdict(list)
    used: dict[int, int] = defaultdict(int)
    for one in sorted(parents, key=lambda one: (trace.lives.get(one, forever).born, one)):
        group, life = parents[one], trace.lives.get(one, forever)
        while taken[group] and taken[group][0][0] < life.born:
            heapq.heappush(free[group], heapq.heappop(taken[group])[1])
        if free[group]:
            seat[one] = heapq.heappop(free[group])
        else:
            seat[one] = used[group]
            used[group] += 1
        heapq.heappush(taken[group], (life.ended, seat[one]))
    return seat
