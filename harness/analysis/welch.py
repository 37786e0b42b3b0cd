"""Two samples of a positive figure: the ratio of their means, and how far it can be trusted.

Figures of repeated runs scatter by a share of themselves, so logarithms are what is compared: their
means differ by the logarithm of the ratio of the geometric means. Welch's test does not ask the two
sides for the same scatter. Source: B. L. Welch, Biometrika 34 (1947), 28 to 35.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

from harness.analysis.part import Part

CONFIDENCE = 0.95


class Ratio(Part, frozen=True, kw_only=True):
    """Geometric mean of one sample over that of another, with its 95 % interval.

    `low`, `high` and `p_value` are null where a side has one value, which tells of no scatter.
    """

    value: float
    low: float | None
    high: float | None
    p_value: float | None

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves 1 out."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high


class Spread(Part, frozen=True, kw_only=True):
    """A sample of one figure in short.

    Args:
        count: how many values.
        mean: geometric, in the figure's unit.
        low, high: 95 % interval of that mean; null with one value.
        scatter: standard deviation of the logarithms, which is the relative one while it is small;
            null with one value.
        smallest, largest: values.
    """

    count: int
    mean: float
    low: float | None
    high: float | None
    scatter: float | None
    smallest: float
    largest: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Logs:
    """Mean and variance of the logarithms of a sample."""

    count: int
    mean: float
    variance: float

    @property
    def mean_variance(self) -> float:
        """Variance of the mean."""
        return self.variance / self.count


def ratio_of(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """Return the mean of `b` over that of `a`, by Welch's t on logarithms.

    Args:
        a: one value or more, each above 0.
        b: likewise.
    """
    first, second = _logs(a), _logs(b)
    difference = second.mean - first.mean
    if first.count < 2 or second.count < 2:
        return Ratio(value=math.exp(difference), low=None, high=None, p_value=None)
    error = math.sqrt(first.mean_variance + second.mean_variance)
    if error == 0:  # no scatter at all: any difference is one
        value, p_value = math.exp(difference), float(difference == 0)
        return Ratio(value=value, low=value, high=value, p_value=p_value)
    freedom = _degrees_of_freedom(first, second)
    reach = _quantile(freedom) * error
    return Ratio(
        value=math.exp(difference),
        low=math.exp(difference - reach),
        high=math.exp(difference + reach),
        p_value=2 * float(stdtr(freedom, -abs(difference) / error)),
    )


def spread_of(values: Sequence[float]) -> Spread:
    """Return a sample of values above 0 in short.

    >>> spread = spread_of([99.0, 101.0])
    >>> f"{spread.mean:.2f}, {spread.low:.1f} to {spread.high:.1f}, {spread.scatter:.2%}"
    '99.99, 88.1 to 113.6, 1.41%'
    """
    logs = _logs(values)
    known = logs.count > 1
    reach = _quantile(logs.count - 1) * math.sqrt(logs.mean_variance) if known else 0.0
    return Spread(
        count=logs.count,
        mean=math.exp(logs.mean),
        low=math.exp(logs.mean - reach) if known else None,
        high=math.exp(logs.mean + reach) if known else None,
        scatter=math.sqrt(logs.variance) if known else None,
        smallest=min(values),
        largest=max(values),
    )


def _logs(values: Sequence[float]) -> _Logs:
    logs = [math.log(value) for value in values]
    mean = math.fsum(logs) / len(logs)
    squares = math.fsum((log - mean) ** 2 for log in logs)
    return _Logs(count=len(logs), mean=mean, variance=squares / max(1, len(logs) - 1))


def _degrees_of_freedom(first: _Logs, second: _Logs) -> float:
    """Return those of Welch and Satterthwaite; shares keep tiny variances from becoming 0."""
    total = first.mean_variance + second.mean_variance
    shares = ((one.mean_variance / total) ** 2 / (one.count - 1) for one in (first, second))
    return 1 / sum(shares)


def _quantile(freedom: float) -> float:
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
