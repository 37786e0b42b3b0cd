"""Where the values of features lie in many encoded Examples, looked up in all of them at once.

Source: tensorflow/core/example/example.proto and feature.proto, and protobuf's encoding.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
Ranges = tuple[Places, Places]  # first bytes, and ends

# Tags of length-delimited fields.
_FEATURES: Final = 0x0A  # of Example; also an entry of Features, its key, and packed values
_VALUE: Final = 0x12
_INT64_LIST: Final = 0x1A
_NOT: Final = "a record is not an Example as TensorFlow writes it"


def packed_values(
    data: NDArray[np.uint8], first: Places, end: Places, names: Sequence[bytes]
) -> list[Ranges]:
    """Return, for each name of a feature of whole numbers, where each Example has its varints.

    Args:
        data: bytes with the Examples, and 4 more after each.
        first: first byte of each.
        end: the byte after each.
        names: of features that every Example has, none of them empty.

    Raises:
        ValueError: something else is there.
    """
    found = [(np.zeros_like(first), np.zeros_like(end)) for _ in names]
    place, limit = _field(data, first, end, _FEATURES)
    if (limit != end).any():
        raise ValueError(_NOT)
    live = np.flatnonzero(place < limit)
    while live.size:
        entry, after = _field(data, place[live], limit[live], _FEATURES)
        key, value = _field(data, entry, after, _FEATURES)
        for name, (firsts, ends) in zip(names, found, strict=True):
            own = np.flatnonzero(_equal(data, key, value, name))
            inner = value[own], after[own]
            for tag in (_VALUE, _INT64_LIST, _FEATURES):
                inner = _field(data, *inner, tag)
            firsts[live[own]], ends[live[own]] = inner
        place[live] = after
        live = live[after < limit[live]]
    for name, (firsts, ends) in zip(names, found, strict=True):
        if (firsts == ends).any():
            raise ValueError(f"a record lacks {name.decode()}")
    return found


def _field(data: NDArray[np.uint8], at: Places, limit: Places, tag: int) -> Ranges:
    """Return the contents of the length-delimited fields that begin at `at`."""
    if (at >= limit).any() or (data[at] != tag).any():
        raise ValueError(_NOT)
    first, length = at + 1, np.zeros_like(at)
    goes_on = np.ones(len(at), dtype=np.bool_)
    for shift in (0, 7, 14, 21):
        byte = data[first].astype(np.int64)
        length |= np.where(goes_on, (byte & 0x7F) << shift, 0)
        first += goes_on
        goes_on &= byte >= 0x80
        if not goes_on.any():
            break
    if goes_on.any() or (first + length > limit).any():
        raise ValueError(_NOT)
    return first, first + length


def _equal(data: NDArray[np.uint8], first: Places, end: Places, name: bytes) -> NDArray[np.bool_]:
    """Say which ranges hold the name."""
    equal: NDArray[np.bool_] = end - first == len(name)
    letters = first[equal][:, None] + np.arange(len(name))
    equal[equal] = (data[letters] == np.frombuffer(name, dtype=np.uint8)).all(axis=1)
    return equal
