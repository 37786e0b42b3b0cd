"""Seeds and raw random words: the same bytes on every machine and numpy version.

Only `SeedSequence` and the raw output of a bit generator are used: numpy promises both to be
stable, and promises nothing for the distributions of `Generator`.
"""

import google_crc32c
import numpy as np
from numpy.typing import NDArray


def segment_words(workload: str, seed: int, file: int, segment: int) -> np.random.SFC64:
    """Return the word source of one segment; it depends on nothing but its arguments."""
    return _source(seed, (_crc(workload), file, segment))


def named_words(purpose: str, seed: int, *key: int) -> np.random.SFC64:
    """Return the word source of a decision that is not a segment, such as an order of shapes."""
    return _source(seed, (_crc(purpose), 0xFFFFFFFF, *key))


def permutation(source: np.random.SFC64, count: int) -> NDArray[np.intp]:
    """Return a uniform permutation of range(count): the order of as many random 64-bit words."""
    return np.argsort(source.random_raw(count), kind="stable")


def below(source: np.random.SFC64, bound: int) -> int:
    """Return a word reduced to range(bound); the bias of at most bound / 2**64 is accepted."""
    return int(source.random_raw()) % bound


def _crc(text: str) -> int:
    return int(google_crc32c.value(text.encode()))


def _source(seed: int, key: tuple[int, ...]) -> np.random.SFC64:
    return np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key))
