"""A job of the worker, and what the end of any job comes to."""

import signal
from collections.abc import Mapping
from pathlib import Path

from dsgen.errors import ExitCode
from dsgen.size import format_size
from harness.engine import Job, JobExit, Mount
from harness.errors import JobError, ResultError
from harness.progress import Progress
from harness.target import create_directory
from harness.worker.spec import WorkerSpec


def worker_job(
    spec: WorkerSpec,
    progress: Progress,
    *,
    task: str,
    log: Path,
    timeout_s: float | None,
    read_limits: Mapping[str, int],
) -> Job:
    """Write the worker's order into its directory, and return the job that carries it out.

    Args:
        spec: the order.
        progress: that the job's lines go to; a failure that it tells of ends the job.
        task: for its name.
        log: where its output goes.
        timeout_s: after which it is ended, None for never.
        read_limits: as `harness.engine.Job` has them.

    Raises:
        ResultError: the order cannot be written.
        TargetError: the directory of the checkpoints cannot be made.
    """
    out = Path(spec.out_dir)
    path = out / "spec.json"
    try:
        path.write_text(spec.to_json(), encoding="utf-8")
    except OSError as error:
        what, then = f"cannot write ({error.strerror})", "free space, or name another --results"
        raise ResultError(what, where=str(path), then=then) from error
    mounts = [Mount(path=Path(spec.data_dir), read_only=True), Mount(path=out)]
    if spec.checkpoint_dir is not None:
        checkpoints = Path(spec.checkpoint_dir)
        create_directory(checkpoints)
        mounts.append(Mount(path=checkpoints))
    return Job(
        name=f"{task}-{spec.workload}",
        arguments=("-m", "harness.worker", str(path)),
        mounts=tuple(mounts),
        log=log,
        memory_bytes=spec.memory_bytes,
        read_limits=read_limits,
        timeout_s=timeout_s,
        is_over=lambda: progress.last_error is not None,
    )


def check_exit(progress: Progress, job: Job, ended: JobExit, log: Path) -> None:
    """Raise JobError when a job failed: in its own words where it had the time for them.

    `log` is where its log will lie when the message is read.
    """
    if ended.code == 0 and not ended.out_of_memory and not ended.timed_out:
        return
    said = progress.last_error
    if ended.left_behind:
        progress.say(ended.left_behind)
    where = f"{job.name}, log {log}"
    if ended.out_of_memory:
        limit = format_size(job.memory_bytes) if job.memory_bytes else "the machine's"
        then = "give it more by --memory, or fewer accelerators or loader workers"
        what = f"out of memory (limit {limit})"
        raise JobError(ExitCode.OUT_OF_MEMORY, what, where=where, then=then)
    # One that said how it failed and went on was ended for that, whatever its time limit.
    if said is not None:
        raise JobError(said.exit_code, said.text)
    if ended.timed_out:
        then = "raise --max-duration"
        what = f"stopped at its time limit, {job.timeout_s:g} s after its start"
        raise JobError(ExitCode.STALLED, what, where=where, then=then)
    known = {int(code) for code in ExitCode}
    code = ExitCode(ended.code) if ended.code in known else ExitCode.RANK_DIED
    last = ended.tail[-1] if ended.tail else "it said nothing"
    raise JobError(code, f"{_how(ended.code)} ({last})", where=where, then=_next_step(ended.code))


def _how(code: int) -> str:
    try:
        return f"killed by {signal.Signals(code - 128).name}"
    except ValueError:
        return f"ended with exit code {code}"


def _next_step(code: int) -> str:
    if code == 128 + signal.SIGKILL:
        # Anybody may have sent it, but mostly it is the kernel.
        return "check the memory (dmesg says whether the kernel ended it) and the log, then repeat"
    return "see the log, and report it where that does not explain it"
