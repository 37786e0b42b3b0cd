"""From a configuration to a data set, and from a data set to a result."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dsgen import events
from dsgen.directory import check_complete
from dsgen.errors import ExitCode, FeedrateError
from dsgen.manifest import Manifest, read_manifest
from dsgen.signals import STOPPING
from dsgen.size import format_size
from harness.analysis.ceiling import Ceiling, no_ceiling
from harness.analysis.cost import cost_words
from harness.ceiling import measure_ceiling
from harness.conclude import Ending, conclude, conclude_report
from harness.dataset import DataSet
from harness.engine import Job, Mount
from harness.errors import ResultError, StopRequested, TargetError
from harness.job import check_exit, worker_job
from harness.result import RESULT_NAME, Result
from harness.run_name import partial_of, run_name
from harness.setting import Setting
from harness.target import create_directory, inspect_target
from harness.training import spec_here, worker_spec
from harness.worker.training import recording_bytes
from harness.worker.workloads.bert_plan import records_of

# The worker itself ends at its limit, and says what it waited for. This is for one that cannot.
_LIMIT_GRACE_S: Final = 30.0


def generate(setting: Setting, directory: Path) -> None:
    """Make the configured data set in `directory`, or find it made."""
    wanted = setting.config.wanted
    arguments: list[str] = []
    for field in fields(wanted):
        if value := getattr(wanted, field.name):
            arguments += [f"--{field.name.replace('_', '-')}", str(value)]
    make(setting, "generate", directory, arguments)


def make(
    setting: Setting,
    verb: str,
    directory: Path,
    arguments: Iterable[str],
    inputs: Iterable[Path] = (),
) -> None:
    """Run `dsgen VERB` until the data set in `directory` is complete.

    Args:
        setting: for size, seed and processes, and where it runs.
        verb: `generate` or `scale`.
        directory: made if it is missing.
        arguments: what the verb takes beside these.
        inputs: directories that are only read.

    Raises:
        JobError: it failed, with its exit code.
        TargetError: a directory cannot be made.
    """
    config = setting.config
    create_directory(directory)
    words = [
        *("-m", "dsgen", verb, config.workload, "--output", str(directory)),
        *("--size", str(config.size_bytes), "--seed", str(config.seed), "--events", *arguments),
    ]
    if config.processes:
        words += ["--processes", str(config.processes)]
    log = config.results / config.workload / "logs" / f"{directory.name}-{verb}.log"
    create_directory(log.parent)
    job = Job(
        name=f"{verb}-{config.workload}",
        arguments=tuple(words),
        mounts=(*(Mount(path=path, read_only=True) for path in inputs), Mount(path=directory)),
        log=log,
    )
    check_exit(setting.progress, job, setting.engine.run(job, setting.progress.line), log)


def train(setting: Setting, data: DataSet) -> ExitCode:
    """Train over the data set, say where result.json lies, return its exit code.

    The result is written whatever ends the training; only then is an error raised.

    Raises:
        DataSetError: there is no complete data set.
        JobError: the training failed, with its exit code.
        ResultError: the self-check failed, or the result or its report cannot be written.
        TargetError: there is no space for what will be recorded.
        StopRequested: as it came, and where the result lies.
    """
    directory = data.directory
    manifest = data.manifest or read_manifest(directory)
    if manifest.crc32c is not None:
        check_complete(manifest, directory)
    _check_room(setting, manifest, directory)
    started = datetime.now(UTC)
    run_id = run_name(started)
    final = setting.home / run_id
    partial = partial_of(final)
    # `steps` at once: a run that fails before its first epoch has no rows, but a reason to tell.
    for name in ("logs", "steps"):
        create_directory(partial / name)
    # What was counted here need not be counted there again.
    is_counted = manifest.crc32c is None and setting.config.workload == "bert"
    records = records_of(manifest) if is_counted else None
    ending = run_ranks(setting, directory, partial, final, records=records)
    ending, ceiling = _ceiling(setting, directory, partial, ending)
    # Nothing of this may be cut short: it ends by itself in a moment, whoever asks it to stop.
    with _undisturbed():
        try:
            result = conclude(
                setting, manifest, directory, partial, run_id, started, ending, ceiling
            )
            partial.rename(final)
        except (OSError, ResultError) as error:
            setting.progress.say(f"no result: what is in {partial} can be removed")
            raise _unwritten(ending, partial, error) from error
        result, ending = conclude_report(result, final, ending)
    path = final / RESULT_NAME
    if result.recording is not None and result.recording.share is not None:
        setting.progress.say(f"recording took {cost_words(result.recording)}")
    setting.progress.say(result.verdict.sentence)
    setting.progress.end(events.result(str(path), result.exit_code))
    _raise_again(ending, result, path)
    return ExitCode(result.exit_code)


def _check_room(setting: Setting, manifest: Manifest, directory: Path) -> None:
    """Refuse to start what could not be recorded."""
    config = setting.config
    spec = worker_spec(config, directory, config.results, order_seed=setting.order_seed)
    # Those of a group all at once: the first are of less use without the last.
    runs = 1 if setting.repeat is None else setting.repeat.of - setting.repeat.index + 1
    needed_bytes = recording_bytes(spec, manifest) * runs
    room = inspect_target(config.results)
    # A file system that does not say how large it is does not say what is free, either.
    if room.total_bytes and room.free_bytes < needed_bytes:
        what = (
            f"too little space for what is recorded: {format_size(needed_bytes)} needed, "
            f"{format_size(room.free_bytes)} free"
        )
        then = "free some, name another --results, or use fewer epochs"
        raise TargetError(what, where=str(config.results), then=then)


def _unwritten(ending: Ending, partial: Path, error: OSError | ResultError) -> BaseException:
    """Return what to raise without a result: what ended the run, if anything did, comes first."""
    if ending.stop or ending.error:
        return ending.stop or ending.error or error
    if isinstance(error, ResultError):
        return error
    then = "free space, or name another --results, and repeat the run"
    return ResultError(f"cannot write ({error.strerror})", where=str(partial), then=then)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore the signals that stop."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_ranks(
    setting: Setting,
    directory: Path,
    partial: Path,
    final: Path,
    *,
    records: tuple[int, ...] | None = None,
) -> Ending:
    """Train, and return how it ended, whatever it was: the result tells of it."""
    try:
        job = _training_job(setting, directory, partial, records)
        ended = setting.engine.run(job, setting.progress.line)
        check_exit(setting.progress, job, ended, final / job.log.relative_to(partial))
    except FeedrateError as error:
        return Ending(status="failed", exit_code=error.exit_code, error=error)
    except StopRequested as stop:
        return Ending(status="interrupted", exit_code=stop.exit_code, stop=stop)
    return Ending()


def _ceiling(
    setting: Setting, directory: Path, partial: Path, ending: Ending
) -> tuple[Ending, Ceiling]:
    """Measure what the client could do; who stops this has a whole run all the same."""
    if ending.status != "ok":
        return ending, no_ceiling("the run did not end well")
    try:
        return ending, measure_ceiling(setting, directory, partial)
    except StopRequested as stop:
        return Ending(exit_code=stop.exit_code, stop=stop), no_ceiling("stopped")


def _training_job(
    setting: Setting, directory: Path, partial: Path, records: tuple[int, ...] | None
) -> Job:
    here = spec_here(setting, directory, partial)
    limit_s = setting.config.max_duration_s
    return worker_job(
        replace(here, planted=setting.planted, records=records),
        setting.progress,
        task="train",
        log=partial / "logs" / "worker.log",
        timeout_s=limit_s and limit_s + _LIMIT_GRACE_S,
        read_limits=setting.read_limits,
    )


def _raise_again(ending: Ending, result: Result, path: Path) -> None:
    if ending.stop is not None:
        kind = "interrupted " if result.status == "interrupted" else ""
        left = f"stopped; the {kind}result is {path}"
        raise StopRequested(ending.stop.signal_number, left=left) from ending.stop
    if ending.error is not None:
        raise ending.error
    if result.exit_code == ExitCode.RESULT:
        then = "report this with the directory of the result"
        what = f"the self-check failed ({result.self_check.problems[0]})"
        raise ResultError(what, where=str(path), then=then)
