"""How many accelerators a measured bandwidth feeds: an estimate, by the demand of each number."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Supply:
    """What a run over storage that is too slow has shown.

    Args:
        accelerators: that were emulated.
        threshold_au: to be reached, 0 to 1.
        step_s: that was declared, mean.
        wall_s: that a step took, mean.
        read_ahead: whether batches are read while accelerators compute.
    """

    accelerators: int
    threshold_au: float
    step_s: float
    wall_s: float
    read_ahead: bool


def most_fed(supply: Supply, steps_s: Sequence[float | None]) -> int | None:
    """Return the largest number of accelerators whose AU would reach the threshold; 0 for none.

    With reading ahead, a step takes its bytes / bandwidth or its declared time, whichever is
    longer. Without, it takes one after the other, and the wait shrinks with the bytes.

    Args:
        supply: of the run.
        steps_s: declared mean of a step for 1, 2, ... accelerators; None where the profile does
            not say.

    Returns:
        None where no number is known to be enough, and 1 is not known to be too many.
    """
    numbers = [number for number, step_s in enumerate(steps_s, 1) if step_s]
    for number in reversed(numbers):
        step_s = steps_s[number - 1] or 0.0
        if _au(supply, number, step_s) >= supply.threshold_au:
            return number
    return 0 if 1 in numbers else None


def _au(supply: Supply, accelerators: int, step_s: float) -> float:
    share = accelerators / supply.accelerators
    if supply.read_ahead:
        return step_s / max(step_s, supply.wall_s * share)
    wait_s = max(0.0, supply.wall_s - supply.step_s) * share
    return step_s / (step_s + wait_s)
