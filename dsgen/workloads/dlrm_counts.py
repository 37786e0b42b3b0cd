"""The two files of counts beside a click log, without which the reference prepares it again.

Source: data_utils.py of discslab-dl-bench/mlcomns_dlrm; `total_per_file` and `counts` are the names
that its loader asks for.
"""

from collections.abc import Generator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.layout import Layout, PlannedFile
from dsgen.npz import small_archive
from dsgen.workloads.dlrm_columns import categories

ROWS_NAME: Final = "day_day_count.npz"
CATEGORIES_NAME: Final = "day_fea_count.npz"


def rows_file(index: int, days: Sequence[PlannedFile]) -> PlannedFile:
    """Return the file that tells the rows of each day."""
    return _planned(index, ROWS_NAME, len(_content(ROWS_NAME, days)))


def categories_file(index: int, counts: tuple[int, ...] | None = None) -> PlannedFile:
    """Return the file that tells the categories of each column, the original's by default."""
    return _planned(index, CATEGORIES_NAME, len(_content(CATEGORIES_NAME, (), counts)))


def blocks(
    layout: Layout, file: PlannedFile, counts: tuple[int, ...] | None = None
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield the whole content."""
    days = [one for one in layout.files if one.role == "train"]
    yield np.frombuffer(_content(file.path, days, counts), dtype=np.uint8)


def _content(
    path: str, days: Sequence[PlannedFile], counts: tuple[int, ...] | None = None
) -> bytes:
    if path == ROWS_NAME:
        return small_archive("total_per_file", tuple(day.samples for day in days))
    return small_archive("counts", counts or categories())


def _planned(index: int, path: str, size_bytes: int) -> PlannedFile:
    return PlannedFile(
        index=index,
        path=path,
        role="sidecar",
        file_class="counts",
        bytes=size_bytes,
        samples=0,
        shape=(),
        key=index,
        starts=(0,),
        counts=False,
    )
