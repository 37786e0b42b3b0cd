"""The memory that a run will have, before it: whether the ranks fit, and how much data it holds."""

from typing import NamedTuple

import psutil

from harness.analysis.memory import MemorySource, effective_memory, memory_notices, memory_of
from harness.config import Config
from harness.worker.host.cgroup import own_limits
from harness.worker.spec import WorkerSpec
from harness.worker.training import check_need
from harness.worker.workload import Reading


class ExpectedMemory(NamedTuple):
    """Bytes that a run can have, and what limits them."""

    bytes: int
    source: MemorySource


def expected_memory(config: Config, *, engine: str) -> ExpectedMemory:
    """Return the memory that the configured run can have on this machine.

    A container is in no group of ours; plain processes are in this one, and cannot have a limit of
    their own.
    """
    is_ours = engine == "local" and config.memory_bytes is None
    group = own_limits().memory_bytes if is_ours else None
    total = psutil.virtual_memory().total
    limit = effective_memory(total_bytes=total, asked_bytes=config.memory_bytes, group_bytes=group)
    return ExpectedMemory(*limit)


def memory_lines(
    config: Config, expected: ExpectedMemory, spec: WorkerSpec, reading: Reading
) -> list[str]:
    """Return how the memory of the run stands to its data, and what follows.

    Raises:
        MemoryShortError: the ranks' own need does not fit, with the figures.
    """
    memory = memory_of(
        expected.bytes,
        expected.source,
        need_bytes=check_need(spec, reading),
        data_bytes=sum(file.size_bytes for file in reading.files if file.role == "train"),
    )
    return [f"memory  {memory.text()}", *memory_notices(memory, cache=config.cache)]
