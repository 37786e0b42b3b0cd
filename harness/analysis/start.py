"""How much of an epoch is its start, which says less of a storage than what follows."""

from typing import Final

import numpy as np

from harness.analysis.epoch import Epoch, measured

# Nothing hides the load of a first batch. Where loading takes as long as computing, which is the
# most that reading ahead can hide, it takes 1 of n + 1 parts of n steps: below 30 steps more than
# three points of AU.
FEW_STEPS: Final = 30


def few_steps(epochs: tuple[Epoch, ...], *, read_ahead: int) -> str | None:
    """Return what a verdict over these epochs must say of their length; None where it is enough.

    Epochs do not add up: each begins anew, and so does each part after an evaluation within it.

    Args:
        epochs: of the run.
        read_ahead: batches that a rank's loader workers are asked for at the start. They come in
            a burst, deeper than any later one, so that steps up to this many tell of the burst.
    """
    enough = max(FEW_STEPS, read_ahead)
    shortest = min((_steps_without_a_pause(epoch) for epoch in measured(epochs)), default=enough)
    if shortest >= enough:
        return None
    steps = "1 step" if shortest == 1 else f"{shortest} steps"
    return (
        f"an epoch has {steps}, fewer than {enough}: its start, when nothing is read ahead yet, "
        "weighs heavily in AU"
    )


def _steps_without_a_pause(epoch: Epoch) -> int:
    return epoch.step_count // (1 + int(np.count_nonzero(epoch.pauses_ns)))
