"""dlrm bin: the rows of a user's file, then in each turn over it new ones, block by block."""

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from dsgen.layout import PlannedFile
from dsgen.source import SourceFile, read_bytes
from dsgen.workloads.dlrm_bin import ROW_BYTES
from dsgen.workloads.dlrm_columns import COLUMNS
from dsgen.workloads.dlrm_shuffle import BLOCK_ROWS, orders, part_at, shuffled, turns


def blocks(
    descriptor: int, source: SourceFile, file: PlannedFile, segment: int, seed: int
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield one segment.

    Raises:
        ValueError: the source has too few rows, or fewer than it had.
    """

    def block_at(turn: int, place: int) -> tuple[int, NDArray[np.uint8]]:
        block, first, end = part_at(source.samples, BLOCK_ROWS, place // ROW_BYTES)
        key = file.index, turn, block
        order = orders("dlrm-bin-shuffle", seed, *key, rows=end - first, columns=COLUMNS)
        data = read_bytes(descriptor, first * ROW_BYTES, (end - first) * ROW_BYTES)
        rows = shuffled(data.view("<i4").reshape(-1, COLUMNS), order)
        return first * ROW_BYTES, rows.reshape(-1).view(np.uint8)

    planned = file.segment(segment)
    yield from turns(
        descriptor,
        source,
        planned.offset_bytes,
        planned.offset_bytes + planned.bytes,
        source.bytes,
        block_at,
        # Training rows that stand in for missing test rows are new from the first one on.
        first_turn=int(file.role != source.role),
    )
