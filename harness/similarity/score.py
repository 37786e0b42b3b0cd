"""One pattern against another: the components and their geometric means, L of calls and T of times.

Scores whose lists of components differ are not comparable, so the list is part of a score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from harness.analysis.part import Part
from harness.similarity.components import CALL_COMPONENTS, TIME_COMPONENTS, Component
from harness.similarity.digest import Digest, digest_of
from harness.similarity.pattern import Pattern

# No component may cost more than this, or all others would say nothing.
CLIP: Final = 1e-3


class Score(Part, frozen=True, kw_only=True):
    """L and T with their components, 0 to 1; null where they are undefined on both sides.

    `time_withheld` says why T is null although there were calls.
    """

    L: float | None
    T: float | None
    components: dict[str, float]
    time_withheld: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the patterns of a comparison, digested."""

    pattern: Pattern
    digest: Digest


def digest_sides(patterns: Sequence[Pattern]) -> tuple[Side, ...]:
    """Digest patterns that are going to be compared.

    If one of them does not know its epochs and phases, those of all are inferred in the same way;
    if one does not know the sizes of its files, coverage is left out of all.
    """
    labelled = all(pattern.labelled for pattern in patterns)
    sized = all(pattern.sized for pattern in patterns)
    return tuple(
        Side(pattern=pattern, digest=digest_of(pattern, labelled=labelled, sized=sized))
        for pattern in patterns
    )


def score(one: Pattern, other: Pattern) -> Score:
    """Return the score of two patterns; it is the same for (other, one)."""
    return score_sides(*digest_sides((one, other)))


def score_sides(one: Side, other: Side) -> Score:
    """Return the score of two patterns that were digested together."""
    calls = _components(CALL_COMPONENTS, one.digest, other.digest)
    reason = why_no_time(one.pattern, other.pattern)
    times = {} if reason else _components(TIME_COMPONENTS, one.digest, other.digest)
    return Score(
        L=geometric_mean(calls),
        T=geometric_mean(times),
        components=calls | times,
        time_withheld=reason,
    )


def why_no_time(one: Pattern, other: Pattern) -> str:
    """Return why times of these two cannot be compared; empty if they can."""
    if not (one.timed and other.timed):
        return "planned calls have no times"
    if one.sparse or other.sparse:
        return "files with holes: their reads need no device"
    if not (one.sized and other.sized):
        return "the sizes of a side's files are unknown, and with them the regime"
    if one.regime is None or other.regime is None:
        return "the memory of a side is unknown, and with it the regime"
    if one.regime != other.regime:
        return f"regimes differ: {' and '.join(sorted((one.regime, other.regime)))}"
    return ""


def geometric_mean(components: Mapping[str, float]) -> float | None:
    """Return the mean of components with equal weights, each at least CLIP; None of none.

    >>> geometric_mean({"volume": 1.0, "files": 0.25})
    0.5
    """
    if not components:
        return None
    clipped = np.maximum(list(components.values()), CLIP)
    return float(np.exp(np.log(clipped).mean()))


def _components(kinds: Mapping[str, Component], one: Digest, other: Digest) -> dict[str, float]:
    found: dict[str, Any] = {name: compare(one, other) for name, compare in kinds.items()}
    return {name: max(value, 0.0) for name, value in found.items() if value is not None}
