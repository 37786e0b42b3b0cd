"""worker.json and files.json: what a recording's arrays cannot say themselves."""

import json
import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dsgen.errors import PathError
from harness.worker.accelerators.emulated import SPIN_NS
from harness.worker.memory import MemoryFacts
from harness.worker.ranks.crew import Member
from harness.worker.ranks.rank import Outcome
from harness.worker.record import Eviction
from harness.worker.recording.cost import RowCost
from harness.worker.recording.io import TracedFile
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Reading

SCHEMA_VERSION = 1


def files_table(files: Iterable[TracedFile]) -> dict[str, Any]:
    """Return the table of traced files, as files.json has it: id -> path, size, class, role."""
    return {
        str(file.id): {
            "path": file.path,
            "size_bytes": file.size_bytes,
            "class": int(file.file_class),
            "role": file.role,
        }
        for file in files
    }


def write_files(path: Path, files: Iterable[TracedFile]) -> None:
    """Write the table of traced files.

    Raises:
        PathError: the directory is full or not writable.
    """
    _write(path, files_table(files))


def write_summary(
    path: Path,
    *,
    status: str,
    spec: WorkerSpec,
    reading: Reading,
    cores: int,
    spin: bool,
    members: Sequence[Member],
    cost: RowCost,
    memory: MemoryFacts,
    expelled: Sequence[Eviction],
) -> None:
    """Write worker.json: the run's own account, whatever became of it."""
    used = reading.epoch_samples
    outcomes = [member.outcome or Outcome() for member in members]
    evictions = [*expelled, *(one for outcome in outcomes for one in outcome.evictions)]
    summary = {
        "schema_version": SCHEMA_VERSION,
        "status": status,
        "steps_per_epoch": reading.steps_per_epoch,
        "samples_used_per_epoch": used,
        "samples_dropped_per_epoch": _dropped(reading.train_samples, used),
        "mean_sample_bytes": reading.sample_bytes,
        "readers": reading.readers,
        "bytes": "recorded" if spec.leaves_rows else "inferred",
        "cores": cores,
        "schedstat": any(outcome.has_schedstat for outcome in outcomes),
        "spin": {
            "used": spin,
            "threshold_ns": SPIN_NS,
            "cpu_ns": sum(outcome.spin_ns for outcome in outcomes),
        },
        "recording": {**asdict(cost), "looks": sum(outcome.looks for outcome in outcomes)},
        "ranks": [_rank(member) for member in members],
        "tensorflow": _tensorflow([outcome.tensorflow for outcome in outcomes]),
        "machine": [asdict(one) for outcome in outcomes for one in outcome.machine],
        "planted": None if spec.planted is None else asdict(spec.planted),
        "evictions": [asdict(one) for one in evictions],
        "memory": asdict(memory),
        "counts": [asdict(one) for outcome in outcomes for one in outcome.counts],
        "uncounted": {name: why for own in outcomes for name, why in own.uncounted.items()},
        "self_check": {
            "checked_windows": sum(outcome.checked_windows for outcome in outcomes),
            "mismatches": sum(outcome.mismatches for outcome in outcomes),
        },
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
    }
    _write(path, summary)


def _tensorflow(facts: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return what the ranks say of accelerators that compute, None where no rank had one.

    The devices are each rank's, losses the first rank's; what is the same for all stands once.
    """
    known = [own for own in facts if own is not None]
    if not known:
        return None
    devices = [None if own is None else own["device"] for own in facts]
    untrained = [rank for rank, own in enumerate(facts) if own and own["steps_on_zeros"]]
    return {**known[0], "device": devices, "ranks_on_zeros": untrained}


def _dropped(samples: int | None, used: int) -> int | None:
    # An epoch of many steps may go through the data set more than once.
    return None if samples is None else max(0, samples - used)


def _rank(member: Member) -> dict[str, Any]:
    outcome = member.outcome
    failure = member.failure()
    interrupted = member.ended and outcome is not None and outcome.status == "interrupted"
    return {
        "rank": member.rank,
        "pid": member.process.pid,
        "wall_anchor": outcome.wall_anchor if outcome else None,
        "peak_rss_bytes": outcome.peak_rss_bytes if outcome else None,
        "rows": outcome.rows if outcome and outcome.rows is not None else member.saved_rows,
        "error": "interrupted" if interrupted else str(failure) if failure else None,
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_suffix(".partial")
    try:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        temporary.rename(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        then = "free some space or name another directory"
        raise PathError(f"cannot write ({error.strerror})", where=str(path), then=then) from error
