"""Whether this process and its ranks may open as many files as they will."""

import resource
from pathlib import Path

from dsgen.errors import UsageError
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Reading

# Of a rank in its parent, inherited by the ranks after it: its word, and two that tell of its end.
_PER_RANK = 3
# Of a reader beside its data files: its clock, and one to spare.
_PER_READER = 2
# Of a rank: its counters, the checkpoint, and what the interpreter opens now and then.
_SPARE = 8


def check_descriptors(spec: WorkerSpec, reading: Reading) -> None:
    """Raise the limit of open files as far as may be and needed.

    Raises:
        UsageError: that is not enough, with the figures.
    """
    of_readers = (1 + spec.loader_workers) * (_PER_READER + reading.open_files)
    open_now = sum(1 for _ in Path("/proc/self/fd").iterdir())
    needed = open_now + _PER_RANK * spec.accelerators + of_readers + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > hard != resource.RLIM_INFINITY:
        what = f"too few open files allowed: {needed:,} needed, the limit is {hard:,}"
        then = "raise it (ulimit -n), or use fewer accelerators or loader workers"
        where = f"{spec.accelerators} accelerators, {spec.loader_workers} loader workers"
        raise UsageError(what, where=where, then=then)
    if needed > soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
