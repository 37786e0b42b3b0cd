"""How batches that one rank reads reach ranks that read none.

In the reference one process reads for all accelerators. Here each accelerator has a rank, and those
that do not read get a word when the batch of a step is there. Emulated accelerators need no more;
for those that compute, each rank's part of the rows lies in memory that all of them share.
"""

import mmap
from dataclasses import fields
from multiprocessing.context import ForkContext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.worker.loading.loader import DELIVERY, Loader
from harness.worker.loading.shares import Shares
from harness.worker.record import Phase
from harness.worker.recording.waits import Waits, split_handed
from harness.worker.workload import Batches

_KINDS = tuple(field.name for field in fields(Waits))


class Handover:
    """A gate of one giver and some takers, and where the giver's waits went.

    The barrier after each step keeps a fast taker from going through twice in a step.

    Args:
        context: of the processes.
        takers: ranks that read nothing.
        steps: of an epoch.
        shares: where batches are handed over themselves.
    """

    def __init__(
        self, context: ForkContext, *, takers: int, steps: int, shares: Shares | None = None
    ) -> None:
        self.shares = shares
        self._takers = takers
        self._gate = context.Semaphore(0)
        memory = mmap.mmap(-1, len(_KINDS) * steps * np.dtype(np.int64).itemsize)
        self._waits: NDArray[np.int64] = np.frombuffer(memory, np.int64).reshape(-1, steps)

    def give(self) -> None:
        """Let every taker through once; never waits."""
        for _ in range(self._takers):
            self._gate.release()

    def take(self) -> None:
        """Wait to be let through."""
        self._gate.acquire()

    def give_waits(self, waits: Waits) -> None:
        """Let takers have the split of the waits of an epoch, or of a part of it."""
        for number, kind in enumerate(_KINDS):
            values: NDArray[np.int64] = getattr(waits, kind)
            self._waits[number, : len(values)] = values
        self.give()

    def take_waits(self, steps: int) -> Waits:
        """Return the split that was given, of so many steps."""
        self.take()
        return Waits(**dict(zip(_KINDS, self._waits[:, :steps].copy(), strict=True)))


class GivingLoader:
    """Brings batches by another loader, and tells the takers of each in training."""

    def __init__(self, loader: Loader, handover: Handover) -> None:
        self.deliveries = loader.deliveries
        self._loader = loader
        self._handover = handover
        self._gives = False

    def start(self, batches: Batches, *, phase: Phase, epoch: int, goes_on: bool = False) -> None:
        """Begin a phase; in evaluation others only meet this rank at its end."""
        self._gives = phase is Phase.TRAIN
        self._loader.start(batches, phase=phase, epoch=epoch, goes_on=goes_on)

    def next(self) -> Any:
        """Wait for the next batch, and tell of it; return this rank's own part where it is cut."""
        batch, shares = self._loader.next(), self._handover.shares
        if not self._gives:
            return batch
        if shares is not None:
            shares.put(batch)
            batch = shares.part(0)
        self._handover.give()
        return batch

    def rehearse(self) -> None:
        """Do what the other loader does beside reading and waiting."""
        self._loader.rehearse()

    def finish(self) -> None:
        """End the phase."""
        self._loader.finish()

    def waits(self, steps: NDArray[np.void]) -> Waits:
        """Return where the waits went, and give it to the takers."""
        waits = self._loader.waits(steps)
        self._handover.give_waits(waits)
        return waits


class TakingLoader:
    """Waits for the batches of another rank."""

    def __init__(self, handover: Handover, *, rank: int, most_batches: int) -> None:
        self.deliveries = np.zeros(most_batches, DELIVERY)
        self._handover = handover
        self._rank = rank

    def start(self, batches: Batches, *, phase: Phase, epoch: int, goes_on: bool = False) -> None:
        """Begin a phase: nothing is read here."""

    def next(self) -> Any:
        """Return this rank's part of the batch of this step, once it is there."""
        self._handover.take()
        shares = self._handover.shares
        return None if shares is None else shares.part(self._rank)

    def rehearse(self) -> None:
        """Do nothing: the rank that reads does it all."""

    def finish(self) -> None:
        """End the phase: nothing runs for it."""

    def waits(self, steps: NDArray[np.void]) -> Waits:
        """Return where the waits went: as the reader spent them."""
        return split_handed(
            interval_ns=steps["load_end_ns"] - steps["load_start_ns"],
            cpu_ns=self.deliveries["main_cpu_ns"][: len(steps)],
            reader=self._handover.take_waits(len(steps)),
        )
