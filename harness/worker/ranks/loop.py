"""One rank's training: epochs of steps, evaluations, checkpoints, and what is recorded."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.worker.accelerators.emulated import AS_TAKEN, Accelerator
from harness.worker.checkpoint import Checkpoint, CheckpointWriter
from harness.worker.failure import SelfCheckError
from harness.worker.host.cores import stay_on_core
from harness.worker.host.counters import Bystanders
from harness.worker.host.machine import Machine
from harness.worker.host.sources import find_sources
from harness.worker.loading.handover import GivingLoader, Handover, TakingLoader
from harness.worker.loading.loader import InlineLoader, Loader, ThreadLoader, slots_for
from harness.worker.planted import Throttle, plant_in_calls, plant_in_reader
from harness.worker.ranks.cache import PageCache
from harness.worker.ranks.comm import Activity, Board, Turnstile
from harness.worker.ranks.course import Course, plan_course
from harness.worker.record import MachineWindow, Phase, SourceCount
from harness.worker.recording.clock import Look
from harness.worker.recording.io import DataCalls
from harness.worker.recording.ledger import Ledger
from harness.worker.recording.whereabouts import Place, Whereabouts
from harness.worker.recording.window import Meter, check_window
from harness.worker.schedule import Part, parts_of_epoch
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batches, Reading, sample_count


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What all ranks of a run share.

    `spin`: every rank has a core to itself, stays on it, and may burn it while it waits.
    `ledgers`: of the ranks.
    `handover`: from the rank that reads to those that do not; None where all read.
    `throttle`: of all reads, where one is planted.
    """

    spec: WorkerSpec
    reading: Reading
    barrier: Turnstile
    board: Board
    whereabouts: Whereabouts
    spin: bool
    checkpoint: Checkpoint | None
    ledgers: Sequence[Ledger]
    handover: Handover | None = None
    throttle: Throttle | None = None


class Training:
    """The training of one rank. What it recorded so far may be saved at any time.

    Args:
        job: shared by all ranks.
        rank: this one's number.
        accelerator: this rank's.
    """

    def __init__(self, job: Job, rank: int, accelerator: Accelerator) -> None:
        spec = job.spec
        self._job = job
        self._spec = spec
        self._rank = rank
        self._accelerator = accelerator
        self._ledger = job.ledgers[rank]
        self._steps = self._ledger.steps
        self._step_count = 0
        self._saved = 0  # checkpoints
        self._unsettled: Callable[[], None] | None = None
        self._window_count = 0
        # The first rank looks for all, and counts cores before it may be kept on one.
        self._machine = Machine() if rank == 0 else None
        self.machine: list[MachineWindow] = []
        self.mismatches = 0
        self._post = job.whereabouts.post(rank, 0)
        self.cache = PageCache(spec, job.reading.files, rank=rank, post=self._post)
        self._sources = find_sources(spec) if rank == 0 else None
        self._main, self._readers = self._make_calls()
        self._loader = self._make_loader()
        self._meter = self._make_meter()
        self._awaits = self._awaited()

    @property
    def checked_windows(self) -> int:
        """Windows whose bytes were compared with the kernel's count; none where they are it."""
        return self._window_count if self._spec.leaves_rows else 0

    @property
    def counts(self) -> list[SourceCount]:
        """What sources that count for all ranks counted; the first rank's to tell."""
        return self._meter.counts

    @property
    def uncounted(self) -> dict[str, str]:
        """Name of a source that should have counted -> why it did not."""
        return self._sources.missing(self._meter.counts) if self._sources else {}

    @property
    def has_schedstat(self) -> bool:
        """Whether the kernel tells run-queue delays."""
        return self._main.clock.has_schedstat

    @property
    def looks(self) -> int:
        """How often calls asked for the run-queue delay."""
        return sum(calls.look_count for calls in (self._main, *self._workers()))

    def run(self) -> None:
        """Train for all epochs.

        Raises:
            FeedrateError: a data set error, a path error, or a failed self-check.
        """
        spec = self._spec
        if self._job.spin:
            stay_on_core(self._rank)
        self._main.clock.open()
        self._job.barrier.rehearse()  # makes a lock, before anything is measured
        checkpoint = self._job.checkpoint
        after_tests = checkpoint is not None and checkpoint.after_tests
        for epoch in range(1, spec.epochs + 1):
            if self.cache.is_due(epoch):
                self._job.board.enter(self._rank, Activity.EVICT, epoch, 0)
                self.cache.arrange(epoch, self._meet)
            course = self._course(epoch)
            for part in parts_of_epoch(spec, epoch, course.steps, after_tests=after_tests):
                self._train(course, part)
                if part.evaluated:
                    self._evaluate(epoch)
                if part.saved and checkpoint is not None:
                    self._write_checkpoint(checkpoint.writer(self._rank, self._saved), epoch)

    def save(self, out_dir: Path) -> int:
        """Write what was recorded so far below `out_dir` and return the count of trace rows."""
        self._settle()
        return self._ledger.save(
            out_dir, [calls.row_count for calls in (self._main, *self._workers())]
        )

    def _make_calls(self) -> tuple[DataCalls, list[DataCalls]]:
        rooms = zip(self._ledger.rooms, self._ledger.rows, strict=True)
        main, *workers = [
            DataCalls(
                rank=self._rank,
                loader=loader,
                rows=room.rows,
                marks=room.marks,
                memory=memory,
                post=self._job.whereabouts.post(self._rank, loader),
            )
            for loader, (room, memory) in enumerate(rooms)
        ]
        for calls in (main, *workers):
            plant_in_calls(calls, self._spec.planted, self._rank, self._job.throttle)
        return main, workers or [main]

    def _make_meter(self) -> Meter:
        emulated = self._spec.accelerator == "emulated"
        others: list[Callable[[], int]] = []
        if not emulated:  # the threads that compute are there by now, and loader workers are not
            others.append(Bystanders().rchar)
        if self._machine is not None:
            others.append(self._machine.looked)
        return Meter(
            [self._main, *self._workers()],
            inferred=emulated and not self._spec.leaves_rows,
            bystanders=lambda: sum(other() for other in others),
            sources=self._sources,
            spun_ns=lambda: self._accelerator.spin_ns + self._job.barrier.spin_ns,
        )

    def _workers(self) -> list[DataCalls]:
        return [calls for calls in self._readers if calls is not self._main]

    def _make_loader(self) -> Loader:
        reading, handover = self._job.reading, self._job.handover
        if handover is None:
            return self._make_reading_loader()
        if self._reads():
            return GivingLoader(self._make_reading_loader(), handover)
        return TakingLoader(handover, rank=self._rank, most_batches=reading.steps_per_epoch)

    def _make_reading_loader(self) -> Loader:
        spec, reading = self._spec, self._job.reading
        most = max(reading.steps_per_epoch, len(reading.evaluation(1, self._rank)))
        count = slots_for(spec.loader_workers, spec.prefetch_batches)
        slots = reading.slots(count)
        workers = [
            (calls, plant_in_reader(reading.reader(calls, slots), spec.planted))
            for calls in self._readers
        ]
        if spec.loader_workers == 0:
            return InlineLoader(*workers[0], most_batches=most)
        return ThreadLoader(workers, prefetch=spec.prefetch_batches, most_batches=most)

    def _meet(self) -> None:
        """Wait for all ranks, and say so."""
        self._post.enter(Place.BARRIER, time.monotonic_ns())
        self._job.barrier.wait()
        self._post.leave(time.monotonic_ns())

    def _awaited(self) -> Place:
        """Return what the main thread is in from the barrier to its next batch, but for calls."""
        if not self._reads():
            return Place.HANDOVER
        return Place.BATCH if self._spec.loader_workers else Place.NOWHERE

    def _reads(self) -> bool:
        return self._rank < self._job.reading.readers

    def _course(self, epoch: int) -> Course:
        rows = self._steps[self._step_count :]
        spec, reading = self._spec, self._job.reading
        return plan_course(
            spec, reading, self._accelerator, epoch=epoch, rank=self._rank, rows=rows
        )

    def _train(self, course: Course, part: Part) -> None:
        epoch, steps = course.epoch, course.steps
        batches = course.batches_of(part)
        self._job.board.enter(self._rank, Activity.TRAIN, epoch, steps, done=part.start)
        if self._machine is not None:
            self._machine.begin()
        look = self._open()
        start_ns = look.now
        course.open(part, start_ns)
        if part.start == 0:
            self._job.board.start(self._rank, epoch, start_ns)
            self._step_count += 1
        goes_on = part.stop < steps
        self._loader.start(batches, phase=Phase.TRAIN, epoch=epoch, goes_on=goes_on)
        for step in range(part.start + 1, part.stop + 1):
            look = self._step(course, step, step - part.start - 1, look)
        if self._machine is not None:
            self.machine.append(self._machine.end(epoch))
        self._settle()
        self._loader.finish()
        # After the window: a worker's account of a wait may be complete only then.
        course.fill_waits(part, self._loader.waits(course.rows_of(part)))
        self._close(epoch, Phase.TRAIN, start_ns, look.now, sample_count(batches))

    def _step(self, course: Course, step: int, number: int, before: Look) -> Look:
        """Take a step, whose batch is `number` of those that the loader was started on."""
        declared_ns = course.declared[step - 1]
        self._post.enter(self._awaits, before.now)
        batch = self._loader.next()
        loaded = self._look()
        # While the accelerator computes there is time to write down the step before.
        self._settle()
        done_ns = loaded.now + max(0, declared_ns)
        self._post.enter(Place.COMPUTE, done_ns)
        rehearse = partial(self._rehearse, done_ns)
        compute_end_ns = self._accelerator.run(loaded.now, declared_ns, batch, rehearse)
        self._post.enter(Place.BARRIER, compute_end_ns)
        self._job.barrier.wait()
        after = self._look()
        self._unsettled = partial(
            self._write_step,
            course,
            step,
            number,
            declared_ns,
            compute_end_ns,
            (before, loaded, after),
        )
        return after

    def _rehearse(self, done_ns: int) -> None:
        """Do what comes between two steps, without its effects."""
        self._post.enter(Place.COMPUTE, done_ns)
        self._job.barrier.rehearse()
        self._look()
        self._loader.rehearse()

    def _settle(self) -> None:
        """Write the step that has ended last, if it is not written yet."""
        write, self._unsettled = self._unsettled, None
        if write is not None:
            write()

    def _write_step(
        self,
        course: Course,
        step: int,
        number: int,
        declared_ns: int,
        compute_end_ns: int,
        looks: tuple[Look, Look, Look],
    ) -> None:
        before, loaded, after = looks
        if declared_ns == AS_TAKEN:
            declared_ns = compute_end_ns - loaded.now
        delivery = self._loader.deliveries[number]
        delivery["main_cpu_ns"] = loaded.cpu - before.cpu
        delivery["main_queue_ns"] = loaded.queue - before.queue
        course.write(
            step,
            looks,
            compute_end_ns=compute_end_ns,
            declared_ns=declared_ns,
            delivery=delivery,
        )
        self._step_count += 1
        self._job.board.finish(
            self._rank,
            course.epoch,
            step,
            end_ns=after.now - course.paused_ns,
            declared_ns=declared_ns,
            read_bytes=int(delivery["bytes"]),
        )

    def _evaluate(self, epoch: int) -> None:
        reading = self._job.reading
        batches: Batches = reading.evaluation(epoch, self._rank) if self._reads() else ()
        self._job.board.enter(self._rank, Activity.EVAL, epoch, len(batches))
        start_ns = self._open().now
        self._loader.start(batches, phase=Phase.EVAL, epoch=epoch)
        self._evaluate_cases(batches)
        self._meet()
        end_ns = time.monotonic_ns()
        self._loader.finish()
        self._close(epoch, Phase.EVAL, start_ns, end_ns, sample_count(batches))

    def _evaluate_cases(self, batches: Batches) -> None:
        case_ns = round((self._spec.evaluation_case_s or 0) * 1e9)
        for number in range(len(batches)):
            self._post.enter(self._awaits, time.monotonic_ns())
            self._loader.next()
            if case_ns:
                now_ns = time.monotonic_ns()
                self._post.enter(Place.COMPUTE, now_ns + case_ns)
                self._accelerator.run(now_ns, case_ns)
            read_bytes = int(self._loader.deliveries[number]["bytes"])
            self._job.board.advance(self._rank, number + 1, read_bytes)

    def _write_checkpoint(self, writer: CheckpointWriter | None, epoch: int) -> None:
        # Who writes none waits for the others, and its window says how long.
        self._saved += 1
        self._job.board.enter(self._rank, Activity.CHECKPOINT, epoch, 0)
        start_ns = self._open().now
        if writer is not None:
            calls = self._main
            calls.phase, calls.epoch, calls.step = Phase.CHECKPOINT, epoch, 0
            calls.forget_marks()
            writer.write(calls)
        self._meet()
        self._close(epoch, Phase.CHECKPOINT, start_ns, time.monotonic_ns(), 0)

    def _open(self) -> Look:
        self._meter.open()
        self._post.enter(Place.BARRIER, time.monotonic_ns())
        self._job.barrier.wait()
        look = self._look()
        self._post.leave(look.now)
        return look

    def _close(self, epoch: int, phase: Phase, start_ns: int, end_ns: int, samples: int) -> None:
        window = self._meter.close(
            epoch=epoch, phase=phase, start_ns=start_ns, end_ns=end_ns, samples=samples
        )
        self._ledger.windows[self._window_count] = window
        self._window_count += 1
        try:
            check_window(window, self._rank)
        except SelfCheckError:
            self.mismatches += 1
            raise

    def _look(self) -> Look:
        return self._main.clock.look()
