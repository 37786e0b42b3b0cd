"""One training with a cause planted in it."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dsgen.errors import FeedrateError, StopRequested
from dsgen.manifest import Manifest
from harness.analysis.epoch import epochs_of, measured
from harness.conclude import Ending, conclude
from harness.config import Config
from harness.errors import TargetError
from harness.progress import Progress
from harness.recordings import read_recording
from harness.run import run_ranks
from harness.run_name import partial_of, run_name
from harness.selftest.cause import Cause, Means, Outcome
from harness.selftest.neighbour import spinning
from harness.setting import Setting
from harness.target import Target, create_directory
from harness.worker.spec import StepTime

ACCELERATORS = 2


def means_of(engine: str, target: Target) -> Means:
    """Return how storage can be slowed down: by the engine where it runs on a disk of its own."""
    device = target.device
    if engine != "docker":
        return Means(device=None, reason="plain processes cannot be held to a bandwidth")
    if target.byte_source != "proc" or device is None or not Path(device).is_block_device():
        return Means(device=None, reason="the target has no block device of this machine")
    return Means(device=device, reason=f"the engine limits reads from {device}")


def attempt(
    setting: Setting, manifest: Manifest, directory: Path, cause: Cause, means: Means, seed: int
) -> Outcome:
    """Run the training and return what it left, below the results in `selftest`.

    Raises:
        StopRequested: as it came.
        TargetError: the results cannot be written.
    """
    config = _config(setting.config, cause, seed)
    if cause.memory_bytes is not None and setting.engine.name == "local":
        return Outcome(declined="plain processes cannot be held to a memory limit")
    started = datetime.now(UTC)
    final = config.results / "selftest" / run_name(started)
    home = partial_of(final)
    try:
        try:
            for name in ("logs", "steps"):
                create_directory(home / name)
            log = (home / "logs" / "progress.log").open("w", encoding="utf-8")
        except OSError as error:
            raise _unwritten(config.results, error) from error
        with log, spinning(cause.neighbours):
            planted = replace(
                setting,
                config=config,
                # The errors of one run are no other's.
                progress=Progress(log, is_terminal=False),
                planted=means.planted(cause),
                read_limits=means.limits(cause),
                notices=(f"Selftest, planted on purpose: {cause.name}.",),
            )
            ending = run_ranks(planted, directory, home, final)
        if ending.stop is not None:
            raise ending.stop
        return _outcome(planted, manifest, directory, final, started, ending)
    except StopRequested:
        shutil.rmtree(home, ignore_errors=True)
        raise


def _outcome(
    setting: Setting,
    manifest: Manifest,
    directory: Path,
    final: Path,
    started: datetime,
    ending: Ending,
) -> Outcome:
    """Return what came of a run; its logs stay also where no result could be made."""
    home = partial_of(final)
    try:
        try:
            result = conclude(setting, manifest, directory, home, final.name, started, ending)
            epochs = measured(epochs_of(read_recording(home), warmup_epochs=0))
            outcome = Outcome(result=result, epochs=epochs, error=ending.error)
        except FeedrateError as error:
            outcome = Outcome(error=ending.error or error)
        home.rename(final)
    except OSError as error:
        shutil.rmtree(home, ignore_errors=True)
        if ending.error is not None:  # what came first is what is told
            return Outcome(error=ending.error)
        raise _unwritten(setting.config.results, error) from error
    return outcome


def _unwritten(results: Path, error: OSError) -> TargetError:
    then = "free space, or name another --results"
    return TargetError(f"cannot write ({error.strerror})", where=str(results), then=then)


def _config(config: Config, cause: Cause, seed: int) -> Config:
    return msgspec.structs.replace(
        config,
        accelerators=ACCELERATORS,
        batch_size=1,
        # One after the other, so that what is read when can be predicted.
        loader_workers=1,
        prefetch_batches=2,
        seed=seed,
        epochs=cause.epochs,
        warmup_epochs=0,
        steps=cause.steps,
        eval_from=0,
        checkpoint=None,
        cache=cause.cache,
        memory_bytes=cause.memory_bytes,
        step_time=StepTime(mean_s=cause.step_s, sd_s=0.0),
        ceiling=False,
    )
