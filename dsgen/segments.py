"""Segments reach the device: by several processes, those that describe the others last."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dsgen.content import Content, Sink
from dsgen.directory import partial_name
from dsgen.events import Emit, progress
from dsgen.journal import Written
from dsgen.layout import Layout, PlannedFile
from dsgen.memory import keep_freed_memory
from dsgen.parallel import run_parallel
from dsgen.workloads import Blocks

Task = tuple[int, int]  # file and segment

# Segments go to a process, and to the device, together: what a message and a flush cost is many
# times what the bytes of small ones do, and a flush of each large one leaves the device idle. So
# many are written again after an interruption, at most: a part of what each process gets.
_BATCH_SEGMENTS: Final = 64
_LEAST_BATCH_BYTES: Final = 2**20
_MOST_BATCH_BYTES: Final = 2**27
_BATCHES_A_PROCESS: Final = 8


def write_segments(
    layout: Layout,
    content: Content,
    directory: Path,
    tasks: list[Task],
    processes: int,
    emit: Emit,
    *,
    in_place: bool,
    digests: dict[Task, int | None] | None = None,
) -> Iterator[Written]:
    """Write the segments and yield each once it is on the device, with progress for the whole.

    `digests` are those of segments that were written before, as far as they are known.
    """
    sinks: list[Sink] = []  # filled in the child: one sink a process
    known = dict(digests or {})

    def write(task: Task) -> Written:
        file, segment = layout.files[task[0]], task[1]
        name = file.path if in_place else partial_name(file.path)
        blocks = blocks_of(content, layout, file, segment, known)
        return sinks[0].write(directory / name, file.index, file.segment(segment), blocks)

    def work(batch: list[Task]) -> tuple[list[Written], int]:
        if not sinks:
            keep_freed_memory()
            sinks.append(content.sink(layout))
        written = [write(task) for task in batch]
        sinks[0].flush()
        return written, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    todo_bytes = _bytes_of(layout, tasks)
    total_bytes = sum(file.bytes for file in layout.files)
    done_bytes, peak_bytes = total_bytes - todo_bytes, 0
    for phase in _phases(layout, tasks):
        # Processes are forked for each phase, and so know all digests of the one before.
        for batch, process_peak_bytes in run_parallel(
            _batches(layout, phase, processes), work, processes
        ):
            peak_bytes = max(peak_bytes, process_peak_bytes)
            for written in batch:
                yield written
                known[written.file, written.segment] = written.digest
                done_bytes += written.bytes
            event = progress(content.task, done_bytes, total_bytes)
            emit({**event, "peak_process_bytes": peak_bytes})


def _phases(layout: Layout, tasks: list[Task]) -> Iterator[list[Task]]:
    """Yield the tasks in two lists, the second with the closing segments.

    Files with such segments come first. Among copies they are the ones that are made, which takes
    the processor: at the end the device would wait for them.
    """
    made_first = sorted(tasks, key=lambda task: not layout.files[task[0]].closing)
    for closing in (False, True):
        yield [task for task in made_first if (task[1] in layout.files[task[0]].closing) == closing]


def _batches(layout: Layout, tasks: list[Task], processes: int) -> Iterator[list[Task]]:
    """Yield the tasks in lists of at most so many segments and bytes, or of one segment."""
    most_bytes = _bytes_of(layout, tasks) // (processes * _BATCHES_A_PROCESS)
    most_bytes = min(max(most_bytes, _LEAST_BATCH_BYTES), _MOST_BATCH_BYTES)
    batch: list[Task] = []
    batch_bytes = 0
    for file, segment in tasks:
        segment_bytes = layout.files[file].segment(segment).bytes
        if batch and (len(batch) == _BATCH_SEGMENTS or batch_bytes + segment_bytes > most_bytes):
            yield batch
            batch, batch_bytes = [], 0
        batch.append((file, segment))
        batch_bytes += segment_bytes
    if batch:
        yield batch


def _bytes_of(layout: Layout, tasks: list[Task]) -> int:
    return sum(layout.files[file].segment(segment).bytes for file, segment in tasks)


def blocks_of(
    content: Content,
    layout: Layout,
    file: PlannedFile,
    segment: int,
    known: dict[Task, int | None],
) -> Blocks:
    """Return the bytes of one segment; for a closing one, `known` gets digests that it lacks."""
    digests: dict[int, int] = {}
    if segment in file.closing:
        for other in set(range(file.segment_count)) - file.closing:
            digest = known.get((file.index, other))
            if digest is None:
                digest = _digest(content.blocks(layout, file, other, {}))
                known[file.index, other] = digest
            digests[other] = digest
    return content.blocks(layout, file, segment, digests)


def _digest(blocks: Blocks) -> int:
    """Return what the generator of a segment returns at its end."""
    while True:
        try:
            next(blocks)
        except StopIteration as end:
            return int(end.value)
