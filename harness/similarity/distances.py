"""Distances of distributions on fixed scales, and what a pair of quantities has in common."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighted:
    """A distribution: each value once, ascending, and how much of it there is."""

    values: Floats
    weights: Floats

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return float(self.weights.sum())


def weighted(values: NDArray[Any], weights: NDArray[Any] | None = None) -> Weighted | None:
    """Return the distribution of values by weight (1 each); None where there is nothing of any."""
    kept, inverse = np.unique(values, return_inverse=True)
    sums = np.bincount(inverse, weights, minlength=len(kept)).astype(np.float64)
    some = sums > 0
    if not some.any():
        return None
    return Weighted(values=kept[some].astype(np.float64), weights=sums[some])


def wasserstein(one: Weighted, other: Weighted) -> float:
    """Return the first Wasserstein distance, in the unit of the values."""
    return float(
        wasserstein_distance(one.values, other.values, one.weights, other.weights),
    )


def jensen_shannon(one: Weighted, other: Weighted) -> float:
    """Return the Jensen-Shannon distance of two distributions over labels, 0 to 1."""
    labels = np.union1d(one.values, other.values)
    distance = float(jensenshannon(_shares(one, labels), _shares(other, labels), base=2))
    # Of shares that differ by a rounding the divergence may come out below zero, its root as nan.
    return 0.0 if np.isnan(distance) else min(distance, 1.0)


def _shares(one: Weighted, labels: Floats) -> Floats:
    shares = np.zeros(len(labels))
    shares[np.searchsorted(labels, one.values)] = one.weights / one.total
    return shares


def common_share(one: float, other: float) -> float:
    """Return the smaller of two positive quantities as a share of the larger."""
    return min(one, other) / max(one, other)


def total_variation(one: Floats, other: Floats) -> float:
    """Return half the sum of differences of two descending lists of shares."""
    length = max(len(one), len(other))
    padded = [np.pad(shares, (0, length - len(shares))) for shares in (one, other)]
    return min(float(np.abs(padded[0] - padded[1]).sum() / 2), 1.0)
