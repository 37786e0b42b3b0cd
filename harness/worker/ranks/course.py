"""One epoch of one rank: its batches, what its steps are declared to take, and their rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.worker.accelerators.emulated import Accelerator
from harness.worker.recording.clock import Look
from harness.worker.recording.waits import Waits
from harness.worker.schedule import Part
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batches, PartOfBatches, Reading


@dataclass(kw_only=True, slots=True)
class Course:
    """An epoch of a rank, which may be trained in parts.

    Args:
        epoch: from 1.
        batches: of a rank that reads; others have none.
        declared: what each step shall take, in ns.
        rows: its STEP rows, step 0 among them.

    `paused_ns` is the time between parts so far.
    """

    epoch: int
    batches: Batches
    declared: list[int]
    rows: NDArray[np.void]
    paused_ns: int = 0

    @property
    def steps(self) -> int:
        """Steps of all parts."""
        return len(self.declared)

    def batches_of(self, part: Part) -> Batches:
        """Return the batches of a part; none where the rank reads none."""
        places = range(part.start, min(part.stop, len(self.batches)))
        return PartOfBatches(batches=self.batches, places=places)

    def open(self, part: Part, start_ns: int) -> None:
        """Write that a part was begun: step 0, or that there was a pause."""
        if part.start == 0:
            self.rows[0] = (self.epoch, 0, *[start_ns] * 4, *[0] * 9)
        else:
            self.paused_ns += start_ns - int(self.rows[part.start]["barrier_end_ns"])

    def write(
        self,
        step: int,
        looks: tuple[Look, Look, Look],
        *,
        compute_end_ns: int,
        declared_ns: int,
        delivery: np.void,
    ) -> None:
        """Write a step: looks before it, when its batch was there, and after its barrier."""
        before, loaded, after = looks
        self.rows[step] = (
            *(self.epoch, step, before.now, loaded.now, compute_end_ns, after.now, declared_ns),
            *(delivery["io_wall_ns"], delivery["io_cpu_ns"], 0, 0, 0, 0),
            *(after.queue - before.queue, int(delivery["bytes"])),
        )

    def rows_of(self, part: Part) -> NDArray[np.void]:
        """Return the rows of a part's steps."""
        return self.rows[part.start + 1 : part.stop + 1]

    def fill_waits(self, part: Part, waits: Waits) -> None:
        """Write where the waits of a part's steps went."""
        rows = self.rows_of(part)
        rows["wait_storage_ns"] = waits.storage_ns
        rows["wait_io_cpu_ns"] = waits.io_cpu_ns
        rows["wait_decode_cpu_ns"] = waits.decode_cpu_ns
        rows["wait_runqueue_ns"] = waits.runqueue_ns


def plan_course(
    spec: WorkerSpec,
    reading: Reading,
    accelerator: Accelerator,
    *,
    epoch: int,
    rank: int,
    rows: NDArray[np.void],
) -> Course:
    """Return an epoch of a rank; `rows` are there for it."""
    rehearsal, steps = spec.rehearsal, reading.steps_per_epoch
    idle = not reading.computes or (rehearsal is not None and epoch <= rehearsal.idle_epochs)
    order = epoch if rehearsal is None else 1
    return Course(
        epoch=epoch,
        batches=reading.train(order, rank) if rank < reading.readers else (),
        declared=[0] * steps if idle else accelerator.declare(epoch, steps),
        rows=rows[: steps + 1],
    )
