"""dlrm: new clicks of a user's, by shuffling each column of some thousand rows on its own.

So a column keeps its values and how often each comes, and ids stay below their counts; what is lost
is which values come together. A row that comes out as one that was there before is possible, as
unlikely as all of its values are together.
"""

from collections.abc import Callable, Generator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dsgen.copied import cyclic
from dsgen.seed import named_words
from dsgen.source import SourceFile

# Shuffled together: enough to make rows new, few enough for the caches.
BLOCK_ROWS: Final = 2**14
FEWEST_ROWS: Final = 16


def part_at(total: int, at_most: int, place: int) -> tuple[int, int, int]:
    """Return number, beginning and end of the part around `place`; all parts are about equal.

    >>> [part_at(10, 4, place) for place in (0, 3, 9)]
    [(0, 0, 3), (1, 3, 6), (2, 6, 10)]
    """
    parts = -(-total // at_most)
    number = ((place + 1) * parts - 1) // total
    return number, total * number // parts, total * (number + 1) // parts


def orders(purpose: str, seed: int, *key: int, rows: int, columns: int) -> NDArray[np.intp]:
    """Return a random order of the rows for each column, (columns, rows).

    Raises:
        ValueError: there are too few rows for any order to make new ones.
    """
    if rows < FEWEST_ROWS:
        raise ValueError(f"{rows} rows, where {FEWEST_ROWS} are needed to make new ones")
    words = named_words(purpose, seed, *key)
    raw = words.random_raw(-(-rows * columns // 4)).astype("<u8", copy=False).view("<u2")
    # Of 16-bit numbers the stable order comes from a radix sort.
    return np.argsort(raw[: rows * columns].reshape(columns, rows), axis=1, kind="stable")


def shuffled(rows: NDArray[Any], order: NDArray[np.intp]) -> NDArray[Any]:
    """Return (rows, columns) with each column in its order."""
    columns = np.ascontiguousarray(rows.T)
    return np.ascontiguousarray(np.take_along_axis(columns, order, axis=1).T)


def turns(
    descriptor: int,
    source: SourceFile,
    start: int,
    end: int,
    turn_bytes: int,
    block_at: Callable[[int, int], tuple[int, NDArray[np.uint8]]],
    *,
    first_turn: int = 0,
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield bytes `start` to `end` of turns over a source: in turn 0 its own, then new ones.

    Args:
        descriptor: of the source.
        source: what is repeated.
        start: first byte.
        end: the byte after the last one.
        turn_bytes: of one turn.
        block_at: from a turn and a place in it to the new block around it, and where that begins.
        first_turn: of byte 0.
    """
    at = start
    while at < end:
        turn, place = divmod(at, turn_bytes)
        if turn + first_turn == 0:
            yield from cyclic(descriptor, source, at, min(end, turn_bytes))
            at = min(end, turn_bytes)
        else:
            begins, block = block_at(turn + first_turn, place)
            part = block[place - begins :][: end - at]
            yield part
            at += part.size
