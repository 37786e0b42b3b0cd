"""The bytes of imseg files: npy header, voxels like a clipped CT, label masks of compact blobs.

A segment's bytes depend on the seed, its file and its place alone. Every segment makes the whole
slices that it touches and cuts off what belongs to its neighbours.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.layout import PlannedFile, Segment
from dsgen.npy import HEADER_BYTES, npy_header
from dsgen.seed import below, named_words, segment_words

# The reference clips to [-79, 304] Hounsfield units, then takes (value - 101) / 76.9.
LOWEST: Final = np.float32(-2.340702)
HIGHEST: Final = np.float32(2.639792)

_BLOCK_BYTES = 2**20
# The body is an ellipse of half a slice, drawn as bands of rows; what surrounds it is air, which
# clips to the lowest value. Inside, a fifth is fat and clips as well, a hundredth is bone.
_BANDS = 16
_BODY_HALF_AXES = (0.36, 0.44)
_FAT_BELOW = 0.26
_BONE_ABOVE = 0.0126


def volume_blocks(
    file: PlannedFile, segment: Segment, seed: int, *, natural: bool
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield one segment of a float32 volume: noise inside the body, the clip value around it.

    Where it is not to look natural, all of it is noise that no compression reduces.
    """
    words = segment_words("imseg", seed, file.index, segment.index)
    slices = _slices(file, segment, voxel_bytes=4)
    if segment.offset_bytes == 0:
        yield np.frombuffer(npy_header("<f4", file.shape), dtype=np.uint8)
    slab = np.full((slices.per_block, *slices.plane), LOWEST, dtype="<f4")
    bands = _bands(*slices.plane)
    for first, count in slices.blocks():
        if natural:
            for rows, columns in bands:
                box = slab[:count, rows, columns]
                box[...] = _tissue(words, box.size).reshape(box.shape)
        else:
            slab[:count] = _noise(words, slab[:count].size).reshape(slab[:count].shape)
        yield slices.cut(slab[:count], first)


def mask_blocks(
    file: PlannedFile, segment: Segment, seed: int
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield one segment of a uint8 mask: two kidneys (1), each with a tumour (2), else 0."""
    slices = _slices(file, segment, voxel_bytes=1)
    if segment.offset_bytes == 0:
        yield np.frombuffer(npy_header("|u1", file.shape), dtype=np.uint8)
    blobs = _blobs(file, seed)
    slab = np.zeros((slices.per_block, *slices.plane), dtype=np.uint8)
    for first, count in slices.blocks():
        slab[:count] = 0
        for blob in blobs:
            _draw(blob, slab[:count], first)
        yield slices.cut(slab[:count], first)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Slices:
    """The whole slices that a segment touches, and how its bytes lie in them."""

    plane: tuple[int, int]
    plane_bytes: int
    start_byte: int  # of the segment, counted in the array's bytes, the header left out
    end_byte: int

    @property
    def per_block(self) -> int:
        return max(1, _BLOCK_BYTES // self.plane_bytes)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield (first slice, number of slices) of each block."""
        first, last = self.start_byte // self.plane_bytes, -(-self.end_byte // self.plane_bytes)
        for start in range(first, last, self.per_block):
            yield start, min(self.per_block, last - start)

    def cut(self, slab: NDArray[np.generic], first: int) -> NDArray[np.uint8]:
        """Return the bytes of `slab`, which begins at slice `first`, that the segment owns."""
        data = slab.reshape(-1).view(np.uint8)
        origin = first * self.plane_bytes
        return data[max(self.start_byte - origin, 0) : self.end_byte - origin]


def _slices(file: PlannedFile, segment: Segment, *, voxel_bytes: int) -> _Slices:
    _, _, height, width = file.shape
    end = segment.offset_bytes + segment.bytes
    return _Slices(
        plane=(height, width),
        plane_bytes=height * width * voxel_bytes,
        start_byte=max(segment.offset_bytes - HEADER_BYTES, 0),
        end_byte=end - HEADER_BYTES,
    )


@cache
def _bands(height: int, width: int) -> tuple[tuple[slice, slice], ...]:
    """Return the rows and columns of the body's ellipse, in bands as wide as their middle."""
    half_height, half_width = _BODY_HALF_AXES
    edges = [round((0.5 + half_height * (2 * i / _BANDS - 1)) * height) for i in range(_BANDS + 1)]
    bands = []
    for index in range(_BANDS):
        middle = (2 * index + 1) / _BANDS - 1
        reach = half_width * float(np.sqrt(1 - middle * middle))
        columns = slice(round((0.5 - reach) * width), round((0.5 + reach) * width))
        bands.append((slice(edges[index], edges[index + 1]), columns))
    return tuple(bands)


def _tissue(words: np.random.SFC64, count: int) -> NDArray[np.float32]:
    """Return `count` voxels, uniform from below fat to above bone, clipped as the reference clips.

    Only a conversion, a product and a sum, each rounded once: the same floats everywhere.
    """
    raw = words.random_raw(-(-count // 2)).astype("<u8", copy=False).view("<i4")[:count]
    span = float(HIGHEST) - float(LOWEST)
    bottom, top = float(LOWEST) - _FAT_BELOW * span, float(HIGHEST) + _BONE_ABOVE * span
    values = raw.astype("<f4")
    values *= np.float32((top - bottom) / 2**32)
    values += np.float32((top + bottom) / 2)
    return np.clip(values, LOWEST, HIGHEST, out=values)


def _noise(words: np.random.SFC64, count: int) -> NDArray[np.float32]:
    """Return `count` finite voxels between -2 and 2 whose bits are random, but for one.

    With the exponent's highest bit off, a float32 is below 2: within the reference's range.
    """
    raw = words.random_raw(-(-count // 2)).astype("<u8", copy=False).view("<u4")[:count]
    return (raw & np.uint32(0xBFFFFFFF)).view("<f4")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Blob:
    """An ellipsoid of one label; centre and half axes in voxels, (z, y, x)."""

    label: int
    centre: tuple[int, int, int]
    axes: tuple[int, int, int]


@cache
def _blobs_of(shape: tuple[int, ...], seed: int, key: int) -> tuple[_Blob, ...]:
    _, depth, height, width = shape
    words = named_words("imseg-blobs", seed, key)
    blobs = []
    for side in (-1, 1):
        axes = (
            max(1, depth // 10 + below(words, depth // 20 + 1)),
            max(1, height // 16 + below(words, height // 32 + 1)),
            max(1, width // 16 + below(words, width // 32 + 1)),
        )
        centre = (
            depth // 2 + below(words, depth // 8 + 1) - depth // 16,
            height // 2 + below(words, height // 8 + 1) - height // 16,
            width // 2 + side * (width // 5),
        )
        blobs.append(_Blob(label=1, centre=centre, axes=axes))
        small = (max(1, axes[0] // 2), max(1, axes[1] // 2), max(1, axes[2] // 2))
        # On the kidney's rim towards the spine: half inside, half outside, one component with it.
        rim = (centre[0], centre[1], centre[2] - side * axes[2])
        blobs.append(_Blob(label=2, centre=rim, axes=small))
    return tuple(blobs)


def _blobs(file: PlannedFile, seed: int) -> tuple[_Blob, ...]:
    return _blobs_of(file.shape, seed, file.key)


def _draw(blob: _Blob, slab: NDArray[np.uint8], first: int) -> None:
    """Set the voxels of `slab`, which begins at slice `first`, that lie in the blob.

    In integers: (dz/a)^2 + (dy/b)^2 + (dx/c)^2 <= 1, multiplied out.
    """
    (a, b, c), (z, y, x) = blob.axes, blob.centre
    low, high = max(z - a, first), min(z + a + 1, first + len(slab))
    if low >= high:
        return
    dz = np.arange(low, high, dtype=np.int64)[:, None, None] - z
    dy = np.arange(-b, b + 1, dtype=np.int64)[None, :, None]
    dx = np.arange(-c, c + 1, dtype=np.int64)[None, None, :]
    inside = (dz * b * c) ** 2 + (dy * a * c) ** 2 + (dx * a * b) ** 2 <= (a * b * c) ** 2
    box = slab[low - first : high - first, y - b : y + b + 1, x - c : x + c + 1]
    box[inside] = blob.label
