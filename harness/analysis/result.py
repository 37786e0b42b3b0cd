"""result.json as values: everything that a run has to say, and nothing twice.

Schema history: 1, the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.analysis.allocation import holes_reason
from harness.analysis.causes import find_causes
from harness.analysis.demand import Demand, compute_demand
from harness.analysis.epoch import Epoch, epochs_of
from harness.analysis.losses import Losses, LossTotals, compute_losses, total_losses
from harness.analysis.metrics import EpochFacts, Metrics, compute_metrics, epoch_facts
from harness.analysis.notices import notices_of
from harness.analysis.part import Part
from harness.analysis.phases import Checkpoint, EvaluationPass, checkpoint_of, evaluations_of
from harness.analysis.recording import Recording, Status
from harness.analysis.repeat import Repeat
from harness.analysis.selfcheck import SelfCheck, check_recording
from harness.analysis.verdict import DEFAULT_THRESHOLD_AU, Case, Verdict, judge
from harness.analysis.volume import Client, client_state
from harness.analysis.wording import accelerator_name
from harness.errors import ResultError

SCHEMA_VERSION: Literal[1] = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What the host knows of a run beside its recording.

    Args:
        accelerators: needs `count` and `batch_size`; `profile` of emulated ones, further device,
            source, date, global_batch_size, declared; of TensorFlow's what WorkerFacts has.
        target: `byte_source` says where device bytes come from; `none` makes them unknown.
        dataset: workload, law, samples, bytes, manifest_crc32c and more.
        cache: the setting, cold, once, warm or asis.
        repeat: None for a run that was asked for alone.
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
    evaluation: list[EvaluationPass]
    checkpoint: Checkpoint | None
    self_check: SelfCheck
    worker: dict[str, Any]
    warnings: list[str]
    repeat: Repeat | None = None


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
    metrics = compute_metrics(epochs, byte_source=source)
    losses = compute_losses(recording, epochs)
    check = check_recording(recording, losses)
    case = _case(epochs, metrics, check, recording, facts)
    worker = recording.worker
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
        epochs=[epoch_facts(epoch, byte_source=source) for epoch in epochs],
        losses=losses,
        losses_accelerator_s=total_losses(losses) if losses else None,
        demand=case.demand,
        evaluation=evaluations_of(recording, byte_source=source),
        checkpoint=checkpoint_of(recording),
        self_check=check,
        worker=dict(worker.other),
        warnings=[*facts.warnings, *notices_of(recording, epochs, check)],
        repeat=facts.repeat,
    )


def _case(
    epochs: tuple[Epoch, ...],
    metrics: Metrics,
    check: SelfCheck,
    recording: Recording,
    facts: RunFacts,
) -> Case:
    return Case(
        status=facts.status,
        accelerators=int(facts.accelerators["count"]),
        profile=accelerator_name(facts.accelerators),
        emulated=facts.accelerators.get("kind") != "tensorflow",
        threshold_au=facts.threshold_au,
        cache=facts.cache,
        client=client_state(metrics.bytes, recording.worker.evictions, cache=facts.cache),
        metrics=metrics,
        demand=compute_demand(epochs, recording.worker.mean_sample_bytes),
        causes=find_causes(
            epochs,
            readers=recording.worker.readers,
            inferred=recording.worker.bytes == "inferred",
        ),
        self_check=check,
        holes=holes_reason(facts.dataset),
    )


def _require(accelerators: Mapping[str, Any], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in accelerators]
    if missing:
        what = f"accelerators lack {', '.join(missing)}"
        raise ResultError(what, where="facts of the run", then="give them to build_result")
