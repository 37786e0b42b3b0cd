"""One training with a cause planted in it."""

import secrets
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dsgen.errors import FeedrateError
from dsgen.manifest import Manifest
from harness.analysis.epoch import epochs_of, measured
from harness.conclude import conclude
from harness.config import Config
from harness.progress import Progress
from harness.recordings import read_recording
from harness.run import run_ranks
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
    run_id = f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    final = config.results / "selftest" / run_id
    home = final.with_name(f".{run_id}.partial")
    for name in ("logs", "steps"):
        create_directory(home / name)
    neighbours = spinning(cause.neighbours) if cause.neighbours else nullcontext()
    with (home / "logs" / "progress.log").open("w", encoding="utf-8") as log:
        planted = replace(
            setting,
            config=config,
            # The errors of one run are no other's.
            progress=Progress(log, is_terminal=False),
            planted=means.planted(cause),
            read_limits=means.limits(cause),
            notices=(f"Selftest, planted on purpose: {cause.name}.",),
        )
        with neighbours:
            ending = run_ranks(planted, directory, home, final)
    if ending.stop is not None:
        raise ending.stop
    try:
        result = conclude(planted, manifest, directory, home, run_id, started, ending)
    except FeedrateError as error:
        return Outcome(error=ending.error or error)
    epochs = epochs_of(read_recording(home), warmup_epochs=0)
    home.rename(final)
    return Outcome(result=result, epochs=measured(epochs), error=ending.error)


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
