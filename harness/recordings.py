"""Reading what a worker left in a run directory; a run that was cut short leaves less of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dsgen.size import LIMIT_BYTES
from harness.analysis.recording import DataFile, Recording, Records, WorkerFacts
from harness.errors import ResultError
from harness.worker.record import ROW, STEP, WINDOW, Eviction, FileClass, MachineWindow, SourceCount

_COUNTS = (
    "steps_per_epoch",
    "samples_used_per_epoch",
    "samples_dropped_per_epoch",
    "mean_sample_bytes",
    "readers",
)
_OTHER = ("cores", "spin", "ranks", "versions")
_REPEAT = "repeat the run; what is there was not written by a worker of this version"


def read_recording(run_dir: Path) -> Recording:
    """Return the recording below `run_dir`; ranks that left no file have no rows.

    Raises:
        ResultError: no directory `steps`, or a file that is not what the worker writes.
    """
    if not (run_dir / "steps").is_dir():
        what = "no recording"
        raise ResultError(what, where=str(run_dir), then="give the directory of a finished run")
    worker = read_json(run_dir / "worker.json")
    ranks = _world_size(run_dir, worker)
    return Recording(
        steps=tuple(read_rows(run_dir / f"steps/rank-{r:05d}.npy", STEP) for r in range(ranks)),
        windows=tuple(
            read_rows(run_dir / f"steps/windows-{r:05d}.npy", WINDOW) for r in range(ranks)
        ),
        rows=tuple(read_rows(run_dir / f"trace/rank-{r:05d}.npy", ROW) for r in range(ranks)),
        files=read_files(run_dir / "trace" / "files.json"),
        worker=_worker_facts(worker, run_dir / "worker.json"),
    )


def _world_size(run_dir: Path, worker: dict[str, Any]) -> int:
    written = [int(path.stem.removeprefix("rank-")) for path in run_dir.glob("steps/rank-*.npy")]
    return max(len(worker.get("ranks", ())), max(written, default=-1) + 1)


def read_rows(path: Path, kind: np.dtype[np.void]) -> Records:
    """Return the rows in a file; none where there is no file.

    Raises:
        ResultError: unreadable, or rows of another kind.
    """
    try:
        rows: Records = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return np.empty(0, kind)
    except (OSError, ValueError, EOFError) as error:
        raise ResultError(f"unreadable rows ({error})", where=str(path), then=_REPEAT) from error
    if not isinstance(rows, np.ndarray) or rows.dtype != kind or rows.ndim != 1:
        raise ResultError("rows of another kind", where=str(path), then=_REPEAT)
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one where there is no file.

    Raises:
        ResultError: unreadable, or no JSON object.
    """
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"unreadable ({error})", where=str(path), then=_REPEAT) from error
    if not isinstance(document, dict):
        raise ResultError("not a JSON object", where=str(path), then=_REPEAT)
    return document


def read_files(path: Path) -> dict[int, DataFile]:
    """Return the table of files.json: id -> file; empty where there is none.

    Raises:
        ResultError: unreadable or malformed.
    """
    try:
        return {
            int(number): DataFile(
                path=str(facts["path"]),
                size_bytes=_size_bytes(facts["size_bytes"]),
                file_class=_file_class(facts["class"]),
                role=str(facts["role"]),
            )
            for number, facts in read_json(path).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(f"malformed ({error!r})", where=str(path), then=_REPEAT) from error


def _size_bytes(value: int) -> int:
    if not isinstance(value, int) or not 0 <= value < LIMIT_BYTES:
        raise ValueError(f"a size of {value!r} bytes")
    return value


def _file_class(value: int | str) -> FileClass:
    return FileClass(value) if isinstance(value, int) else FileClass[value.upper()]


def _worker_facts(document: dict[str, Any], path: Path) -> WorkerFacts:
    if not document:  # the worker died before it could account for itself
        return WorkerFacts(status="failed")
    known = {name: document.get(name) for name in _COUNTS}
    try:
        return WorkerFacts(
            status=document["status"],
            evictions=tuple(Eviction(**eviction) for eviction in document["evictions"]),
            machine=tuple(MachineWindow(**one) for one in document.get("machine", ())),
            planted=document.get("planted"),
            counts=tuple(SourceCount(**count) for count in document.get("counts", ())),
            uncounted=document.get("uncounted", {}),
            memory=document.get("memory"),
            tensorflow=document.get("tensorflow"),
            recording=document.get("recording"),
            bytes=document.get("bytes", "recorded"),
            other={name: document.get(name) for name in _OTHER},
            **known,
        )
    except (KeyError, TypeError) as error:
        raise ResultError(f"malformed ({error!r})", where=str(path), then=_REPEAT) from error
