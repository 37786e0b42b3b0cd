"""What this client could do over cached data: a short second run, by the same engine and worker."""

from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Final

import psutil

from dsgen.errors import FeedrateError
from harness.analysis.ceiling import EPOCHS, IDLE_EPOCHS, Ceiling, compute_ceiling, no_ceiling
from harness.analysis.epoch import epochs_of
from harness.analysis.metrics import compute_metrics
from harness.analysis.recording import Recording
from harness.config import Config
from harness.job import check_exit, worker_job
from harness.limit import expected_memory
from harness.progress import Progress
from harness.recordings import read_recording
from harness.setting import Setting
from harness.target import create_directory
from harness.training import spec_here
from harness.worker.spec import Rehearsal, WorkerSpec

NAME: Final = "ceiling"
TIMEOUT_S: Final = 60.0
# A few seconds: of declared compute, of waiting where the client is slow, of reading from storage.
_COMPUTE_S, _WALL_S, _FILL_S = 3.0, 6.0, 2.0
_FEWEST_STEPS, _MOST_STEPS = 3, 50
_EPOCH_BYTES = 4_000_000_000
# Larger than what processors keep, so that memory is read; and a part of it, so that it stays.
_POOL_BYTES = 2_000_000_000
_MEMORY_PART = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What the run before has shown, and the memory that there is."""

    steps_per_epoch: int
    sample_bytes: float
    step_wall_s: float
    bytes_per_s: float
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """Steps of each epoch, and the samples that imseg's batches are made of."""

    steps: int
    samples: int


def measure_ceiling(setting: Setting, directory: Path, partial: Path) -> Ceiling:
    """Return the two figures; whatever stands in the way is their reason, and ends nothing.

    Args:
        setting: of the run that has just ended well.
        directory: of its data set.
        partial: of its result; the recording goes to `ceiling` in it.

    Raises:
        StopRequested: as it came.
    """
    config = setting.config
    if reason := unsuitable(config):
        return no_ceiling(reason)
    try:
        recording = read_recording(partial)
        memory = expected_memory(config, engine=setting.engine.name)
        measured = _measured(recording, config, memory.bytes)
        if measured is None:
            return no_ceiling("no epoch was measured from its first step to its last")
        size = size_of(config, measured)
        setting.progress.say(f"ceiling the same over cached data, {size.steps} steps")
        return _run(setting, directory, partial / NAME, size)
    except FeedrateError as error:
        return no_ceiling(f"the run over cached data failed: {error.what}")


def size_of(config: Config, measured: Measured) -> Size:
    """Return how much is enough, and takes a few seconds."""
    ranks_samples = config.batch_size * config.accelerators
    step_bytes = max(1.0, ranks_samples * measured.sample_bytes)
    step_s = config.step_time.mean_s if config.step_time else 0.0
    steps = min(
        _COMPUTE_S / max(step_s, 1e-6),
        _WALL_S / max(measured.step_wall_s, 1e-6),
        _EPOCH_BYTES / step_bytes,
        _MOST_STEPS,
    )
    steps = max(_FEWEST_STEPS, int(steps))
    if config.workload != "imseg":  # whose cases can be read in any order, and again
        steps = min(steps, measured.steps_per_epoch)
    pool_bytes = min(
        _POOL_BYTES, measured.memory_bytes / _MEMORY_PART, measured.bytes_per_s * _FILL_S
    )
    samples = int(pool_bytes / max(1.0, measured.sample_bytes))
    return Size(steps=steps, samples=max(1, min(samples, steps * ranks_samples)))


def unsuitable(config: Config) -> str | None:
    """Return why a run of this kind has no ceiling, None where it has one."""
    if not config.ceiling:
        return "not asked for"
    if config.accelerator != "emulated":
        return "accelerators that compute need the processor themselves"
    if config.workload == "dlrm" and config.format != "bin":
        return f"a few steps of dlrm {config.format} do not stand for its files, read as a whole"
    return None


def _measured(recording: Recording, config: Config, memory_bytes: int) -> Measured | None:
    epochs = epochs_of(recording, warmup_epochs=config.warmup_epochs)
    metrics = compute_metrics(epochs, byte_source="none")
    kept = [epoch for epoch in epochs if epoch.complete]
    steps = sum(epoch.step_count for epoch in kept)
    worker, bandwidth = recording.worker, metrics.bandwidth_bytes_per_s.value
    if not steps or not worker.steps_per_epoch or bandwidth is None:
        return None
    return Measured(
        steps_per_epoch=worker.steps_per_epoch,
        sample_bytes=worker.mean_sample_bytes or 0.0,
        step_wall_s=sum(epoch.window_ns for epoch in kept) / steps / 1e9,
        bytes_per_s=bandwidth,
        memory_bytes=min(psutil.virtual_memory().available, memory_bytes),
    )


def _run(setting: Setting, directory: Path, out: Path, size: Size) -> Ceiling:
    create_directory(out)
    # What it says is no progress of the run, and its failure is not the run's.
    own = Progress(StringIO(), is_terminal=False)
    spec = _spec(setting, directory, out, size)
    job = worker_job(
        spec,
        own,
        task=NAME,
        log=out / "worker.log",
        timeout_s=TIMEOUT_S,
        read_limits=setting.read_limits,
    )
    check_exit(own, job, setting.engine.run(job, own.line), job.log)
    return compute_ceiling(read_recording(out), byte_source=setting.target.byte_source)


def _spec(setting: Setting, directory: Path, out: Path, size: Size) -> WorkerSpec:
    return replace(
        spec_here(setting, directory, out),
        epochs=EPOCHS,
        warmup_epochs=1,
        max_duration_s=None,
        steps=size.steps,
        eval_from=0,
        checkpoint_dir=None,
        cache="asis",
        rehearsal=Rehearsal(idle_epochs=IDLE_EPOCHS, samples=size.samples),
    )
