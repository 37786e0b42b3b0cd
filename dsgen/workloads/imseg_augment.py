"""imseg: new cases of a user's, mirrored along their axes, and of weaker intensity.

Copies count through the ways to mirror a volume; each time they are used up, the intensities are
multiplied by another factor. Image and label are mirrored alike.
"""

import itertools
from collections.abc import Generator, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.layout import PlannedFile
from dsgen.seed import below, named_words
from dsgen.source import SourceFile, read_bytes
from dsgen.workloads.imseg_source import DTYPES

_BLOCK_BYTES: Final = 2**20
# Factors are multiples of 2^-24 between 0.8 and 1, which float32 has exactly. A stride of the
# golden ratio that shares no divisor with their number reaches each once, near ones late.
_FIRST_FACTOR: Final = 13_421_773
_FACTORS: Final = 2**24 - _FIRST_FACTOR
_STRIDE: Final = 2_073_782


def blocks(
    descriptor: int, source: SourceFile, file: PlannedFile, segment: int, seed: int
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield one segment of a mirrored volume or mask.

    Raises:
        ValueError: the source is shorter than it was.
    """
    planned = file.segment(segment)
    start, end = planned.offset_bytes, planned.offset_bytes + planned.bytes
    dtype = DTYPES[file.file_class]
    row_bytes = source.shape[-1] * dtype.itemsize
    at = source.bytes - row_bytes * int(np.prod(source.shape[:-1], dtype=np.int64))
    if start < at:
        yield read_bytes(descriptor, start, min(at, end) - start)
    mirrored, group = _mirroring(source.shape, file.copy)
    factor = _factor(seed, file.key, group) if group and file.file_class == "x" else None
    header_bytes = at
    steps = tuple(slice(None, None, -1 if axis else 1) for axis in mirrored)
    for taken, row in _boxes(source.shape, row_bytes, mirrored):
        size_bytes = taken[0] * taken[1] * row_bytes
        if start < at + size_bytes and at < end:
            data = read_bytes(descriptor, header_bytes + row * row_bytes, size_bytes)
            box = np.ascontiguousarray(data.view(dtype).reshape(*taken, -1)[steps])
            if factor is not None:
                np.multiply(box, factor, out=box)
            yield box.reshape(-1).view(np.uint8)[max(0, start - at) : end - at]
        at += size_bytes


def _mirroring(shape: tuple[int, ...], copy: int) -> tuple[list[bool], int]:
    """Return whether each of D, H and W is mirrored, and how often all ways were used before."""
    mirrored = []
    for extent in shape[1:]:
        # An axis of one voxel is its own mirror image.
        copy, way = divmod(copy, 2) if extent > 1 else (copy, 0)
        mirrored.append(bool(way))
    return mirrored, copy


def _factor(seed: int, key: int, group: int) -> np.float32:
    """Return by what intensities are multiplied: within (0.8, 1), another one for each group."""
    first = below(named_words("imseg-intensity", seed, key), _FACTORS)
    return np.float32((_FIRST_FACTOR + (first + group * _STRIDE) % _FACTORS) * 2**-24)


def _boxes(
    shape: tuple[int, ...], row_bytes: int, mirrored: list[bool]
) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the volume in boxes of about a MiB: (planes, rows), and the first row of its source.

    A box has whole planes, or some rows of one: its source lies together.
    """
    _, depth, height, _ = shape
    planes = max(1, _BLOCK_BYTES // (height * row_bytes))
    rows = min(height, max(1, _BLOCK_BYTES // row_bytes))
    for plane, row in itertools.product(range(0, depth, planes), range(0, height, rows)):
        taken = min(planes, depth - plane), min(rows, height - row)
        of_plane = depth - plane - taken[0] if mirrored[0] else plane
        of_row = height - row - taken[1] if mirrored[1] else row
        yield taken, of_plane * height + of_row
