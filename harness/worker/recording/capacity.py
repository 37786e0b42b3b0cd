"""How many rows the threads will leave, so that their place is there before the first. Pure."""

from typing import NamedTuple

from harness.worker.checkpoint import Checkpoint
from harness.worker.record import ROW, STEP, WINDOW, Phase
from harness.worker.recording.io import MARK
from harness.worker.schedule import evaluations_of_run, parts_of_run
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Reading

# Calls beyond the plan: reads that return less than the file has, writes likewise.
_SLACK_SHARE = 16
_SLACK_ROWS = 64

# Measured, and rounded up: spec.json, config.json, system.json and result.json together; an entry
# of files.json beside its path; a rank's part of worker.json and the headers of its arrays.
_DOCUMENTS_BYTES = 48 << 10
_FILE_BYTES = 128
_RANK_BYTES = 1 << 10


class Room(NamedTuple):
    """Rows of one thread in the run, and its marks in one phase."""

    rows: int
    marks: int


def rooms_of_rank(
    spec: WorkerSpec, reading: Reading, *, rank: int, checkpoint: Checkpoint | None
) -> list[Room]:
    """Return the room of each thread of a rank: the main thread's, then its loader workers'.

    Args:
        spec: of the run.
        reading: for the batches, and the calls that they take.
        rank: the first has the most to do; those that read nothing have none.
        checkpoint: of the run.
    """
    calls = checkpoint.calls(rank) if checkpoint else 0
    extra = with_slack(calls) if calls else 1
    if rank >= reading.readers:
        return [Room(rows=extra, marks=extra)]
    workers = max(1, spec.loader_workers)
    readers = [
        rows_of_reader(
            spec,
            reading,
            train_batches=len(range(worker, reading.steps_per_epoch, workers)),
            eval_batches=len(range(worker, len(reading.evaluation(1, rank)), workers)),
        )
        for worker in range(workers)
    ]
    if spec.loader_workers:
        return [Room(rows=extra, marks=extra), *readers]
    return [Room(rows=readers[0].rows + extra, marks=readers[0].marks + extra)]


def rows_of_reader(
    spec: WorkerSpec, reading: Reading, *, train_batches: int, eval_batches: int
) -> Room:
    """Return the room of a reader.

    Args:
        spec: for the epochs, and those of evaluation.
        reading: for the calls that batches take.
        train_batches: its own of one epoch.
        eval_batches: its own of one evaluation.
    """
    evaluations = evaluations_of_run(spec, reading.steps_per_epoch)
    train_calls = reading.calls(Phase.TRAIN, train_batches)
    eval_calls = reading.calls(Phase.EVAL, eval_batches)
    opening = reading.opening_calls
    rows = opening + spec.epochs * train_calls + evaluations * eval_calls
    marks = opening + max(train_calls, eval_calls) + max(train_batches, eval_batches)
    return Room(rows=with_slack(rows), marks=with_slack(marks))


def with_slack(calls: int) -> int:
    """Return a capacity for `calls` planned calls."""
    return calls + calls // _SLACK_SHARE + _SLACK_ROWS


def steps_of_rank(spec: WorkerSpec, reading: Reading) -> int:
    """Return how many STEP rows a rank writes: those of its steps, and step 0 of each epoch."""
    return spec.epochs * (reading.steps_per_epoch + 1)


def windows_of_rank(spec: WorkerSpec, reading: Reading) -> int:
    """Return how many WINDOW rows a rank writes at most.

    Each part is trained, and an evaluation and a checkpoint may follow.
    """
    return 3 * parts_of_run(spec, reading.steps_per_epoch)


def record_memory_bytes(
    spec: WorkerSpec, reading: Reading, *, checkpoint: Checkpoint | None
) -> int:
    """Return the memory that all ranks need for what they record.

    At its end a rank brings the rows of its threads together and sorts them: three times the rows.
    """
    rooms = rooms_of_rank(spec, reading, rank=0, checkpoint=checkpoint)
    rows_bytes = sum(3 * room.rows * ROW.itemsize + room.marks * MARK.itemsize for room in rooms)
    steps_bytes = steps_of_rank(spec, reading) * STEP.itemsize
    return reading.readers * rows_bytes + spec.accelerators * steps_bytes


def record_disk_bytes(spec: WorkerSpec, reading: Reading, *, checkpoint: Checkpoint | None) -> int:
    """Return the space that a recording may take, documents included; rows at their most."""
    rooms = rooms_of_rank(spec, reading, rank=0, checkpoint=checkpoint)
    rows_bytes = sum(room.rows for room in rooms) * ROW.itemsize
    table_bytes = sum(len(file.path) + _FILE_BYTES for file in reading.files)
    steps_bytes = steps_of_rank(spec, reading) * STEP.itemsize
    windows_bytes = windows_of_rank(spec, reading) * WINDOW.itemsize
    rank_bytes = steps_bytes + windows_bytes + _RANK_BYTES
    ranks_bytes = reading.readers * rows_bytes + spec.accelerators * rank_bytes
    return _DOCUMENTS_BYTES + table_bytes + ranks_bytes
