"""What ranks cost beside their work: a passage of the barrier, and how long many take to start.

Usage: python benchmarks/crew.py [--ranks 8] [--starts 64] [--rounds 5] [--directory DIR]
"""

import argparse
import mmap
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import time
from multiprocessing.context import ForkProcess
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dsgen.choices import Wanted
from dsgen.workloads import plan
from dsgen.write import generate
from harness.config import build_config
from harness.document import find_builtin, read_document
from harness.training import worker_spec
from harness.worker.accelerators.emulated import spin_of
from harness.worker.host.cores import stay_on_core, usable_cores
from harness.worker.ranks.comm import Turnstile
from harness.worker.recording.clock import set_timer_slack

_CONTEXT = multiprocessing.get_context("fork")
_PASSAGES = 2_000
_WARM_UP = 100
_DATA_BYTES = 20_000_000


def passages(ranks: int) -> NDArray[np.int64]:
    """Let ranks go through the barrier of a training again and again, with nothing in between.

    Returns:
        ns from the last one's arrival to each one's leaving, shape (ranks, passages).
    """
    barrier = Turnstile(_CONTEXT, ranks, spin=ranks <= usable_cores())
    memory = mmap.mmap(-1, ranks * _PASSAGES * 2 * 8)
    times = np.frombuffer(memory, np.int64).reshape(ranks, _PASSAGES, 2)

    def go(rank: int) -> None:
        for number in range(_PASSAGES):
            arrived_ns = time.monotonic_ns()
            barrier.wait()
            times[rank, number] = (arrived_ns, time.monotonic_ns())
        os._exit(0)

    _run_all([_CONTEXT.Process(target=go, args=(rank,)) for rank in range(ranks)])
    kept = times[:, _WARM_UP:]
    waits_ns: NDArray[np.int64] = kept[:, :, 1] - kept[:, :, 0].max(axis=0)
    return waits_ns


def barrier_us(ranks: int, rounds: int) -> list[float]:
    """Return the median passage of each round."""
    return [float(np.median(passages(ranks))) / 1e3 for _ in range(rounds)]


def starts_s(directory: Path, ranks: int, rounds: int) -> list[float]:
    """Return the seconds from the start of a worker to the release of its first barrier.

    Every rank has a pipeline of bert over files of its own, its buffers made and its clocks open.
    """
    data, out = directory / "data", directory / "out"
    layout = plan("bert", size_bytes=_DATA_BYTES, seed=1, wanted=Wanted(min_files=ranks))
    generate(layout, data, processes=2, emit=lambda _: None)
    config = build_config(
        "bert", read_document(find_builtin(directory)), preset="smoke", cwd=directory
    )
    config = msgspec.structs.replace(
        config, accelerators=ranks, epochs=1, steps=1, eval_from=0, cache="asis", checkpoint=None
    )
    seconds = []
    for _ in range(rounds):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        (out / "spec.json").write_text(worker_spec(config, data, out).to_json())
        command = [sys.executable, "-m", "harness.worker", str(out / "spec.json")]
        start_ns = time.monotonic_ns()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        opened = [np.load(path)["start_ns"].min() for path in out.glob("steps/windows-*.npy")]
        if len(opened) != ranks:
            raise SystemExit(f"{len(opened)} of {ranks} ranks left a recording")
        seconds.append((int(max(opened)) - start_ns) / 1e9)
    shutil.rmtree(out)
    return seconds


def bare_utilization(ranks: int, steps: int, step_ns: int) -> float:
    """Let processes that do nothing else compute and meet: what this machine leaves of AU.

    A step sleeps and spins as long as `Emulated` does, and rehearses nothing; meeting is a count in
    shared memory that each looks at without a pause.

    Args:
        ranks: at most as many as there are cores, for each stays on one.
        steps: of each.
        step_ns: that each takes.

    Returns:
        time computed over that from the first meeting to the last, of all processes.
    """
    memory = mmap.mmap(-1, 8 * ranks * (steps + 2))
    times = np.frombuffer(memory, np.int64)
    counts, ends_ns = times[:ranks], times[ranks:].reshape(ranks, -1)

    def go(rank: int) -> None:
        stay_on_core(rank)
        set_timer_slack()
        for step in range(steps + 1):
            if step:
                deadline_ns = time.monotonic_ns() + step_ns
                time.sleep(max(0, step_ns - spin_of(step_ns)) / 1e9)
                while time.monotonic_ns() < deadline_ns:
                    pass
            counts[rank] = step + 1
            while int(counts.min()) <= step:
                pass
            ends_ns[rank, step] = time.monotonic_ns()
        os._exit(0)

    _run_all([_CONTEXT.Process(target=go, args=(rank,)) for rank in range(ranks)])
    return float(ranks * steps * step_ns / (ends_ns[:, steps] - ends_ns[:, 0]).sum())


def _run_all(processes: list[ForkProcess]) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a process at the barrier died")


def barrier(_: Path) -> tuple[bool, str]:
    """Meet at the barrier with 8 ranks: p50 from the last arrival to a leaving under 100 µs."""
    passed = barrier_us(8, rounds=5)
    return statistics.median(passed) < 100, f"8 ranks p50 {shown(passed, 'µs')} (100 µs)"


def start(directory: Path) -> tuple[bool, str]:
    """Start 64 ranks in under 5 s, from the worker's start to its first barrier's release."""
    started = starts_s(directory / "start", 64, rounds=3)
    return statistics.median(started) < 5, f"64 ranks {shown(started, 's')} (5 s)"


def shown(values: list[float], unit: str) -> str:
    """Return the median and the range."""
    return (
        f"{statistics.median(values):.3g} {unit} ({min(values):.3g} to {max(values):.3g}, "
        f"{len(values)} rounds)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--starts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-crew"))
    options = parser.parse_args()
    place = options.directory.absolute()
    place.mkdir(parents=True, exist_ok=True)
    passed = barrier_us(options.ranks, options.rounds)
    print(f"barrier of {options.ranks} ranks: p50 {shown(passed, 'µs')}")
    started = starts_s(place, options.starts, options.rounds)
    print(f"start of {options.starts} ranks: {shown(started, 's')}")


if __name__ == "__main__":
    main()
