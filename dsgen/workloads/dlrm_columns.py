"""The columns of a click log: a label, 13 integers, 26 categories, all drawn from power laws.

Counts of categories (at the cap of 10 million that the reference trains with) and rows a day are
the Terabyte set's: `originals/criteo_*.csv`, from discslab-dl-bench/datagen, branch vldb-paper, and
from mlcommons/training, recommendation/torchrec. The largest integers and the share of clicks are
chosen: near what is told of the set, and not measured.
"""

import csv
from functools import cache
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

COLUMNS: Final = 40
INTEGERS: Final = slice(1, 14)
CATEGORIES: Final = slice(14, 40)

_LARGEST_INTEGERS: Final = (
    *(5_775, 99_999, 65_535, 969, 999_999, 99_999, 9_999),
    *(999, 9_999, 11, 231, 969, 7_393),
)
_CLICKS: Final = 0.03
# Uniform numbers of 24 bits are exact in float32, as are products with a power of two.
_UNIT: Final = np.float32(2**-24)
_ROWS_AT_ONCE: Final = 128


@cache
def categories() -> tuple[int, ...]:
    """Return the number of categories of each of the 26 columns."""
    return tuple(int(row["categories"]) for row in _original("criteo_categories.csv"))


@cache
def day_rows() -> tuple[int, ...]:
    """Return the original's rows of each of the 24 days."""
    return tuple(int(row["rows"]) for row in _original("criteo_days.csv"))


def draw(words: np.random.SFC64, rows: int, columns: slice, *, natural: bool) -> NDArray[np.int32]:
    """Return `rows` rows of some of the 40 columns; ids are below their column's number.

    A value is floor(n * u^8) for a uniform u, so x comes in proportion to x^(-7/8). Only products,
    each rounded once: the same numbers everywhere. Where they are not to look natural, all are
    uniform, and integers have 31 bits.
    """
    scales = _scales(columns.start, columns.stop, natural=natural)
    wide = -(-rows // _ROWS_AT_ONCE) * len(scales)
    raw = words.random_raw(-(-wide // 2)).astype("<u8", copy=False).view("<u4")[:wide]
    powers = (raw >> np.uint32(8)).astype(np.float32)
    powers *= _UNIT
    if natural:
        powers *= powers
        powers *= powers
        powers *= powers
    # Many rows in one row of numpy's inner loop, which is several times as fast as 40 columns.
    powers = powers.reshape(-1, len(scales))
    powers *= scales
    drawn = powers.astype(np.int32).reshape(-1, columns.stop - columns.start)[:rows]
    if not natural:
        integers = _within(INTEGERS, columns)  # a float32 has 24 bits
        drawn[:, integers] = raw.reshape(-1, drawn.shape[1])[:rows, integers] >> np.uint32(1)
    return drawn


def _within(part: slice, columns: slice) -> slice:
    """Return where the columns `part` lie among `columns`; nowhere is an empty slice."""
    first, end = max(part.start, columns.start), min(part.stop, columns.stop)
    return slice(first - columns.start, max(end, first) - columns.start)


@cache
def _scales(start: int, stop: int, *, natural: bool) -> NDArray[np.float32]:
    """Return the factor of each value of `_ROWS_AT_ONCE` rows: how many values its column has."""
    # A label is 1 where u is above 1 - clicks; uniform labels are 1 as often as 0.
    label = (1 - _CLICKS) ** -8 if natural else 2.0
    integers = [largest + 1 for largest in _LARGEST_INTEGERS]
    columns = [label, *integers, *categories()][start:stop]
    return np.tile(np.array(columns, dtype=np.float32), _ROWS_AT_ONCE)


def _original(name: str) -> list[dict[str, str]]:
    text = resources.files("dsgen.originals").joinpath(name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))
