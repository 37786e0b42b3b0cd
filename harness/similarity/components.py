"""The components: each 0 to 1, symmetric, 1 for equal patterns, on scales that are always the same.

Nothing is divided by an observed range: a difference costs the same in any company. A component
that neither side defines is None; one that only one side defines is 0.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import numpy as np

from harness.similarity.digest import Digest, Times
from harness.similarity.distances import (
    Weighted,
    common_share,
    jensen_shannon,
    total_variation,
    wasserstein,
)

T = TypeVar("T")
Component = Callable[[Digest, Digest], float | None]


def volume(one: Digest, other: Digest) -> float | None:
    """Compare bytes and calls."""
    shares = (_common(one.bytes, other.bytes), _common(one.calls, other.calls))
    known = [share for share in shares if share is not None]
    return float(np.prod(known)) ** 0.5 if known else None


def opmix(one: Digest, other: Digest) -> float | None:
    """Compare what is called in which phase on which class of files, by calls and by bytes."""
    shares = (
        _alike(one.mix_calls, other.mix_calls, _label_likeness),
        _alike(one.mix_bytes, other.mix_bytes, _label_likeness),
    )
    known = [share for share in shares if share is not None]
    return float(np.prod(known)) ** 0.5 if known else None


def size_calls(one: Digest, other: Digest) -> float | None:
    """Compare the sizes of transfers, each once."""
    return _alike(one.size_calls, other.size_calls, _value_likeness)


def size_bytes(one: Digest, other: Digest) -> float | None:
    """Compare the sizes of transfers, each by its bytes."""
    return _alike(one.size_bytes, other.size_bytes, _value_likeness)


def file_bytes(one: Digest, other: Digest) -> float | None:
    """Compare how many bytes files were read for."""
    return _alike(one.file_bytes, other.file_bytes, _value_likeness)


def files(one: Digest, other: Digest) -> float | None:
    """Compare the number of files read."""
    return _common(one.files, other.files)


def sequentiality(one: Digest, other: Digest) -> float | None:
    """Compare how the transfers of a reader follow one another."""
    return _alike(one.sequence, other.sequence, _label_likeness)


def coverage(one: Digest, other: Digest) -> float | None:
    """Compare how much of a file an epoch reads."""
    return _alike(one.coverage, other.coverage, lambda a, b: 1 - abs(a - b))


def order(one: Digest, other: Digest) -> float | None:
    """Compare how much the order of files is that of the epoch before."""
    return _alike(one.order, other.order, lambda a, b: 1 - abs(a - b) / 2)


def balance(one: Digest, other: Digest) -> float | None:
    """Compare how bytes are spread over readers."""
    return _alike(one.shares, other.shares, lambda a, b: 1 - total_variation(a, b))


def reuse(one: Digest, other: Digest) -> float | None:
    """Compare what memories of several sizes would have spared."""
    return _alike(one.misses, other.misses, lambda a, b: 1 - float(np.abs(a - b).mean()))


def profile(one: Digest, other: Digest) -> float | None:
    """Compare when the bytes of each phase moved; phases count by their bytes on both sides."""
    return _alike(one.times, other.times, _profile_likeness)


def gaps(one: Digest, other: Digest) -> float | None:
    """Compare the time from a reader's call to its next."""
    mine, theirs = (own.times.gaps if own.times else None for own in (one, other))
    return _alike(mine, theirs, _value_likeness)


def service(one: Digest, other: Digest) -> float | None:
    """Compare how long transfers took, by their bytes."""
    mine, theirs = (own.times.service if own.times else None for own in (one, other))
    return _alike(mine, theirs, _value_likeness)


def makespan(one: Digest, other: Digest) -> float | None:
    """Compare the time from the first call to the end of the last."""
    spans = [own.times.makespan_ns if own.times else 0 for own in (one, other)]
    return _common(*spans)


CALL_COMPONENTS: Final[Mapping[str, Component]] = {
    "volume": volume,
    "opmix": opmix,
    "size_calls": size_calls,
    "size_bytes": size_bytes,
    "file_bytes": file_bytes,
    "files": files,
    "sequentiality": sequentiality,
    "coverage": coverage,
    "order": order,
    "balance": balance,
    "reuse": reuse,
}
TIME_COMPONENTS: Final[Mapping[str, Component]] = {
    "profile": profile,
    "gaps": gaps,
    "service": service,
    "makespan": makespan,
}


def _alike(one: T | None, other: T | None, likeness: Callable[[T, T], float]) -> float | None:
    if one is None or other is None:
        return None if one is other else 0.0
    return likeness(one, other)


def _common(one: int, other: int) -> float | None:
    return common_share(one, other) if one or other else None


def _value_likeness(one: Weighted, other: Weighted) -> float:
    return float(np.exp(-wasserstein(one, other)))


def _label_likeness(one: Weighted, other: Weighted) -> float:
    return 1 - jensen_shannon(one, other)


def _profile_likeness(one: Times, other: Times) -> float:
    totals = [sum(own.total for own in side.profiles.values()) for side in (one, other)]
    if not all(totals):
        return 1.0 if totals[0] == totals[1] else 0.0
    lost = 0.0
    for phase in sorted(one.profiles.keys() | other.profiles.keys()):
        mine, theirs = one.profiles.get(phase), other.profiles.get(phase)
        # What one side alone does could not be further away.
        distance = wasserstein(mine, theirs) if mine and theirs else 1.0
        shares = (
            (mine.total if mine else 0.0) / totals[0],
            (theirs.total if theirs else 0.0) / totals[1],
        )
        lost += distance * sum(shares) / 2
    return max(1 - lost, 0.0)
