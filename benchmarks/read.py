"""CPU seconds per GB of reading cached volumes: our reader beside np.load and a bare read(2) loop.

Round after round each way reads the same files in a process of its own; ratios are taken within
a round and come with a 95 % interval over the rounds. Asserts nothing.
Usage: python benchmarks/read.py [--size 2GB] [--rounds 12] [--directory DIR]
"""

import argparse
import ctypes
import functools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from dsgen.choices import Wanted
from dsgen.manifest import read_manifest
from dsgen.size import parse_size
from dsgen.workloads import plan
from dsgen.write import generate
from harness.worker.buffers import touched
from harness.worker.io import DataCalls, TracedFile
from harness.worker.npy import CALLS_PER_FILE, NpyReader
from harness.worker.record import FileClass

_PASSES = 6
_SMALL_BUFFER_BYTES = 128 * 2**10  # what cat(1) reads at a time


def bare_loop(files: list[TracedFile]) -> Callable[[], None]:
    """Return a loop of read(2) into one small buffer: the least that reading can cost."""
    libc = ctypes.CDLL(None)
    libc.read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    libc.read.restype = ctypes.c_ssize_t
    buffer = touched(_SMALL_BUFFER_BYTES)

    def loop() -> None:
        address = buffer.ctypes.data
        for file in files:
            descriptor = os.open(file.path, os.O_RDONLY)
            missing_bytes = file.size_bytes
            while (got_bytes := libc.read(descriptor, address, _SMALL_BUFFER_BYTES)) > 0:
                missing_bytes -= got_bytes
            os.close(descriptor)
            if missing_bytes:
                raise OSError(f"{file.path}: {missing_bytes} bytes did not come")

    return loop


def numpy_loop(files: list[TracedFile]) -> Callable[[], None]:
    def loop() -> None:
        for file in files:
            np.load(file.path)

    return loop


def our_loop(files: list[TracedFile], *, reuse: bool) -> Callable[[], None]:
    rows = len(files) * CALLS_PER_FILE * _PASSES
    calls = DataCalls(rank=0, loader=0, rows=rows, marks=rows)
    reader = NpyReader(calls, block_bytes=4096)
    buffer = touched(max(file.size_bytes for file in files)) if reuse else None

    def loop() -> None:
        for file in files:
            reader.load(file, buffer)

    return loop


WAYS: dict[str, Callable[[list[TracedFile]], Callable[[], None]]] = {
    "read(2), small buffer": bare_loop,
    "np.load": numpy_loop,
    "ours, --buffer reuse": functools.partial(our_loop, reuse=True),
    "ours, --buffer fresh": functools.partial(our_loop, reuse=False),
}


def least_cpu_seconds(name: str, files: list[TracedFile]) -> float:
    """Return the least of several passes over all files: what disturbs only ever adds.

    On a virtual machine the host takes back what was let go, every second or two, and a pass
    that meets it pays half as much again.
    """
    loop = WAYS[name](files)
    return min(cpu_seconds(loop) for _ in range(_PASSES))


def cpu_seconds(loop: Callable[[], None]) -> float:
    start = time.process_time()
    loop()
    return time.process_time() - start


def in_a_process_of_its_own(name: str, files: list[TracedFile]) -> float:
    """Return `least_cpu_seconds` of a new process, free of what other ways left in this one."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as executor:
        return executor.submit(least_cpu_seconds, name, files).result()


def data_set(directory: Path, size_bytes: int) -> list[TracedFile]:
    layout = plan("imseg", size_bytes=size_bytes, seed=1, wanted=Wanted(law="kits19"))
    generate(layout, directory, processes=2, emit=lambda _: None)
    classes = {"x": FileClass.X, "y": FileClass.Y}
    return [
        TracedFile(
            id=index,
            path=str(directory / file.path),
            size_bytes=file.bytes,
            file_class=classes[file.file_class],
            role=file.role,
        )
        for index, file in enumerate(read_manifest(directory).files)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=parse_size("2GB"))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-read"))
    options = parser.parse_args()
    measure(options.directory, size_bytes=options.size, rounds=options.rounds)


@dataclass(frozen=True, slots=True)
class Compared:
    """A ratio of CPU seconds, with its 95 % interval over rounds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def measure(directory: Path, *, size_bytes: int, rounds: int) -> tuple[Compared, Compared]:
    """Print each way, and return reuse over read(2) and fresh over np.load."""
    files = data_set(directory, size_bytes)
    total_gb = sum(file.size_bytes for file in files) / 1e9
    bare_loop(files)()  # fills the page cache
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds):
        # In turn from either end, so that no way always follows the same one.
        for name in list(WAYS)[:: 1 - 2 * (number % 2)]:
            taken[name].append(in_a_process_of_its_own(name, files) / total_gb)
    bare, theirs = taken["read(2), small buffer"], taken["np.load"]
    for name, values in taken.items():
        print(
            f"imseg: {name:22} {statistics.median(values):.3f} CPU s/GB ({min(values):.3f} to "
            f"{max(values):.3f}), {compared(values, bare)} of read(2), "
            f"{compared(values, theirs)} of np.load"
        )
    return (
        compared(taken["ours, --buffer reuse"], bare),
        compared(taken["ours, --buffer fresh"], theirs),
    )


def compared(ours: list[float], theirs: list[float]) -> Compared:
    """Return the geometric mean of the rounds' ratios and Student's interval of it."""
    logarithms = np.log(np.array(ours) / np.array(theirs))
    half = stats.t.ppf(0.975, len(logarithms) - 1) * stats.sem(logarithms)
    middle = logarithms.mean()
    return Compared(*(float(np.exp(middle + part)) for part in (0, -half, half)))


if __name__ == "__main__":
    main()
