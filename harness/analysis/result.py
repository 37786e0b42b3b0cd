"""result.json as values: everything that a run has to say, and nothing twice.

Schema history: 1, the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dsgen.errors import ExitCode
from harness.analysis.allocation import holes_reason
from harness.analysis.causes import find_causes
from harness.analysis.ceiling import NOT_MEASURED, Ceiling
from harness.analysis.cost import RecordingCost, recording_cost
from harness.analysis.counted import counted_of, source_notices
from harness.analysis.demand import Demand, compute_demand
from harness.analysis.epoch import Epoch, epochs_of, measured
from harness.analysis.fed import Supply, most_fed
from harness.analysis.losses import Losses, LossTotals, compute_losses, total_losses
from harness.analysis.machine import NOT_LOOKED, MachineUse, machine_use
from harness.analysis.memory import Memory, memory_notices, recorded_memory
from harness.analysis.metrics import NS, EpochFacts, Metrics, compute_metrics, epoch_facts
from harness.analysis.notices import notices_of
from harness.analysis.part import Part
from harness.analysis.phases import Checkpoint, EvaluationPass, checkpoint_of, evaluations_of
from harness.analysis.recording import Recording, Status
from harness.analysis.repeat import Repeat
from harness.analysis.selfcheck import SelfCheck, check_recording
from harness.analysis.start import few_steps
from harness.analysis.verdict import DEFAULT_THRESHOLD_AU, Case, Verdict, judge
from harness.analysis.volume import Client, client_state
from harness.analysis.wording import accelerator_name
from harness.errors import ResultError

SCHEMA_VERSION: Literal[1] = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What the host knows of a run beside its recording.

    Args:
        config: `loader_workers` times `prefetch_batches` is what is read ahead.
        accelerators: needs `count` and `batch_size`; `profile` of emulated ones, further device,
            source, date, global_batch_size, declared; of TensorFlow's what WorkerFacts has.
        target: `byte_source` says where device bytes come from; `none` makes them unknown.
        dataset: workload, law, samples, bytes, manifest_crc32c and more.
        cache: the setting, cold, once, warm or asis.
        repeat: None for a run that was asked for alone.
        ceiling: of this client; None where nobody measured it.
        steps_s: declared mean of a step for 1, 2, ... accelerators, None where it is not known.
    """

    run_id: str
    started_utc: str
    command: tuple[str, ...]
    status: Status
    exit_code: int
    engine: Mapping[str, Any]
    config: Mapping[str, Any]
    system: Mapping[str, Any]
    target: Mapping[str, Any]
    dataset: Mapping[str, Any]
    accelerators: Mapping[str, Any]
    cache: str
    warnings: tuple[str, ...] = ()
    threshold_au: float = DEFAULT_THRESHOLD_AU
    warmup_epochs: int = 0
    repeat: Repeat | None = None
    ceiling: Ceiling | None = None
    steps_s: tuple[float | None, ...] = ()


class Coverage(Part, frozen=True, kw_only=True):
    """How much of the data set an epoch reads."""

    steps_per_epoch: int | None
    samples_used_per_epoch: int | None
    samples_dropped_per_epoch: int | None


class Result(Part, frozen=True, kw_only=True):
    """result.json, field by field."""

    schema_version: Literal[1]
    status: Status
    exit_code: int
    run_id: str
    started_utc: str
    command: list[str]
    verdict: Verdict
    engine: dict[str, Any]
    config: dict[str, Any]
    system: dict[str, Any]
    target: dict[str, Any]
    dataset: dict[str, Any]
    accelerators: dict[str, Any]
    client: Client
    beyond_client: Literal["unknown"]
    coverage: Coverage
    metrics: Metrics
    epochs: list[EpochFacts]
    losses: list[Losses]
    losses_accelerator_s: LossTotals | None
    demand: Demand
    machine: MachineUse = NOT_LOOKED
    ceiling: Ceiling = NOT_MEASURED
    evaluation: list[EvaluationPass]
    checkpoint: Checkpoint | None
    self_check: SelfCheck
    recording: RecordingCost | None = None
    worker: dict[str, Any]
    warnings: list[str]
    repeat: Repeat | None = None
    memory: Memory | None = None


def build_result(recording: Recording, facts: RunFacts) -> Result:
    """Return the result of a run; what the recording cannot tell is null.

    Args:
        recording: what the worker left, complete or cut short.
        facts: what the host knows.

    Raises:
        ResultError: `facts.accelerators` lacks a key that figures are made of.
    """
    _require(facts.accelerators, ("count", "batch_size"))
    epochs = epochs_of(recording, warmup_epochs=facts.warmup_epochs)
    source = str(facts.target.get("byte_source") or "none")
    unknown = str(facts.target.get("byte_source_reason") or "")
    counted = counted_of(recording.worker, unknown=unknown)
    metrics = compute_metrics(epochs, byte_source=source, counted=counted)
    losses = compute_losses(recording, epochs)
    check = check_recording(recording, losses)
    case = _case(epochs, metrics, check, recording, facts)
    worker = recording.worker
    windows = [epoch.windows for epoch in measured(epochs) if epoch.windows is not None]
    memory = recorded_memory(
        worker.memory,
        asked_bytes=facts.config.get("memory_bytes"),
        data_bytes=sum(one.size_bytes for one in recording.files.values() if one.role == "train"),
    )
    # Longer than a screen: one line per field of result.json is the clearest it can be.
    return Result(
        schema_version=SCHEMA_VERSION,
        status=facts.status,
        exit_code=facts.exit_code,
        run_id=facts.run_id,
        started_utc=facts.started_utc,
        command=list(facts.command),
        verdict=judge(case),
        engine=dict(facts.engine),
        config=dict(facts.config),
        system=dict(facts.system),
        target=dict(facts.target),
        dataset=dict(facts.dataset),
        accelerators=dict(facts.accelerators),
        client=case.client,
        beyond_client="unknown",
        coverage=Coverage(
            steps_per_epoch=worker.steps_per_epoch,
            samples_used_per_epoch=worker.samples_used_per_epoch,
            samples_dropped_per_epoch=worker.samples_dropped_per_epoch,
        ),
        metrics=metrics,
        epochs=[epoch_facts(epoch, byte_source=source, counted=counted) for epoch in epochs],
        losses=losses,
        losses_accelerator_s=total_losses(losses) if losses else None,
        demand=case.demand,
        machine=case.machine,
        ceiling=case.ceiling,
        evaluation=evaluations_of(recording, byte_source=source, counted=counted),
        checkpoint=checkpoint_of(recording),
        self_check=check,
        recording=recording_cost(recording),
        worker={**worker.other, "planted": worker.planted},
        warnings=[
            *facts.warnings,
            *notices_of(recording, epochs, check, few_steps=case.few_steps),
            *source_notices(windows, counted, byte_source=source),
            *memory_notices(memory, cache=facts.cache),
        ],
        repeat=facts.repeat,
        memory=memory,
    )


def _case(
    epochs: tuple[Epoch, ...],
    metrics: Metrics,
    check: SelfCheck,
    recording: Recording,
    facts: RunFacts,
) -> Case:
    demand = compute_demand(epochs, recording.worker.mean_sample_bytes)
    return Case(
        status=facts.status,
        accelerators=int(facts.accelerators["count"]),
        profile=accelerator_name(facts.accelerators),
        emulated=facts.accelerators.get("kind") != "tensorflow",
        threshold_au=facts.threshold_au,
        cache=facts.cache,
        client=client_state(metrics.bytes, recording.worker.evictions, cache=facts.cache),
        metrics=metrics,
        demand=demand,
        causes=find_causes(
            epochs,
            readers=recording.worker.readers,
            inferred=recording.worker.bytes == "inferred",
        ),
        self_check=check,
        few_steps=few_steps(epochs, read_ahead=_read_ahead(facts.config)),
        holes=holes_reason(facts.dataset),
        machine=machine_use(recording.worker.machine, epochs),
        ceiling=facts.ceiling or NOT_MEASURED,
        fed=_fed(epochs, demand, facts),
        out_of_memory=facts.exit_code == ExitCode.OUT_OF_MEMORY,
    )


def _read_ahead(config: Mapping[str, Any]) -> int:
    """Return how many batches a rank's loader workers are asked for at the start."""
    return int(config.get("loader_workers") or 0) * int(config.get("prefetch_batches") or 0)


def _fed(epochs: tuple[Epoch, ...], demand: Demand, facts: RunFacts) -> int | None:
    kept = measured(epochs)
    if not kept or not demand.mean_declared_ns:
        return None
    supply = Supply(
        accelerators=int(facts.accelerators["count"]),
        threshold_au=facts.threshold_au,
        step_s=demand.mean_declared_ns / NS,
        wall_s=sum(epoch.window_ns for epoch in kept)
        / sum(epoch.step_count for epoch in kept)
        / NS,
        read_ahead=_read_ahead(facts.config) > 0,
    )
    return most_fed(supply, facts.steps_s)


def _require(accelerators: Mapping[str, Any], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in accelerators]
    if missing:
        what = f"accelerators lack {', '.join(missing)}"
        raise ResultError(what, where="facts of the run", then="give them to build_result")
