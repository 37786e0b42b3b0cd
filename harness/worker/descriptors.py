"""Whether this process and its ranks may open as many files as they will."""

import resource
from pathlib import Path

from dsgen.errors import UsageError
from harness.worker.spec import WorkerSpec

# Of a rank in its parent, inherited by the ranks after it: its word, and two that tell of its end.
_PER_RANK = 3
# Of a reader: its clock, a data file twice, as np.load has it, and one to spare.
_PER_READER = 4
# Of a rank: its counters, the checkpoint, and what the interpreter opens now and then.
_SPARE = 8


def check_descriptors(spec: WorkerSpec) -> None:
    """Raise the limit of open files as far as may be and needed.

    Raises:
        UsageError: that is not enough, with the figures.
    """
    readers = 1 + spec.loader_workers
    open_now = sum(1 for _ in Path("/proc/self/fd").iterdir())
    needed = open_now + _PER_RANK * spec.accelerators + _PER_READER * readers + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > hard != resource.RLIM_INFINITY:
        what = f"too few open files allowed: {needed:,} needed, the limit is {hard:,}"
        then = "raise it (ulimit -n), or use fewer accelerators or loader workers"
        where = f"{spec.accelerators} accelerators, {spec.loader_workers} loader workers"
        raise UsageError(what, where=where, then=then)
    if needed > soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
