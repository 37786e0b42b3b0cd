"""Marks: empty files that a training leaves, whose names say how far it is.

`rank-00003-train-00001-00004` is made by rank 3 when it has the fourth batch of epoch 1. What the
rank read since its last mark was for this batch. In the place of `train` may stand `eval`.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from harness.trace.calls import Traced
from harness.worker.record import Phase

_NAME: Final = re.compile(r"(?:.*/)?rank-(\d{5})-(train|eval)-(\d{5})-(\d{5})(?:-\d+)?")
_MOST_RANKS: Final = 65_535  # a row has 16 bits for its rank
_PHASES: Final = {"train": Phase.TRAIN, "eval": Phase.EVAL}


class Label(NamedTuple):
    """What a row says of when it was; epoch 0 and no phase where nobody knows."""

    phase: int
    epoch: int
    step: int


class Marks(NamedTuple):
    """What marks tell.

    Args:
        ranks: process -> the rank that it is.
        times: rank -> when its marks were left, ascending, by number of call.
        labels: rank -> what each mark says.
    """

    ranks: dict[int, int]
    times: dict[int, list[int]]
    labels: dict[int, list[Label]]

    def label(self, rank: int, number: int) -> Label | None:
        """Return what the rank's next mark after this call says, or its last one."""
        if rank not in self.labels:
            return None
        place = bisect_left(self.times[rank], number)
        return self.labels[rank][min(place, len(self.labels[rank]) - 1)]


def find_marks(calls: Iterable[Traced]) -> Marks:
    """Return the marks among the calls of a trace, which are numbered in their order."""
    marks = Marks({}, defaultdict(list), defaultdict(list))
    for number, one in enumerate(calls):
        if one.call.name != "open" or one.call.returned < 0:
            continue
        if not (found := _NAME.fullmatch(one.call.path)):
            continue
        if (rank := int(found[1])) > _MOST_RANKS:
            continue
        marks.ranks[one.process] = rank
        marks.times[rank].append(number)
        marks.labels[rank].append(Label(_PHASES[found[2]], int(found[3]), int(found[4])))
    return marks
