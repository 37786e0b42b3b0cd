"""From a data set of bert to how it is read: files, counts, and what is refused."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dsgen.errors import DataSetError, UsageError
from dsgen.layout import COUNTED
from dsgen.manifest import Manifest, ManifestFile
from dsgen.tfrecord import count_records
from harness.worker.record import FileClass
from harness.worker.recording.io import TracedFile
from harness.worker.spec import WorkerSpec
from harness.worker.workloads.bert import EVAL_RECORDS, BertReading

# Whose headers tell the mean length, where nobody has counted.
_SAMPLED_RECORDS = 1_000


def plan_bert(spec: WorkerSpec, manifest: Manifest) -> BertReading:
    """Return how `spec` reads the data set of `manifest`.

    Records that nobody has counted are, by their headers, unless the steps of an epoch are given
    or the spec has their numbers.

    Raises:
        DataSetError: another workload's, too few files or records for these ranks, or no TFRecords.
        UsageError: pipelines or loader workers that this workload has not.
    """
    if manifest.workload != "bert":
        what = f"a data set of {manifest.workload}, not bert"
        raise DataSetError(what, where=spec.data_dir, then="name the directory of a bert set")
    _check_spec(spec)
    train = _files(manifest, "train")
    readers = spec.pipelines or spec.accelerators
    if len(train) < readers:
        what = f"{len(train)} training files for {readers} pipelines, which need one each"
        then = "use a data set of more files (--min-files), fewer accelerators or --pipelines 1"
        raise DataSetError(what, where=spec.data_dir, then=then)
    if empty := [file.path for file in train if file.bytes == 0]:
        then = "leave it out, or make it again"
        raise DataSetError("a file without records", where=empty[0], then=then)
    records = _records(spec, train)
    reading = BertReading(
        spec=spec,
        train_files=_traced(spec, train, 0),
        eval_files=_traced(spec, _files(manifest, "eval"), len(train)),
        records=records,
        eval_records=_eval_records(spec, _files(manifest, "eval"), spec.accelerators // readers),
        record_bytes=_record_bytes(spec, train, records),
    )
    if reading.steps_per_epoch == 0:
        what = (
            f"{reading.shard_records:,} training records in the files of a pipeline, and a step "
            f"takes {spec.batch_size * spec.accelerators // readers:,} of them"
        )
        then = "use a larger data set, fewer accelerators or a smaller batch"
        raise DataSetError(what, where=spec.data_dir, then=then)
    return reading


def _check_spec(spec: WorkerSpec) -> None:
    if spec.loader == "tfdata" and spec.accelerator != "emulated":
        what = "bytes that tf.data reads cannot be told from what TensorFlow reads to compute"
        where, then = f"--accelerator {spec.accelerator}", "use --loader native"
        raise UsageError(what, where=where, then=then)
    if spec.loader_workers > 1:
        what = f"{spec.loader_workers} loader workers, and a pipeline is one stream"
        raise UsageError(what, where="bert", then="use --loader-workers 1, or 0")
    if spec.loader == "tfdata" and spec.loader_workers == 0:
        what = "tf.data reads in the background"
        raise UsageError(what, where="--loader tfdata", then="use --loader-workers 1")
    if spec.pipelines not in (0, 1, spec.accelerators):
        what = f"{spec.pipelines} pipelines for {spec.accelerators} accelerators"
        raise UsageError(what, where="bert", then="use --pipelines 1, or 0 for one each")


def _files(manifest: Manifest, role: str) -> list[ManifestFile]:
    return sorted((file for file in manifest.files if file.role == role), key=lambda f: f.path)


def _traced(
    spec: WorkerSpec, files: Sequence[ManifestFile], first_id: int
) -> tuple[TracedFile, ...]:
    return tuple(
        TracedFile(
            id=number,
            path=str(Path(spec.data_dir) / file.path),
            size_bytes=file.bytes,
            file_class=FileClass.RECORD,
            role=file.role,
        )
        for number, file in enumerate(files, first_id)
    )


def _records(spec: WorkerSpec, files: Sequence[ManifestFile]) -> tuple[int, ...] | None:
    if COUNTED not in (file.samples for file in files):
        return tuple(file.samples for file in files)
    if spec.steps:
        return None
    return spec.records or tuple(_count(spec, file)[0] for file in files)


def with_records(manifest: Manifest, spec: WorkerSpec) -> Manifest:
    """Return the manifest with every training file's records, counted where nobody has.

    It takes a look at every header, which may be most blocks of the data set: once is enough.

    Raises:
        DataSetError: no record begins where the one before ends.
    """
    files = tuple(
        replace(file, samples=_count(spec, file)[0])
        if file.role == "train" and file.samples == COUNTED
        else file
        for file in manifest.files
    )
    train = sum(file.samples for file in files if file.role == "train")
    return replace(manifest, files=files, samples_train=train)


def records_of(manifest: Manifest) -> tuple[int, ...] | None:
    """Return the records of the training files as a plan takes them, None if not all are known."""
    records = tuple(file.samples for file in _files(manifest, "train"))
    return None if COUNTED in records else records


def _eval_records(spec: WorkerSpec, files: Sequence[ManifestFile], ranks: int) -> int:
    """Return how many records a pipeline for so many ranks evaluates on."""
    if not 0 < spec.eval_from <= spec.epochs:
        return 0
    if not files:
        then = "add eval_10k, or switch evaluation off (--eval-from 0)"
        raise DataSetError("no evaluation file", where=spec.data_dir, then=then)
    wanted = EVAL_RECORDS * ranks
    there = files[0].samples
    return _count(spec, files[0], wanted)[0] if there == COUNTED else min(wanted, there)


def _record_bytes(
    spec: WorkerSpec, files: Sequence[ManifestFile], records: tuple[int, ...] | None
) -> float:
    if records is not None:
        return sum(file.bytes for file in files) / max(1, sum(records))
    number, end = _count(spec, files[0], _SAMPLED_RECORDS)
    return end / max(1, number)


def _count(spec: WorkerSpec, file: ManifestFile, at_most: int | None = None) -> tuple[int, int]:
    """Return the records of a file, by their headers, and where the last of them ends."""
    path = Path(spec.data_dir) / file.path
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return count_records(descriptor, file.bytes, at_most)
        finally:
            os.close(descriptor)
    except OSError as error:
        then = "check the storage"
        raise DataSetError(f"cannot read ({error.strerror})", where=str(path), then=then) from error
    except ValueError as error:
        then = "restore the file, or leave it out"
        raise DataSetError(f"damaged ({error})", where=str(path), then=then) from error
