"""Recordings on disk as patterns: runs, results, and what `trace --import` made of a log."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.allocation import is_sparse
from harness.analysis.recording import DataFile, Records
from harness.errors import ResultError
from harness.recordings import read_files, read_json, read_rows
from harness.result import RESULT_NAME
from harness.similarity.document import Run
from harness.similarity.pattern import Pattern, data_rows, moved_bytes
from harness.trace.importing import SOURCE_NAME
from harness.worker.record import ROW, FileClass, Op, Phase

_THEN = "name the directory of a run, of a result, or of an imported trace"
_AGAIN = "repeat the run, or import the trace again"


def read_pattern(directory: Path) -> Run:
    """Return the pattern of a recording.

    Raises:
        ResultError: no recording, one without data, or not what a worker or an import writes.
    """
    trace = directory / "trace"
    if not _is_directory(trace):
        raise ResultError("no recording: no trace in it", where=str(directory), then=_THEN)
    files = read_files(trace / "files.json")
    rows = _all_rows(trace)
    source = read_json(trace / SOURCE_NAME)
    result = read_json(directory / RESULT_NAME)
    worker = read_json(directory / "worker.json")
    _check_rows(rows, files, trace)
    try:
        _check_count(len(rows), source, worker, trace)
        pattern = Pattern(
            rows=rows,
            files=files,
            labelled=bool(source.get("labelled", True)),
            timed=bool(source.get("timed", True)),
            sized=not _part(source, "dropped").get("sizes_unknown"),
            memory_bytes=_memory_bytes(source, result),
            sparse=is_sparse(_part(result, "dataset")),
        )
        notices = tuple(_notices(source, result, worker))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        where = f"{directory}: {RESULT_NAME}, worker.json or trace/{SOURCE_NAME}"
        raise ResultError(f"malformed ({error!r})", where=where, then=_AGAIN) from error
    if not moved_bytes(data_rows(pattern)).any():
        what = f"no data was read: {len(rows):,} calls, none of which moved bytes of a data file"
        raise ResultError(what, where=str(directory), then="record a run that reads data")
    return Run(
        pattern=pattern,
        name=str(directory),
        source=str(source.get("source", "rows of our ranks")),
        notices=notices,
        seed=_seed(result, directory),
    )


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        what = f"cannot look into it ({error.strerror})"
        raise ResultError(what, where=str(path), then=_THEN) from error


def _check_rows(rows: Records, files: Mapping[int, DataFile], trace: Path) -> None:
    unknown = np.setdiff1d(np.unique(rows["file"]), np.array(list(files), np.int64))
    if len(unknown):
        what = f"rows of {len(unknown)} files that files.json does not have"
        raise ResultError(what, where=str(trace), then=_AGAIN)
    for name, kind in (("class", FileClass), ("phase", Phase), ("op", Op)):
        known = [int(value) for value in kind]
        if not np.isin(rows[name], known).all():
            raise ResultError(f"rows of no {name} that there is", where=str(trace), then=_AGAIN)


def _check_count(
    found: int, source: Mapping[str, Any], worker: Mapping[str, Any], trace: Path
) -> None:
    """Check that no rank's rows are missing, where it was written down how many there were."""
    counts = [own.get("rows") for own in (*worker.get("ranks", ()), source) if "rows" in own]
    written = sum(count for count in counts if count is not None)
    if not counts or None in counts:
        return
    if found != written:
        what = f"{found:,} rows, where {written:,} were written: a rank's file is not here"
        raise ResultError(what, where=str(trace), then="copy the recording whole")


def _all_rows(trace: Path) -> Records:
    parts = [read_rows(path, ROW) for path in sorted(trace.glob("rank-*.npy"))]
    if not parts:
        what = "no rows: the run left none, as of a loader that is TensorFlow's own"
        then = "record it by strace, and import that"
        raise ResultError(what, where=str(trace), then=then)
    rows: Records = np.concatenate(parts)
    return rows


def _seed(result: Mapping[str, Any], directory: Path) -> int | None:
    """Return the seed of a run's order; a plan's stands in its configuration alone."""
    config = _part(result, "config") or read_json(directory / "config.json")
    seed = _part(result, "repeat").get("seed", config.get("seed"))
    return seed if isinstance(seed, int) else None


def _memory_bytes(source: Mapping[str, Any], result: Mapping[str, Any]) -> int | None:
    """Return what could hold data: without what ranks need where the worker found that out."""
    if memory := _part(result, "memory"):
        return max(0, int(memory["limit_bytes"]) - int(memory["need_bytes"]))
    limits = (
        source.get("memory_bytes"),
        _part(result, "config").get("memory_bytes"),
        _part(result, "system").get("memory_total_bytes"),
    )
    known = [limit for limit in limits if isinstance(limit, int) and limit > 0]
    return known[0] if known else None


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _notices(
    source: Mapping[str, Any], result: Mapping[str, Any], worker: Mapping[str, Any]
) -> list[str]:
    notices = []
    status = result.get("status") or worker.get("status", "ok")
    if status not in ("ok", "planned"):
        notices.append(f"the run is {status}: its calls may not be all")
    if source.get("cut"):
        notices.append("the imported log was cut off: its calls are not all")
    dropped = _part(source, "dropped")
    if count := dropped.get("other_files"):
        notices.append(f"{count:,} calls on files that no --map named were left out")
    if count := dropped.get("sizes_unknown"):
        notices.append(
            f"no call told the sizes of {count:,} files, and they were not there to be looked at: "
            "coverage and times are left out; import the log where the files are"
        )
    for name, what in (
        ("other_calls", "of kinds that no row has"),
        ("unreturned", "unreturned"),
        (
            "unfollowed",
            "by descriptors whose opening is not in the log (of pipes and sockets it may not be)",
        ),
    ):
        if kinds := _part(dropped, name):
            said = ", ".join(f"{kind} {number:,}" for kind, number in sorted(kinds.items()))
            notices.append(f"calls {what} were left out: {said}")
    return notices
