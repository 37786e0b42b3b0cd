"""A training run from its spec to worker.json."""

import multiprocessing
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from dsgen.described import manifest_of
from dsgen.errors import ExitCode, FeedrateError, PathError, StopRequested
from dsgen.events import Emit, error, notice
from dsgen.input import held
from dsgen.manifest import Manifest
from harness.worker.accelerators.devices import check_devices
from harness.worker.checkpoint import KINDS, Checkpoint
from harness.worker.descriptors import check_descriptors
from harness.worker.failure import LimitError
from harness.worker.host.cgroup import own_limits
from harness.worker.host.cores import usable_cores
from harness.worker.host.residency import LEFT_SHARE, expel
from harness.worker.loading.handover import Handover
from harness.worker.loading.shares import Shares
from harness.worker.memory import MemoryFacts, check_limit, check_memory, memory_facts, needed_bytes
from harness.worker.planted import Throttle
from harness.worker.ranks.comm import Board, Turnstile
from harness.worker.ranks.crew import Crew
from harness.worker.ranks.loop import Job
from harness.worker.ranks.watchdog import Limits, Watchdog
from harness.worker.record import Eviction
from harness.worker.recording.capacity import record_disk_bytes
from harness.worker.recording.cost import row_cost
from harness.worker.recording.ledger import ledger_of
from harness.worker.recording.whereabouts import Whereabouts
from harness.worker.schedule import checkpoints_of_run
from harness.worker.spec import WorkerSpec
from harness.worker.summary import write_files, write_summary
from harness.worker.workload import Reading
from harness.worker.workloads import plan


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
        check_devices(spec)
        check_descriptors(spec, reading)
        limits = own_limits()
        check_limit(spec.memory_bytes, limits)
        check_memory(spec, reading, checkpoint=checkpoint)
        _make_directories(out_dir)
        if checkpoint is not None:
            checkpoint.remove_stale()
        traced = [*reading.files, *(checkpoint.files if checkpoint else ())]
        write_files(out_dir / "trace" / "files.json", traced)
        memory = memory_facts(needed_bytes(spec, reading, checkpoint=checkpoint), limits)
        _run(spec, reading, checkpoint, emit, memory, _expel(spec, reading))


def check_need(spec: WorkerSpec, reading: Reading) -> int:
    """Return the memory that the ranks will keep, before anything of a run exists.

    Raises:
        MemoryShortError: it does not fit into the spec's limit.
    """
    checkpoint = checkpoint_of(spec, reading)
    if spec.memory_bytes is not None:
        check_memory(spec, reading, checkpoint=checkpoint, limit_bytes=spec.memory_bytes)
    return needed_bytes(spec, reading, checkpoint=checkpoint)


def recording_bytes(spec: WorkerSpec, manifest: Manifest) -> int:
    """Return the space that the recording of a run may take.

    Raises:
        UsageError, DataSetError: as `plan` does.
    """
    reading = plan(spec, manifest)
    checkpoint = checkpoint_of(spec, reading)
    return record_disk_bytes(spec, reading, checkpoint=checkpoint)


def _expel(spec: WorkerSpec, reading: Reading) -> tuple[Eviction, ...]:
    """Empty memory of all data where a limit shall hold for it.

    Raises:
        LimitError: some of it stays.
    """
    if spec.memory_bytes is None:
        return ()
    started_s = time.monotonic()
    left = expel([file.path for file in reading.files])
    if left is not None and left > LEFT_SHARE:
        what = f"{left:.0%} of the data's probed pages stay in memory, where no limit counts them"
        then = "end what maps or writes these files, and repeat the run"
        raise LimitError(what, where=spec.data_dir, then=then)
    return (
        Eviction(
            epoch=0,
            files=len(reading.files),
            bytes=sum(file.size_bytes for file in reading.files),
            seconds=time.monotonic() - started_s,
            resident_fraction=left,
        ),
    )


def _run(
    spec: WorkerSpec,
    reading: Reading,
    checkpoint: Checkpoint | None,
    emit: Emit,
    memory: MemoryFacts,
    expelled: tuple[Eviction, ...],
) -> None:
    context = multiprocessing.get_context("fork")
    cores = usable_cores()
    # What computes on the processor needs the cores that others would burn.
    spin = spec.accelerators <= cores and spec.accelerator == "emulated"
    board = Board(spec.accelerators, epochs=spec.epochs, warmup_epochs=spec.warmup_epochs)
    whereabouts = Whereabouts(spec.accelerators, 1 + spec.loader_workers)
    takers, planted = spec.accelerators - reading.readers, spec.planted
    job = Job(
        spec=spec,
        reading=reading,
        barrier=Turnstile(context, spec.accelerators, spin=spin),
        board=board,
        whereabouts=whereabouts,
        spin=spin,
        checkpoint=checkpoint,
        handover=Handover(
            context, takers=takers, steps=reading.steps_per_epoch, shares=_shares(spec)
        )
        if takers
        else None,
        throttle=Throttle(context, planted.read_bytes_per_s)
        if planted and planted.read_bytes_per_s
        else None,
        ledgers=[
            ledger_of(spec, reading, rank=rank, checkpoint=checkpoint)
            for rank in range(spec.accelerators)
        ],
    )
    crew = Crew(context, job)
    watchdog = Watchdog(
        whereabouts=whereabouts,
        board=board,
        files=[*reading.files, *(checkpoint.files if checkpoint else ())],
        limits=Limits(stall_s=spec.stall_s, duration_s=spec.max_duration_s),
        vitals=crew.vitals,
    )
    summarise = partial(
        write_summary,
        Path(spec.out_dir) / "worker.json",
        spec=spec,
        reading=reading,
        cores=cores,
        spin=spin,
        members=crew.members,
        cost=row_cost(),
        memory=memory,
        expelled=expelled,
    )
    started_s = time.monotonic()
    try:
        crew.start()
        crew.watch(lambda: emit(_position(board, spec, started_s, watchdog.look())))
        emit(_position(board, spec, started_s))
    except BaseException as failure:
        crew.stop()
        with suppress(PathError):  # what came first is what is told
            summarise(status="interrupted" if isinstance(failure, StopRequested) else "failed")
        _tell(failure, crew, emit)
        raise
    crew.stop()
    summarise(status="ok")


def _shares(spec: WorkerSpec) -> Shares | None:
    """Return memory for the parts of a batch, where accelerators compute on rows."""
    if spec.accelerator == "emulated" or spec.workload != "dlrm":
        return None
    return Shares(ranks=spec.accelerators, batch_size=spec.batch_size)


def _tell(failure: BaseException, crew: Crew, emit: Emit) -> None:
    """Say what a run that hangs ended with before its files are closed, which may hang as well."""
    for member in crew.members:
        if not member.ended:
            emit(notice(f"{member.failure()}"))
    if isinstance(failure, FeedrateError) and failure.exit_code is ExitCode.STALLED:
        emit(error(failure.exit_code, str(failure)))


def _position(
    board: Board, spec: WorkerSpec, started_s: float, waits: str | None = None
) -> dict[str, object]:
    """Return the event of where training stands; `waits` is what it waits for, if it hangs."""
    activity, epoch, step, steps = board.position()
    tally = board.tally()
    measured = tally.window_ns > 0
    return {
        "kind": "train",
        "epoch": epoch,
        "epochs": spec.epochs,
        "step": step,
        "steps": steps,
        "phase": activity.name.lower(),
        "bytes": board.read_bytes(),
        "elapsed_s": round(time.monotonic() - started_s, 3),
        # By the definitions of a result; where nothing is declared there is no AU.
        "au": tally.declared_ns / tally.window_ns if measured and tally.declared_ns else None,
        "bytes_per_s": tally.bytes * 10**9 / tally.window_ns if measured else None,
        "waits": waits,
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
    kind = KINDS[spec.workload]
    return Checkpoint(
        kind=kind,
        directory=Path(spec.checkpoint_dir),
        size_bytes=spec.checkpoint_bytes,
        readers=reading.readers,
        times=checkpoints_of_run(spec, reading.steps_per_epoch, after_tests=kind.after_tests),
        first_id=max(file.id for file in reading.files) + 1,
        seed=spec.seed,
    )
