"""What a training will do: the worker's order, and the lines that say it before the start."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.analysis.verdict import LOW_DEMAND_BYTES_PER_S
from harness.analysis.wording import rate
from harness.config import Config, config_notices
from harness.dataset import DataSet, planned_manifest, reading_notices
from harness.limit import expected_memory, memory_lines
from harness.setting import Setting
from harness.sizing import check_size
from harness.worker.schedule import evaluations_of_run
from harness.worker.spec import ByteSource, WorkerSpec
from harness.worker.workload import Reading
from harness.worker.workloads import plan
from harness.worker.workloads.bert_plan import records_of, with_records

_PREPARED: Final = (
    "        this is what precedes the first training: no accelerator computes, nothing is saved"
)


def worker_spec(
    config: Config,
    directory: Path,
    out: Path,
    *,
    order_seed: int | None = None,
    byte_source: ByteSource = "none",
    group_device: str | None = None,
) -> WorkerSpec:
    """Return what the worker is to do, from the configuration and what is known of the target.

    `order_seed` is of what differs between repeats; the configured one by default.
    """
    return WorkerSpec(
        workload=config.workload,
        data_dir=str(directory),
        out_dir=str(out),
        checkpoint_dir=None if config.checkpoint is None else str(config.checkpoint),
        checkpoint_bytes=config.checkpoint_bytes,
        accelerator=config.accelerator,
        gpus=config.gpus,
        accelerators=config.accelerators,
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps=config.steps,
        pipelines=config.pipelines,
        loader=config.loader,
        seed=config.seed if order_seed is None else order_seed,
        eval_from=config.eval_from,
        eval_every=config.eval_every,
        eval_every_steps=config.eval_every_steps,
        loader_workers=config.loader_workers,
        prefetch_batches=config.prefetch_batches,
        shuffle=config.shuffle,
        buffer=config.buffer,
        cache=config.cache,
        step_time=config.step_time,
        evaluation_case_s=config.device.evaluation_case_s if config.device else None,
        warmup_epochs=config.warmup_epochs,
        stall_s=config.stall_s,
        max_duration_s=config.max_duration_s,
        byte_source=byte_source,
        group_device=group_device,
        memory_bytes=config.memory_bytes,
    )


def spec_here(setting: Setting, directory: Path, out: Path) -> WorkerSpec:
    """Return what the worker is to do on this target, by this engine."""
    # Only a container's group has the ranks to itself.
    device = setting.target.device_number if setting.engine.name == "docker" else None
    return worker_spec(
        setting.config,
        directory,
        out,
        order_seed=setting.order_seed,
        byte_source=setting.target.byte_source,
        group_device=device,
    )


def counted(config: Config, data: DataSet, say: Callable[[str], None]) -> DataSet:
    """Return the data set with its records counted, where an epoch's steps follow from them.

    Raises:
        DataSetError: a file is damaged.
    """
    manifest = data.manifest
    if config.workload != "bert" or config.steps or manifest is None or records_of(manifest):
        return data
    files = sum(file.role == "train" for file in manifest.files)
    say(f"count   the records of {files} files, by their headers; --steps N needs no count")
    spec = worker_spec(config, data.directory, config.results)
    return replace(data, manifest=with_records(manifest, spec))


def training_lines(config: Config, data: DataSet, *, engine: str) -> list[str]:
    """Return what training will do, before it does, by which engine.

    Raises:
        DataSetError: the data set, or the one that will be made, does not suit the training.
        UsageError: an option that this data set does not have.
        MemoryShortError: the ranks do not fit into the memory limit.
    """
    spec = worker_spec(config, data.directory, config.results)
    manifest = data.manifest or planned_manifest(config)
    memory = expected_memory(config, engine=engine)
    check_size(config, manifest, memory_bytes=memory.bytes)
    reading = plan(spec, manifest)
    check_size(config, manifest, memory_bytes=memory.bytes, steps=reading.steps_per_epoch)
    by = "" if reading.readers == config.accelerators else ", read by one for all"
    lines = [
        f"train   {_accelerators(config)}, batch {config.batch_size} each{by}, "
        f"{config.epochs} epochs of {reading.steps_per_epoch} steps, cache {config.cache}"
    ]
    if config.repeat > 1:
        seeds = f"{config.seed} to {config.seed + config.repeat - 1}"
        lines.append(f"        {config.repeat} runs, seeds {seeds} of order and step times")
    lines += _demand_lines(config, reading) if reading.computes else [_PREPARED]
    if evaluations_of_run(spec, reading.steps_per_epoch) > evaluations_of_run(spec, 1):
        lines.append(
            f"        evaluated after every {config.eval_every_steps:,} steps and at the end of an "
            "epoch, outside the time of its steps"
        )
    lines += memory_lines(config, memory, spec, reading)
    return [*lines, *config_notices(config), *reading_notices(config, manifest)]


def _accelerators(config: Config) -> str:
    on = "a GPU" if config.gpus else "the processor"
    return f"{config.accelerators} x {config.profile or f'TensorFlow on {on}'}"


def _demand_lines(config: Config, reading: Reading) -> list[str]:
    """Return what accelerators that never wait would read, and how long they would take."""
    if config.step_time is None:
        return []
    step_s = config.step_time.mean_s
    need = reading.sample_bytes * config.batch_size * config.accelerators / step_s
    low = ", which cannot test bandwidth" if need < LOW_DEMAND_BYTES_PER_S else ""
    least = _duration(config.repeat * config.epochs * reading.steps_per_epoch * step_s)
    return [f"        asks for {rate(need)}{low}; takes {least} at least"]


def _duration(seconds: float) -> str:
    """Return a time as a person plans with it.

    >>> [_duration(seconds) for seconds in (7.4, 3240, 13_680, 6.8e6)]
    ['7 s', '54 min', '3.8 h', '79 days']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:.0f} days"
