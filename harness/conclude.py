"""The end of a run: whatever ended it, its directory gets a result and a report."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from dsgen.errors import ExitCode, FeedrateError
from dsgen.manifest import Manifest
from harness.analysis.ceiling import Ceiling
from harness.analysis.recording import Status
from harness.analysis.verdict import DEFAULT_THRESHOLD_AU
from harness.config import Config, config_json, config_notices
from harness.dataset import content_crc32c, counted_or_none, reading_notices, sharing_notices
from harness.errors import ResultError, StopRequested
from harness.profiles import declared_means
from harness.recordings import read_recording
from harness.result import Result, RunFacts, build_result, write_result
from harness.setting import Setting
from harness.system import system_json
from harness.worker.spec import StepTime

_TOLD_BY_FILES: Final = ("workload", "format", "compression", "source_crc32c")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a training job ended; `error` or `stop` is raised again once the result is written."""

    status: Status = "ok"
    exit_code: ExitCode = ExitCode.DONE
    error: FeedrateError | None = None
    stop: StopRequested | None = None


def conclude(
    setting: Setting,
    manifest: Manifest,
    directory: Path,
    partial: Path,
    run_id: str,
    started: datetime,
    ending: Ending,
    ceiling: Ceiling | None = None,
) -> Result:
    """Write config.json, system.json and result.json into the run's directory."""
    config = setting.config
    recording = read_recording(partial)
    system = system_json(setting.system)
    facts = RunFacts(
        run_id=run_id,
        started_utc=f"{started:%Y-%m-%dT%H:%M:%SZ}",
        command=setting.command,
        engine={
            "name": setting.engine.name,
            "reason": setting.engine.reason,
            **setting.engine.facts(),
        },
        config=config_json(config),
        system=system,
        target=setting.target.as_json(),
        dataset=_dataset_facts(manifest, directory),
        accelerators=_accelerator_facts(config, recording.worker.tensorflow),
        status=ending.status,
        exit_code=int(ending.exit_code),
        warnings=tuple(_warnings(setting, manifest, ending)),
        threshold_au=config.require_au or DEFAULT_THRESHOLD_AU,
        warmup_epochs=config.warmup_epochs,
        cache=config.cache,
        repeat=setting.repeat,
        ceiling=ceiling,
        steps_s=_steps_s(config),
    )
    for name, content in (("config.json", facts.config), ("system.json", system)):
        (partial / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    result = build_result(recording, facts)
    exit_code = _exit_code(config, result, ending)
    if exit_code is ExitCode.RESULT:
        result = msgspec.structs.replace(result, status="failed")
    result = msgspec.structs.replace(result, exit_code=int(exit_code))
    write_result(result, partial)
    return result


def conclude_report(result: Result, run_dir: Path, ending: Ending) -> tuple[Result, Ending]:
    """Write the report; where that fails the result stands, and both say what is missing."""
    # Only here, because it imports matplotlib, which takes a while.
    from harness.report.writer import render_report

    try:
        render_report(run_dir)
    except ResultError as error:
        warnings = [*result.warnings, f"The report is missing: {error}"]
        result = msgspec.structs.replace(result, warnings=warnings)
        if ending.error is None and ending.stop is None:
            ending = replace(ending, exit_code=error.exit_code, error=error)
            result = msgspec.structs.replace(result, exit_code=int(error.exit_code))
        with suppress(ResultError):  # the one that stands is whole but for this
            write_result(result, run_dir)
    return result, ending


def _exit_code(config: Config, result: Result, ending: Ending) -> ExitCode:
    if ending.exit_code is not ExitCode.DONE:
        return ending.exit_code
    if not result.self_check.passed:
        return ExitCode.RESULT
    au = result.metrics.au.value
    if config.require_au is not None and (au is None or au < config.require_au):
        return ExitCode.AU_BELOW
    return ExitCode.DONE


def _dataset_facts(manifest: Manifest, directory: Path) -> dict[str, Any]:
    parameters = manifest.parameters.as_json()
    if manifest.crc32c is None:  # the files do not tell how they were made
        parameters |= {name: None for name in parameters if name not in _TOLD_BY_FILES}
    return {
        **parameters,
        "path": str(directory),
        "samples": {
            "train": counted_or_none(manifest.samples_train),
            "eval": counted_or_none(manifest.samples_eval),
        },
        "bytes": manifest.data_bytes,
        "files": len(manifest.files),
        "entropy": {
            name: getattr(manifest.entropy, name, None)
            for name in ("deflate1_64kib", "duplicate_4kib")
        },
        "made_of_holes": (
            None if manifest.crc32c is None else manifest.parameters.entropy == "holes"
        ),
        "allocation": asdict(manifest.allocation),
        "manifest_crc32c": manifest.crc32c,
        "content_crc32c": content_crc32c(manifest),
    }


def _accelerator_facts(config: Config, tensorflow: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "kind": config.accelerator,
        "count": config.accelerators,
        "batch_size": config.batch_size,
        "global_batch_size": config.batch_size * config.accelerators,
        **(tensorflow or {} if config.step_time is None else _emulation(config, config.step_time)),
    }


def _emulation(config: Config, step_time: StepTime) -> dict[str, Any]:
    device: dict[str, Any] = msgspec.to_builtins(config.device)
    return {
        "profile": config.profile,
        "device": device["device"],
        "source": device["source"],
        "date": device["date"],
        "note": device["note"],
        "extrapolated": config.extrapolated,
        "declared_mean_s": step_time.mean_s,
        "declared_sd_s": step_time.sd_s,
    }


def _steps_s(config: Config) -> tuple[float | None, ...]:
    if config.device is None:
        return ()
    return declared_means(
        config.device, config.accelerators, config.batch_size, extrapolate=config.extrapolated
    )


def _warnings(setting: Setting, manifest: Manifest, ending: Ending) -> Sequence[str]:
    warnings = [
        *config_notices(setting.config),
        *setting.notices,
        *reading_notices(setting.config, manifest),
        *sharing_notices(manifest),
    ]
    load, cores = setting.system.load_average, setting.system.cores_usable
    if load is not None and cores is not None and load[0] > cores / 2:
        warnings.append(
            f"The machine was not idle: load average {load[0]:.1f} on {cores} cores at the start."
        )
    if setting.target.byte_source == "none":
        warnings.append(f"Bytes from the device are unknown: {setting.target.byte_source_reason}.")
    if ending.error is not None:
        warnings.insert(0, f"The run failed: {ending.error}")
    return warnings
