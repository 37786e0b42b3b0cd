"""A plan as a run would leave it: rows, files and facts in a directory of their own."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from dsgen.directory import check_complete
from dsgen.errors import UsageError
from harness.config import Config, config_json
from harness.dataset import DataSet, planned, planned_manifest
from harness.errors import TargetError
from harness.plan.content import Content, InLayout, OnDisk
from harness.plan.rows import BLOCK_BYTES, plan_rows
from harness.run_name import partial_of, run_name
from harness.target import create_directory
from harness.trace.importing import SOURCE_NAME
from harness.training import worker_spec
from harness.worker.record import STEP, WINDOW
from harness.worker.spec import WorkerSpec
from harness.worker.summary import SCHEMA_VERSION, files_table
from harness.worker.training import checkpoint_of
from harness.worker.workload import Reading
from harness.worker.workloads import plan

_FREE: Final = "free some space, or name another --results"


def write_plan(config: Config, data: DataSet) -> Path:
    """Write what a run of `config` over `data` would record, and return the directory.

    A data set that is there is opened, of imseg only the headers; one that is not is drawn as far
    as readers follow it.

    Raises:
        DataSetError: the data set does not suit the configuration, or cannot be read.
        UsageError: its reader makes calls that nobody records.
        TargetError: the directory cannot be written.
    """
    final = config.results / config.workload / run_name(datetime.now(UTC), "plan")
    partial = partial_of(final)
    spec = worker_spec(config, data.directory, final)
    if not spec.leaves_rows:
        where, then = f"--loader {spec.loader}", "use --loader native"
        raise UsageError("its calls cannot be planned", where=where, then=then)
    if data.manifest and data.manifest.crc32c is not None:
        check_complete(data.manifest, data.directory)
    reading = plan(spec, data.manifest or planned_manifest(config))
    for part in ("trace", "steps"):
        create_directory(partial / part)
    try:
        _write(config, spec, reading, _content(config, data), data, partial)
        partial.rename(final)
    except OSError as error:
        what = f"cannot write the plan ({error.strerror})"
        raise TargetError(what, where=str(partial), then=_FREE) from error
    finally:
        _remove(partial)
    return final


def _content(config: Config, data: DataSet) -> Content:
    return OnDisk() if data.manifest else InLayout(planned(config), data.directory)


def _write(
    config: Config,
    spec: WorkerSpec,
    reading: Reading,
    content: Content,
    data: DataSet,
    directory: Path,
) -> None:
    checkpoint = checkpoint_of(spec, reading)
    block_bytes = _block_bytes(reading)
    counts = []
    planned_rows = plan_rows(spec, reading, content, checkpoint=checkpoint, block_bytes=block_bytes)
    for rank, rows in enumerate(planned_rows):
        np.save(directory / "trace" / f"rank-{rank:05d}.npy", rows)
        np.save(directory / "steps" / f"rank-{rank:05d}.npy", np.empty(0, STEP))
        np.save(directory / "steps" / f"windows-{rank:05d}.npy", np.empty(0, WINDOW))
        counts.append(len(rows))
    files = [*reading.files, *(checkpoint.files if checkpoint else ())]
    facts = {
        "schema_version": SCHEMA_VERSION,
        "status": "planned",
        "steps_per_epoch": reading.steps_per_epoch,
        "samples_used_per_epoch": reading.epoch_samples,
        "mean_sample_bytes": reading.sample_bytes,
        "readers": reading.readers,
        "block_bytes": block_bytes,
        "content": "files" if data.manifest else "layout",
        "ranks": [{"rank": rank, "rows": count} for rank, count in enumerate(counts)],
        "evictions": [],
    }
    source = {"source": "planned calls", "labelled": True, "timed": False}
    for name, document in (
        ("worker.json", facts),
        ("config.json", config_json(config)),
        ("trace/files.json", files_table(files)),
        (f"trace/{SOURCE_NAME}", source),
    ):
        (directory / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (directory / "spec.json").write_text(spec.to_json(), encoding="utf-8")


def _block_bytes(reading: Reading) -> int:
    """Return the st_blksize of the files, where they are there."""
    try:
        return Path(reading.files[0].path).stat().st_blksize
    except OSError:
        return BLOCK_BYTES


def _remove(directory: Path) -> None:
    """Remove what is left of a plan that was not finished."""
    for path in sorted(directory.rglob("*"), reverse=True):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
    with suppress(OSError):
        directory.rmdir()
