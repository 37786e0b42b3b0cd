"""Memory of the ranks: whether their buffers fit, and an allocator that reads no files.

That they fit is asked before they are made, and not by being killed.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path

from dsgen.size import format_size
from harness.worker.checkpoint import Checkpoint
from harness.worker.failure import LimitError, MemoryShortError
from harness.worker.host.cgroup import CgroupLimits, own_limits
from harness.worker.loading.loader import slots_for
from harness.worker.recording.capacity import record_memory_bytes
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Reading

_M_ARENA_MAX = -8
# A rank or their parent beside its arrays: measured, with numpy and the worker's modules, 20 to
# 35 MB, of which little stays shared.
_PROCESS_BYTES = 32 << 20
# TensorFlow's code, which all ranks share, and a rank's own of it: measured with version 2.21.
_TENSORFLOW_CODE_BYTES = 320 << 20
_TENSORFLOW_RANK_BYTES = 240 << 20
# A sample of a step, forward and backward: measured, at batches of 1 and 2 crops, 6 to 24 records,
# and 1,024 to 32,768 rows.
_TENSORFLOW_SAMPLE_BYTES = {"imseg": 560_000_000, "bert": 42_000_000, "dlrm": 16_000}


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Memory that all ranks together keep for one purpose, and what makes it less."""

    size_bytes: int
    purpose: str
    then: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryFacts:
    """The memory that a run had.

    Args:
        need_bytes: what all ranks keep; the rest may hold data.
        limit_bytes: the control groups' limit, None for none.
        group_version: of the control groups, None where there are none that are known.
        total_bytes: of the machine.
    """

    need_bytes: int
    limit_bytes: int | None
    group_version: str | None
    total_bytes: int


def needed_bytes(spec: WorkerSpec, reading: Reading, *, checkpoint: Checkpoint | None) -> int:
    """Return what all ranks together keep."""
    return sum(need.size_bytes for need in _needs(spec, reading, checkpoint))


def check_memory(
    spec: WorkerSpec,
    reading: Reading,
    *,
    checkpoint: Checkpoint | None,
    limit_bytes: int | None = None,
) -> None:
    """Compare what all ranks keep with what is available.

    Args:
        spec: of the run.
        reading: for what readers and batches keep.
        checkpoint: for what its writes leave.
        limit_bytes: what will be available; None is what is available here and now.

    Raises:
        MemoryShortError: it does not fit, with the figures and what the largest part depends on.
    """
    needs = _needs(spec, reading, checkpoint)
    all_bytes = sum(need.size_bytes for need in needs)
    there_bytes = available_bytes() if limit_bytes is None else limit_bytes
    if all_bytes > there_bytes:
        parts = ", ".join(f"{format_size(need.size_bytes)} for {need.purpose}" for need in needs)
        there = "is available" if limit_bytes is None else "is the limit"
        what = (
            f"{spec.accelerators} ranks keep {format_size(all_bytes)} ({parts}), "
            f"{format_size(there_bytes)} of memory {there}"
        )
        raise MemoryShortError(what, then=max(needs, key=lambda need: need.size_bytes).then)


def check_limit(limit_bytes: int | None, found: CgroupLimits) -> None:
    """Compare the limit that was asked for with what the control groups say of this process.

    Raises:
        LimitError: they say another, none, or nothing that is understood.
    """
    if limit_bytes is None:
        return
    # The kernel counts in pages, and a group above may be tighter.
    if found.memory_bytes is not None and found.memory_bytes <= limit_bytes:
        return
    if found.version is None:
        says = "the control groups have a layout that is not known"
    elif found.memory_bytes is None:
        says = f"the control groups (version {found.version}) have no limit"
    else:
        says = f"the control groups have {format_size(found.memory_bytes)}"
    what = f"the memory limit of {format_size(limit_bytes)} is not in force"
    then = (
        "let the engine control memory (see the warnings of `docker info`), or leave out --memory"
    )
    raise LimitError(what, where=says, then=then)


def memory_facts(need_bytes: int, limits: CgroupLimits) -> MemoryFacts:
    """Return what memory the ranks have, under the limits of this process."""
    return MemoryFacts(
        need_bytes=need_bytes,
        limit_bytes=limits.memory_bytes,
        group_version=limits.version,
        total_bytes=_meminfo(Path("/proc"))["MemTotal"],
    )


def _needs(spec: WorkerSpec, reading: Reading, checkpoint: Checkpoint | None) -> tuple[Need, ...]:
    readers = reading.readers * max(1, spec.loader_workers)
    batches = reading.readers * slots_for(spec.loader_workers, spec.prefetch_batches)
    return (
        Need(
            size_bytes=readers * reading.reader_bytes,
            purpose=f"the buffers of {readers} readers",
            then="use fewer loader workers or accelerators, or --buffer fresh",
        ),
        Need(
            size_bytes=batches * reading.slot_bytes,
            purpose=f"what is kept of {batches} batches",
            then="use fewer prefetch batches, loader workers or accelerators, or a smaller batch",
        ),
        Need(
            size_bytes=record_memory_bytes(spec, reading, checkpoint=checkpoint),
            purpose="what is recorded",
            then="use fewer epochs",
        ),
        Need(
            size_bytes=(spec.accelerators + 1) * _PROCESS_BYTES,
            purpose=f"{spec.accelerators + 1} processes",
            then="use fewer accelerators",
        ),
        *([_tensorflow(spec)] if spec.accelerator == "tensorflow" else []),
    )


def _tensorflow(spec: WorkerSpec) -> Need:
    samples_bytes = spec.batch_size * _TENSORFLOW_SAMPLE_BYTES[spec.workload]
    ranks_bytes = spec.accelerators * (_TENSORFLOW_RANK_BYTES + samples_bytes)
    return Need(
        size_bytes=_TENSORFLOW_CODE_BYTES + ranks_bytes,
        purpose="TensorFlow and its models",
        then="use fewer accelerators or a smaller batch, or --accelerator emulated",
    )


def use_one_arena() -> None:
    """Keep the C library's allocator from giving threads arenas of their own.

    To size and shrink such arenas it reads files below /proc and /sys, in the middle of a
    measured window, where the kernel counts their bytes beside the data's.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # of the GNU library; others have one arena anyway
        libc.mallopt(_M_ARENA_MAX, 1)


def available_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the free memory of the machine, or the control groups' limit if that is less."""
    available = _meminfo(proc)["MemAvailable"]
    limit = own_limits(proc, groups).memory_bytes
    return available if limit is None else min(available, limit)


def _meminfo(proc: Path) -> dict[str, int]:
    """Return the sizes of /proc/meminfo in bytes."""
    lines = (proc / "meminfo").read_text().splitlines()
    pairs = (line.split() for line in lines)
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in pairs if words[-1] == "kB"}
