"""Recordings made by arithmetic: every time in them follows from a few declared numbers.

`Plan` says how long each load takes and what it was spent on; `record` plays it through as ranks
that meet at a barrier. `write` puts a recording where a worker would have put it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.recording import DataFile, Recording, WorkerFacts
from harness.analysis.result import RunFacts
from harness.worker.record import ROW, STEP, WINDOW, Eviction, FileClass, MachineWindow, Op, Phase

MS = 1_000_000
START_NS = 5_000 * MS
ALL_STORAGE = {"storage": 1.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What happens: loads_ns[epoch][rank][step], declared_ns[epoch][step], and the rest.

    `split` shares each load among storage, io_cpu, decode_cpu and runqueue; what is missing to 1
    stays unexplained. `wake_ns`: how late every rank but the last leaves a barrier.
    `idle_share`: of the cores' time.
    """

    loads_ns: Sequence[Sequence[Sequence[int]]]
    declared_ns: Sequence[Sequence[int]]
    split: dict[str, float] = field(default_factory=lambda: dict(ALL_STORAGE))
    overshoot_ns: int = 0
    wake_ns: int = 0
    batch_size: int = 2
    bytes_per_step: int = 1_000
    device_share: float | None = 1.0
    eval_ns: int = 0
    checkpoint_ns: int = 0
    evictions: tuple[Eviction, ...] = ()
    idle_share: float | None = 0.8


def plan(ranks: int, steps: int, *, load_ms: int = 50, declared_ms: int = 100, **more: Any) -> Plan:
    """One epoch in which every load and every step takes the same time."""
    return Plan(
        loads_ns=[[[load_ms * MS] * steps] * ranks],
        declared_ns=[[declared_ms * MS] * steps],
        **more,
    )


def record(plan: Plan) -> Recording:
    """Play the plan."""
    ranks = len(plan.loads_ns[0])
    steps: list[list[Any]] = [[] for _ in range(ranks)]
    windows: list[list[Any]] = [[] for _ in range(ranks)]
    rows: list[list[Any]] = [[] for _ in range(ranks)]
    now = [START_NS] * ranks
    for epoch, (loads, declared) in enumerate(
        zip(plan.loads_ns, plan.declared_ns, strict=True), start=1
    ):
        now = _meet(now, plan)
        opened = list(now)
        for rank in range(ranks):
            steps[rank].append(_opening(epoch, now[rank]))
        for step, step_ns in enumerate(declared, start=1):
            arrivals = [
                now[r] + loads[r][step - 1] + step_ns + plan.overshoot_ns for r in range(ranks)
            ]
            after = _meet(arrivals, plan)
            for rank in range(ranks):
                load_ns = loads[rank][step - 1]
                rows[rank].append(_read(plan, rank, epoch, step, now[rank], load_ns))
                steps[rank].append(
                    _step(
                        plan, epoch, step, now[rank], load_ns, arrivals[rank], after[rank], step_ns
                    )
                )
            now = after
        last = epoch == len(plan.loads_ns)
        for rank in range(ranks):
            windows[rank].append(
                _window(plan, epoch, Phase.TRAIN, opened[rank], now[rank], len(declared))
            )
            now[rank] = _after_training(plan, windows[rank], rank, epoch, now[rank], last)
    worker = WorkerFacts(
        status="ok",
        steps_per_epoch=len(plan.declared_ns[0]),
        samples_used_per_epoch=ranks * plan.batch_size * len(plan.declared_ns[0]),
        samples_dropped_per_epoch=0,
        mean_sample_bytes=plan.bytes_per_step / plan.batch_size,
        evictions=plan.evictions,
        machine=tuple(_machine(plan, epoch) for epoch in range(1, len(plan.loads_ns) + 1)),
        other={"cores": 8, "spin": {"used": True}, "ranks": [{"rank": r} for r in range(ranks)]},
    )
    return Recording(
        steps=tuple(np.array(own, STEP) for own in steps),
        windows=tuple(np.array(own, WINDOW) for own in windows),
        rows=tuple(np.array(own, ROW) for own in rows),
        files={
            0: DataFile(
                path="case_00000_x.npy", size_bytes=800, file_class=FileClass.X, role="train"
            ),
            1: DataFile(
                path="case_00000_y.npy", size_bytes=200, file_class=FileClass.Y, role="train"
            ),
        },
        worker=worker,
    )


def cut(recording: Recording, rank: int, rows: int) -> Recording:
    """Return the recording of a run in which `rank` was stopped after `rows` step rows."""
    steps, windows = list(recording.steps), list(recording.windows)
    steps[rank] = steps[rank][:rows]
    finished = recording.worker.steps_per_epoch or 0
    whole = [
        e for e in np.unique(steps[rank]["epoch"]) if (steps[rank]["epoch"] == e).sum() > finished
    ]
    windows[rank] = windows[rank][np.isin(windows[rank]["epoch"], whole)]
    worker = replace(recording.worker, status="interrupted")
    return replace(recording, steps=tuple(steps), windows=tuple(windows), worker=worker)


def facts(ranks: int, **changes: Any) -> RunFacts:
    """What a host would say of the run."""
    known: dict[str, Any] = {
        "run_id": "20261124T020000Z-1a2b",
        "started_utc": "2026-11-24T02:00:00Z",
        "command": ("python", "-m", "harness", "train", "imseg"),
        "status": "ok",
        "exit_code": 0,
        "engine": {"name": "local", "reason": "no daemon answers"},
        "config": {"epochs": 1, "cache": "cold", "loader_workers": 4, "prefetch_batches": 2},
        "system": {"kernel": "6.8.0", "cpu_model": "a processor", "numa_nodes": None},
        "target": {"path": "/mnt/array", "fs_type": "xfs", "byte_source": "proc"},
        "dataset": {
            "workload": "imseg",
            "law": "kits19",
            "samples": {"train": 64_000, "eval": 8},
            "bytes": 8_000,
        },
        "accelerators": {
            "count": ranks,
            "profile": "v100",
            "device": "NVIDIA V100",
            "batch_size": 2,
        },
        "cache": "cold",
    }
    return RunFacts(**{**known, **changes})


def write(recording: Recording, run_dir: Path) -> None:
    """Write the recording as a worker leaves it; ranks without rows leave no file."""
    for name in ("steps", "trace"):
        (run_dir / name).mkdir(parents=True, exist_ok=True)
    for rank in range(recording.ranks):
        for name, rows in (
            (f"steps/rank-{rank:05d}.npy", recording.steps[rank]),
            (f"steps/windows-{rank:05d}.npy", recording.windows[rank]),
            (f"trace/rank-{rank:05d}.npy", recording.rows[rank]),
        ):
            if len(rows):
                np.save(run_dir / name, rows)
    (run_dir / "trace/files.json").write_text(
        json.dumps(
            {
                str(number): {
                    "path": file.path,
                    "size_bytes": file.size_bytes,
                    "class": int(file.file_class),
                    "role": file.role,
                }
                for number, file in recording.files.items()
            }
        )
    )
    (run_dir / "worker.json").write_text(json.dumps(_worker_json(recording.worker)))


def _worker_json(worker: WorkerFacts) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "status": worker.status,
        "steps_per_epoch": worker.steps_per_epoch,
        "samples_used_per_epoch": worker.samples_used_per_epoch,
        "samples_dropped_per_epoch": worker.samples_dropped_per_epoch,
        "mean_sample_bytes": worker.mean_sample_bytes,
        "evictions": [
            {
                "epoch": eviction.epoch,
                "files": eviction.files,
                "bytes": eviction.bytes,
                "seconds": eviction.seconds,
                "resident_fraction": eviction.resident_fraction,
            }
            for eviction in worker.evictions
        ],
        "machine": [asdict(one) for one in worker.machine],
        **worker.other,
        "versions": {"python": "3.11", "numpy": "2"},
        "self_check": {"checked_windows": 1, "mismatches": []},
    }


def _machine(plan: Plan, epoch: int) -> MachineWindow:
    share = plan.idle_share
    return MachineWindow(
        epoch=epoch,
        elapsed_ns=1_000 * MS,
        cores=8,
        idle_ns=None if share is None else int(share * 8_000 * MS),
        pressure_ns={"cpu": (100 * MS, 0), "io": (300 * MS, 200 * MS), "memory": None},
        pressure_source="/proc/pressure: of all tasks of the machine",
    )


def _meet(arrivals: Sequence[int], plan: Plan) -> list[int]:
    release, last = max(arrivals), int(np.argmax(arrivals))
    return [release + (0 if rank == last else plan.wake_ns) for rank in range(len(arrivals))]


def _opening(epoch: int, at_ns: int) -> Any:
    return (epoch, 0, at_ns, at_ns, at_ns, at_ns, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def _step(
    plan: Plan,
    epoch: int,
    step: int,
    start: int,
    load_ns: int,
    arrival: int,
    end: int,
    declared: int,
) -> Any:
    parts = [
        int(load_ns * plan.split.get(k, 0)) for k in ("storage", "io_cpu", "decode_cpu", "runqueue")
    ]
    load_end = start + load_ns
    io = (load_ns, parts[1])
    return (
        epoch,
        step,
        start,
        load_end,
        arrival,
        end,
        declared,
        *io,
        *parts,
        0,
        plan.bytes_per_step,
    )


def _read(plan: Plan, rank: int, epoch: int, step: int, start: int, load_ns: int) -> Any:
    size = plan.bytes_per_step
    read = (start, start + load_ns, 0, 0, size + 96, size, step % 2, epoch, step, rank, 0)
    return (*read, Op.READ, FileClass.X, Phase.TRAIN, 0)


def _window(plan: Plan, epoch: int, phase: Phase, start: int, end: int, steps: int) -> Any:
    size, share = plan.bytes_per_step * steps, plan.device_share
    device = -1 if share is None else int(size * share)
    samples = plan.batch_size * steps
    return (epoch, phase, start, end, size + 40, 40, size, size + 96 * steps, device, 0, samples)


def _after_training(
    plan: Plan, windows: list[Any], rank: int, epoch: int, now: int, last: bool
) -> int:
    if plan.eval_ns:
        windows.append(_window(plan, epoch, Phase.EVAL, now, now + plan.eval_ns, 0))
        now += plan.eval_ns
    if plan.checkpoint_ns and last and rank == 0:
        windows.append(_window(plan, epoch, Phase.CHECKPOINT, now, now + plan.checkpoint_ns, 0))
    return now
