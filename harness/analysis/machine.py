"""How busy the machine was while it was measured: idle cores, and stalls by the kernel's account.

Source of the stalls: the kernel's documentation, accounting/psi.
"""

from collections.abc import Sequence
from typing import Final

from harness.analysis.epoch import Epoch, measured
from harness.analysis.part import Part
from harness.worker.record import MachineWindow


class Stalls(Part, frozen=True, kw_only=True):
    """Share of the time in which some, and in which all tasks waited for a resource, 0 to 1."""

    some: float | None
    full: float | None


class MachineUse(Part, frozen=True, kw_only=True):
    """The machine during the measured windows; null is unknown.

    `idle_share` is of the `cores` that the ranks may use. `pressure_source` says whose stalls they
    are, or why they are not known.
    """

    cores: float | None
    idle_share: float | None
    cpu: Stalls
    io: Stalls
    memory: Stalls
    pressure_source: str


_UNKNOWN: Final = Stalls(some=None, full=None)
NOT_LOOKED: Final = MachineUse(
    cores=None,
    idle_share=None,
    cpu=_UNKNOWN,
    io=_UNKNOWN,
    memory=_UNKNOWN,
    pressure_source="nothing was looked at",
)


def machine_use(windows: Sequence[MachineWindow], epochs: tuple[Epoch, ...]) -> MachineUse:
    """Return the shares over the measured epochs."""
    numbers = {epoch.number for epoch in measured(epochs)}
    kept = [window for window in windows if window.epoch in numbers]
    if not kept:
        return NOT_LOOKED
    elapsed_ns = sum(window.elapsed_ns for window in kept)
    idle = [window.idle_ns for window in kept if window.idle_ns is not None]
    available_ns = sum(window.elapsed_ns * window.cores for window in kept)
    known = len(idle) == len(kept) and available_ns > 0
    return MachineUse(
        cores=float(kept[-1].cores),
        # Two looks are not one moment, nor are the clocks of cores: a share ends at 1.
        idle_share=min(1.0, sum(idle) / available_ns) if known else None,
        cpu=_stalls("cpu", kept, elapsed_ns),
        io=_stalls("io", kept, elapsed_ns),
        memory=_stalls("memory", kept, elapsed_ns),
        pressure_source=kept[-1].pressure_source,
    )


def _stalls(resource: str, windows: Sequence[MachineWindow], elapsed_ns: int) -> Stalls:
    totals = [total for one in windows if (total := one.pressure_ns.get(resource)) is not None]
    if not elapsed_ns or len(totals) < len(windows):
        return _UNKNOWN
    some, full = (min(1.0, sum(own) / elapsed_ns) for own in zip(*totals, strict=True))
    return Stalls(some=some, full=full)
