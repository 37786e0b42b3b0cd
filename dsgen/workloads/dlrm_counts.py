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

_ROWS: Final = "day_day_count.npz"
_CATEGORIES: Final = "day_fea_count.npz"


def rows_file(index: int, days: Sequence[PlannedFile]) -> PlannedFile:
    """Return the file that tells the rows of each day."""
    return _planned(index, _ROWS, len(_content(_ROWS, days)))


def categories_file(index: int) -> PlannedFile:
    """Return the file that tells the categories of each column."""
    return _planned(index, _CATEGORIES, len(_content(_CATEGORIES, ())))


def blocks(layout: Layout, file: PlannedFile) -> Generator[NDArray[np.uint8], None, None]:
    """Yield the whole content."""
    days = [one for one in layout.files if one.role == "train"]
    yield np.frombuffer(_content(file.path, days), dtype=np.uint8)


def _content(path: str, days: Sequence[PlannedFile]) -> bytes:
    if path == _ROWS:
        return small_archive("total_per_file", tuple(day.samples for day in days))
    return small_archive("counts", categories())


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
