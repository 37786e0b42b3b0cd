"""What each thread of each rank is in, kept where its parent can read it while the rank hangs.

A rank that a dead server or a suspended device holds in the kernel answers to nobody. So each
thread writes down what it begins, in memory that it shares with the parent: sixteen bytes, packed
in place.
"""

import mmap
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from harness.worker.record import Op

# The fields of a thread: since when (ns, CLOCK_MONOTONIC), the file's id, what it is in.
WHERE: Final = struct.Struct("<qII")
NO_FILE: Final = 2**32 - 1


class Place(IntEnum):
    """What a thread is in beside calls on data, which go by their `Op`."""

    NOWHERE = 0
    BARRIER = 64
    COMPUTE = 65  # `since_ns` is when it shall be done with, where that is known
    BATCH = 66
    HANDOVER = 67
    EVICTION = 68
    WARMING = 69
    PROBE = 70
    PIPELINE = 71


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """What a thread is in: a `Place` or an `Op`; `file` is an id, None where there is none."""

    rank: int
    place: Place | Op
    file: int | None
    since_ns: int


class Post:
    """One thread's place in the memory; `memory` and `offset` are for those who pack in a hurry."""

    __slots__ = ("memory", "offset")

    def __init__(self, memory: "mmap.mmap | bytearray | None" = None, offset: int = 0) -> None:
        self.memory = bytearray(WHERE.size) if memory is None else memory
        self.offset = offset

    def enter(self, place: Place | Op, since_ns: int, file: int = NO_FILE) -> None:
        """Write what begins at `since_ns`."""
        WHERE.pack_into(self.memory, self.offset, since_ns, file, place)

    def leave(self, now_ns: int) -> None:
        """Write that the thread is in nothing that could be waited for."""
        WHERE.pack_into(self.memory, self.offset, now_ns, NO_FILE, Place.NOWHERE)


class Whereabouts:
    """The shared memory of all threads.

    Args:
        ranks: how many.
        threads: of each: the main one and its loader workers.
    """

    def __init__(self, ranks: int, threads: int) -> None:
        self._ranks = ranks
        self._threads = threads
        self._memory = mmap.mmap(-1, ranks * threads * WHERE.size)

    def post(self, rank: int, thread: int) -> Post:
        """Return the place of a thread, 0 for a rank's main one."""
        return Post(self._memory, (rank * self._threads + thread) * WHERE.size)

    def snapshot(self) -> bytes:
        """Return the memory as it is: it differs whenever any thread began or ended something."""
        return self._memory[:]

    def read(self) -> list[Where]:
        """Return what every thread is in, those that are in nothing left out."""
        cells = WHERE.iter_unpack(self.snapshot())
        return [
            Where(
                rank=number // self._threads,
                place=Op(place) if place < Place.BARRIER else Place(place),
                file=None if file == NO_FILE else file,
                since_ns=since_ns,
            )
            for number, (since_ns, file, place) in enumerate(cells)
            if place != Place.NOWHERE
        ]
