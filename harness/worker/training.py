"""A training run from its spec to worker.json."""

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from dsgen.described import manifest_of
from dsgen.errors import PathError, StopRequested, UsageError
from dsgen.events import Emit
from dsgen.input import held
from dsgen.manifest import Manifest
from harness.worker.bert_plan import plan_bert
from harness.worker.capacity import record_disk_bytes
from harness.worker.checkpoint import KINDS, Checkpoint
from harness.worker.comm import Board, Turnstile
from harness.worker.cores import usable_cores
from harness.worker.crew import Crew
from harness.worker.descriptors import check_descriptors
from harness.worker.devices import check_devices
from harness.worker.dlrm import plan_dlrm
from harness.worker.handover import Handover
from harness.worker.imseg import plan_imseg
from harness.worker.loop import Job
from harness.worker.memory import check_memory
from harness.worker.shares import Shares
from harness.worker.spec import WorkerSpec
from harness.worker.summary import write_files, write_summary
from harness.worker.workload import Reading

READINGS: Final[dict[str, Callable[[WorkerSpec, Manifest], Reading]]] = {
    "imseg": plan_imseg,
    "bert": plan_bert,
    "dlrm": plan_dlrm,
}


def run_training(spec: WorkerSpec, emit: Emit) -> None:
    """Train as `spec` orders and leave the recording in its `out_dir`.

    Raises:
        FeedrateError: what is expected to go wrong; what was recorded by then is written.
        StopRequested: a signal arrived; likewise.
    """
    data_dir, out_dir = Path(spec.data_dir), Path(spec.out_dir)
    with held(data_dir):
        reading = plan(spec, manifest_of(data_dir, spec.workload))
        checkpoint = checkpoint_of(spec, reading)
        calls = checkpoint.calls(0) if checkpoint else 0
        check_devices(spec)
        check_descriptors(spec, reading)
        check_memory(spec, reading, checkpoint_calls=calls)
        _make_directories(out_dir)
        if checkpoint is not None:
            checkpoint.remove_stale()
        traced = [*reading.files, *(checkpoint.files if checkpoint else ())]
        write_files(out_dir / "trace" / "files.json", traced)
        _run(spec, reading, checkpoint, emit)


def recording_bytes(spec: WorkerSpec, manifest: Manifest) -> int:
    """Return the space that the recording of a run may take.

    Raises:
        UsageError, DataSetError: as `plan` does.
    """
    reading = plan(spec, manifest)
    checkpoint = checkpoint_of(spec, reading)
    calls = checkpoint.calls(0) if checkpoint else 0
    return record_disk_bytes(spec, reading, checkpoint_calls=calls)


def plan(spec: WorkerSpec, manifest: Manifest) -> Reading:
    """Return how the spec's workload reads the data set.

    Raises:
        UsageError: no such workload here, or nothing that its accelerators could compute.
        DataSetError: the data set does not suit the spec.
    """
    if spec.workload not in READINGS:
        then = f"use one of {', '.join(READINGS)}"
        raise UsageError("no training of this workload", where=repr(spec.workload), then=then)
    reading = READINGS[spec.workload](spec, manifest)
    if spec.accelerator != "emulated" and not reading.computes:
        where, then = f"--accelerator {spec.accelerator}", "leave it out, or train another format"
        raise UsageError("what is read is only prepared for a training", where=where, then=then)
    return reading


def _run(spec: WorkerSpec, reading: Reading, checkpoint: Checkpoint | None, emit: Emit) -> None:
    context = multiprocessing.get_context("fork")
    cores = usable_cores()
    # What computes on the processor needs the cores that others would burn.
    spin = spec.accelerators <= cores and spec.accelerator == "emulated"
    board = Board(spec.accelerators)
    takers = spec.accelerators - reading.readers
    job = Job(
        spec=spec,
        reading=reading,
        barrier=Turnstile(context, spec.accelerators, spin=spin),
        board=board,
        spin=spin,
        checkpoint=checkpoint,
        handover=Handover(
            context, takers=takers, steps=reading.steps_per_epoch, shares=_shares(spec)
        )
        if takers
        else None,
    )
    crew = Crew(context, job)
    summarise = partial(
        write_summary,
        Path(spec.out_dir) / "worker.json",
        spec=spec,
        reading=reading,
        cores=cores,
        spin=spin,
        members=crew.members,
    )
    started_s = time.monotonic()
    try:
        crew.start()
        crew.watch(lambda: emit(_progress(board, spec, time.monotonic() - started_s)))
        emit(_progress(board, spec, time.monotonic() - started_s))
    except BaseException as failure:
        crew.stop()
        with suppress(PathError):  # what came first is what is told
            summarise(status="interrupted" if isinstance(failure, StopRequested) else "failed")
        raise
    crew.stop()
    summarise(status="ok")


def _shares(spec: WorkerSpec) -> Shares | None:
    """Return memory for the parts of a batch, where accelerators compute on rows."""
    if spec.accelerator == "emulated" or spec.workload != "dlrm":
        return None
    return Shares(ranks=spec.accelerators, batch_size=spec.batch_size)


def _progress(board: Board, spec: WorkerSpec, elapsed_s: float) -> dict[str, object]:
    activity, epoch, step, steps = board.position()
    return {
        "kind": "train",
        "epoch": epoch,
        "epochs": spec.epochs,
        "step": step,
        "steps": steps,
        "phase": activity.name.lower(),
        "bytes": board.read_bytes(),
        "elapsed_s": round(elapsed_s, 3),
    }


def _make_directories(out_dir: Path) -> None:
    try:
        for name in ("trace", "steps"):
            (out_dir / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        then = "name a directory that you may write to"
        what = f"cannot make it ({error.strerror})"
        raise PathError(what, where=str(out_dir), then=then) from error
    if any(out_dir.glob("*/*.npy")):  # its ranks would be taken for this run's
        raise PathError("holds another recording", where=str(out_dir), then="name an empty one")


def checkpoint_of(spec: WorkerSpec, reading: Reading) -> Checkpoint | None:
    """Return the checkpoint that a run writes, None where it writes none."""
    if spec.checkpoint_dir is None or not reading.computes:
        return None
    return Checkpoint(
        kind=KINDS[spec.workload],
        directory=Path(spec.checkpoint_dir),
        size_bytes=spec.checkpoint_bytes,
        readers=reading.readers,
        first_id=max(file.id for file in reading.files) + 1,
        seed=spec.seed,
    )
