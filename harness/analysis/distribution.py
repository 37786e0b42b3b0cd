"""Percentiles, only where there are enough values for them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.part import Part

P99_NEEDS = 1_000


class Distribution(Part, frozen=True, kw_only=True):
    """Percentiles of nanoseconds, linear between ranks; null without (enough) values."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None


def distribution(values_ns: NDArray[Any]) -> Distribution:
    """Return the percentiles of `values_ns` of any shape; p99 from 1,000 values on."""
    flat = values_ns.ravel()
    if flat.size == 0:
        return Distribution(count=0, p50=None, p90=None, p99=None, max=None)
    return Distribution(
        count=int(flat.size),
        p50=float(np.percentile(flat, 50)),
        p90=float(np.percentile(flat, 90)),
        p99=float(np.percentile(flat, 99)) if flat.size >= P99_NEEDS else None,
        max=float(flat.max()),
    )
