"""The process of one rank: from the fork to the last word to the parent."""

import os
import resource
import signal
import sys
import traceback
from dataclasses import asdict, dataclass, field
from errno import ENOMEM
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NoReturn

from dsgen.errors import ExitCode, FeedrateError, PathError, StopRequested
from dsgen.parallel import die_with_parent
from dsgen.signals import STOPPING
from harness.worker.accelerators.computing import TensorFlow, start_tensorflow
from harness.worker.accelerators.devices import gpu_numbers, rank_threads
from harness.worker.accelerators.emulated import Accelerator, Emulated
from harness.worker.failure import MemoryShortError
from harness.worker.memory import use_one_arena
from harness.worker.ranks.loop import Job, Training
from harness.worker.record import Eviction, MachineWindow, SourceCount
from harness.worker.recording.clock import set_timer_slack, wall_anchor
from harness.worker.spec import StepTime


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What a rank tells its parent at its end; `error` is one line, None for success."""

    status: Literal["ok", "failed", "interrupted"] = "failed"
    exit_code: ExitCode = ExitCode.BUG
    error: str | None = None
    wall_anchor: dict[str, int] = field(default_factory=dict)
    peak_rss_bytes: int = 0
    rows: int | None = None
    looks: int = 0
    spin_ns: int = 0
    has_schedstat: bool = False
    checked_windows: int = 0
    mismatches: int = 0
    evictions: list[Eviction] = field(default_factory=list)
    machine: list[MachineWindow] = field(default_factory=list)
    counts: list[SourceCount] = field(default_factory=list)
    uncounted: dict[str, str] = field(default_factory=dict)
    tensorflow: dict[str, Any] | None = None


def run_rank(job: Job, rank: int, parent: int, connection: Connection) -> NoReturn:
    """Run a rank in a process just forked, send its Outcome, and end the process.

    The fork happens with the signals that stop blocked; they are let in here. A terminal's SIGINT
    or SIGHUP reaches every process: the parent hears it and speaks for all with SIGTERM.

    Args:
        job: shared by all ranks.
        rank: this one's number.
        parent: its process id; a rank does not outlive it.
        connection: takes the Outcome.
    """
    die_with_parent(parent)
    outcome = Outcome(wall_anchor=wall_anchor())
    training: list[Training] = []
    try:
        _hear_signals()
        set_timer_slack()
        if job.spec.loader == "native":  # whose bytes are counted to the last one
            use_one_arena()
        _train(job, rank, outcome, training)
    except StopRequested as stop:
        outcome.status, outcome.exit_code = "interrupted", stop.exit_code
    except FeedrateError as error:
        outcome.exit_code, outcome.error = error.exit_code, str(error)
    except BaseException as failure:
        _explain(failure, rank, outcome)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _save(job, outcome, training)
    outcome.peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    connection.send(outcome)
    sys.stderr.flush()
    os._exit(outcome.exit_code)


def _explain(failure: BaseException, rank: int, outcome: Outcome) -> None:
    """Put into one line what no code expected: a lack of memory, or a bug, which is shown whole."""
    # What numpy could not have is a MemoryError; what mmap could not, an OSError.
    if isinstance(failure, MemoryError) or getattr(failure, "errno", None) == ENOMEM:
        then = "use fewer ranks, loader workers or prefetch batches"
        short = MemoryShortError("not enough memory", where=f"rank {rank}", then=then)
        outcome.exit_code, outcome.error = short.exit_code, str(short)
        return
    traceback.print_exception(failure)
    outcome.error = traceback.format_exception_only(failure)[-1].strip()


def _hear_signals() -> None:
    def stop(number: int, _frame: object) -> NoReturn:
        raise StopRequested(number)

    for number in STOPPING:
        signal.signal(number, stop if number is signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _train(job: Job, rank: int, outcome: Outcome, kept: list[Training]) -> None:
    accelerator, tensorflow = _make_accelerator(job, rank)
    training = Training(job, rank, accelerator)
    kept.append(training)
    try:
        training.run()
        outcome.status, outcome.exit_code = "ok", ExitCode.DONE
    finally:
        outcome.spin_ns = accelerator.spin_ns + job.barrier.spin_ns
        outcome.has_schedstat = training.has_schedstat
        outcome.checked_windows = training.checked_windows
        outcome.mismatches = training.mismatches
        outcome.evictions = training.cache.evictions
        outcome.machine = training.machine
        outcome.counts, outcome.uncounted = training.counts, training.uncounted
        outcome.tensorflow = None if tensorflow is None else asdict(tensorflow.facts)


def _make_accelerator(job: Job, rank: int) -> tuple[Accelerator, TensorFlow | None]:
    """Return the rank's accelerator, once more where it is one that computes."""
    spec = job.spec
    if spec.accelerator == "emulated":
        step_time = spec.step_time or StepTime(mean_s=0.0, sd_s=0.0)
        emulated = Emulated(
            step_time=step_time,
            seed=spec.seed,
            spin=job.spin,
            has_loaders=spec.loader_workers > 0,
        )
        return emulated, None
    gpu = gpu_numbers()[rank] if spec.gpus else None
    tensorflow = start_tensorflow(spec, gpu=gpu, threads=rank_threads(spec))
    return tensorflow, tensorflow


def _save(job: Job, outcome: Outcome, training: list[Training]) -> None:
    try:
        for one in training:
            outcome.looks = one.looks
            outcome.rows = one.save(Path(job.spec.out_dir))
    except OSError as error:
        then = "free some space or name another directory"
        what = f"cannot write the recording ({error.strerror})"
        failure = PathError(what, where=job.spec.out_dir, then=then)
        if outcome.error is None:
            outcome.status, outcome.exit_code = "failed", failure.exit_code
            outcome.error = str(failure)
