"""The CRC of a whole from the CRCs of its parts, without reading it again."""

from collections.abc import Callable, Iterable
from functools import cache

import google_crc32c

# Continues a CRC over more bytes, from 0 for none.
Extend = Callable[[int, bytes], int]


def join_crc32c(segments: Iterable[tuple[int, int]]) -> int:
    """Return the CRC32C of the concatenation of segments, given as (bytes, CRC32C).

    >>> join_crc32c([(3, google_crc32c.value(b"abc")), (2, google_crc32c.value(b"de"))]) == (
    ...     google_crc32c.value(b"abcde")
    ... )
    True
    """
    return join(segments, google_crc32c.extend)


def join(parts: Iterable[tuple[int, int]], extend: Extend) -> int:
    """Return the CRC of the concatenation of parts, given as (bytes, CRC), of 32 bits.

    A CRC is linear: following A by B changes it as following A by as many zeros does, except for
    the difference between B and those zeros.
    """
    joined = 0
    for size_bytes, crc in parts:
        joined = _followed_by_zeros(extend, joined, size_bytes) ^ crc
    return joined


def _followed_by_zeros(extend: Extend, crc: int, size_bytes: int) -> int:
    power = 0
    while size_bytes:
        if size_bytes & 1:
            crc = _applied(_zeros(extend, power), crc)
        size_bytes, power = size_bytes >> 1, power + 1
    return crc


@cache
def _zeros(extend: Extend, power: int) -> tuple[int, ...]:
    """Return what 2**power zeros make of each of the 32 bits."""
    if power == 0:
        none = extend(0, b"\0")
        return tuple(extend(1 << bit, b"\0") ^ none for bit in range(32))
    half = _zeros(extend, power - 1)
    return tuple(_applied(half, image) for image in half)


def _applied(images: tuple[int, ...], crc: int) -> int:
    result = 0
    for bit, image in enumerate(images):
        if crc >> bit & 1:
            result ^= image
    return result
