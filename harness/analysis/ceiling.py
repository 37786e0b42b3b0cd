"""What this client could do if the storage were as fast as memory: a short run over cached data."""

from typing import Final

from harness.analysis.demand import Demand
from harness.analysis.epoch import Epoch, epochs_of
from harness.analysis.metrics import NS
from harness.analysis.part import Part
from harness.analysis.recording import Recording, total
from harness.analysis.volume import WARM_DEVICE_SHARE, volume
from harness.analysis.wording import percent

# The first epoch brings the data into memory, the second is read without compute, the third as the
# measured run was.
IDLE_EPOCHS: Final = 2
EPOCHS: Final = 3


class Ceiling(Part, frozen=True, kw_only=True):
    """Two figures of cached data, by the same ranks, batches and profile; null with a `reason`.

    Args:
        au: from the release of the first step's barrier on, which leaves the pipeline's start out.
        bandwidth_bytes_per_s: of all ranks, when no accelerator takes any time.
        steps: of each.
        reason: why a figure is missing; null where none is.
    """

    au: float | None
    bandwidth_bytes_per_s: float | None
    steps: int | None
    reason: str | None


def no_ceiling(reason: str) -> Ceiling:
    """Return that nothing is known."""
    return Ceiling(au=None, bandwidth_bytes_per_s=None, steps=None, reason=reason)


NOT_MEASURED: Final = no_ceiling("not measured")


def compute_ceiling(recording: Recording, *, byte_source: str) -> Ceiling:
    """Return the figures of a rehearsal: a run of three epochs that read the same batches."""
    epochs = {epoch.number: epoch for epoch in epochs_of(recording, warmup_epochs=1)}
    idle, busy = epochs.get(IDLE_EPOCHS), epochs.get(EPOCHS)
    if idle is None or busy is None or not (idle.complete and busy.complete):
        return no_ceiling("the run over cached data was cut short")
    windows = [epoch.windows for epoch in (idle, busy) if epoch.windows is not None]
    share = volume(windows, byte_source=byte_source).memory_share
    if share is not None and share < 1 - WARM_DEVICE_SHARE:
        return no_ceiling(
            f"only {percent(share)} of its bytes came from memory, which could not hold them"
        )
    bandwidth = _bandwidth(idle)
    return Ceiling(
        au=_au(busy),
        bandwidth_bytes_per_s=bandwidth,
        steps=busy.step_count,
        reason=None if bandwidth else "what is read stays with the readers: none came from memory",
    )


def client_au(ceiling: Ceiling, demand: Demand) -> float | None:
    """Return the AU that this client allows: in the run over cached data, and by its bandwidth.

    A run of few steps has most of its batches read ahead in the first; its bandwidth has not.
    """
    if ceiling.au is None:
        return None
    bounds = [ceiling.au, 1.0]
    if ceiling.bandwidth_bytes_per_s and demand.bytes_per_s:
        bounds.append(ceiling.bandwidth_bytes_per_s / demand.bytes_per_s)
    return min(bounds)


def _bandwidth(epoch: Epoch) -> float | None:
    returned = 0 if epoch.windows is None else total(epoch.windows, "row_bytes")
    return returned * NS / epoch.window_ns if returned and epoch.window_ns else None


def _au(epoch: Epoch) -> float | None:
    first = 1 if epoch.step_count > 1 else 0
    window_ns = int(epoch.release_ns[-1] - epoch.release_ns[first])
    declared_ns = int(epoch.steps["declared_ns"][:, 1 + first :].sum()) // max(1, len(epoch.steps))
    return declared_ns / window_ns if window_ns and declared_ns else None
