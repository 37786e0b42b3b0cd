"""CPU seconds per GB of reading cached volumes: our reader beside np.load and a bare read(2) loop.

Every way reads the same files several times after a warm-up; ratios of medians. Asserts nothing.
Usage: python benchmarks/read.py [--size 2GB] [--runs 5] [--directory DIR]
"""

import argparse
import ctypes
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dsgen.choices import Wanted
from dsgen.manifest import read_manifest
from dsgen.size import parse_size
from dsgen.workloads import plan
from dsgen.write import generate
from harness.worker.buffers import touched
from harness.worker.io import DataCalls, TracedFile
from harness.worker.npy import CALLS_PER_FILE, NpyReader
from harness.worker.record import FileClass

_SETTLING = 2
_SMALL_BUFFER_BYTES = 128 * 2**10  # what cat(1) reads at a time


def bare_loop(files: list[TracedFile]) -> Callable[[], None]:
    """Return a loop of read(2) into one small buffer: the least that reading can cost."""
    libc = ctypes.CDLL(None)
    libc.read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    libc.read.restype = ctypes.c_ssize_t
    buffer = touched(_SMALL_BUFFER_BYTES)
    address = buffer.ctypes.data

    def loop() -> None:
        for file in files:
            descriptor = os.open(file.path, os.O_RDONLY)
            while libc.read(descriptor, address, _SMALL_BUFFER_BYTES) > 0:
                pass
            os.close(descriptor)

    return loop


def numpy_loop(files: list[TracedFile]) -> Callable[[], None]:
    def loop() -> None:
        for file in files:
            np.load(file.path)

    return loop


def our_loop(files: list[TracedFile], *, reuse: bool, runs: int) -> Callable[[], None]:
    rows = len(files) * CALLS_PER_FILE * (_SETTLING + runs)
    calls = DataCalls(rank=0, loader=0, rows=rows, marks=rows)
    reader = NpyReader(calls, block_bytes=4096)
    buffer = touched(max(file.size_bytes for file in files)) if reuse else None

    def loop() -> None:
        for file in files:
            reader.load(file, buffer)

    return loop


def cpu_seconds(loop: Callable[[], None]) -> float:
    start = time.process_time()
    loop()
    return time.process_time() - start


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
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-read"))
    options = parser.parse_args()
    measure(options.directory, size_bytes=options.size, runs=options.runs)


def measure(directory: Path, *, size_bytes: int, runs: int) -> tuple[float, float]:
    """Print each way, and return reuse over read(2) and fresh over np.load."""
    files = data_set(directory, size_bytes)
    total_gb = sum(file.size_bytes for file in files) / 1e9
    ways = {
        "read(2), small buffer": bare_loop(files),
        "np.load": numpy_loop(files),
        "ours, --buffer reuse": our_loop(files, reuse=True, runs=runs),
        "ours, --buffer fresh": our_loop(files, reuse=False, runs=runs),
    }
    # Each way keeps to itself: memory that one has let go costs the next one to take again, on a
    # virtual machine up to a CPU second per GB. Two passes settle it, and fill the cache.
    taken: dict[str, list[float]] = {}
    for name, loop in ways.items():
        passes = [cpu_seconds(loop) / total_gb for _ in range(_SETTLING + runs)]
        taken[name] = passes[_SETTLING:]
    bare, theirs = taken["read(2), small buffer"], taken["np.load"]
    for name, values in taken.items():
        print(
            f"imseg: {name:22} {statistics.median(values):.3f} CPU s/GB ({min(values):.3f} to "
            f"{max(values):.3f}), {ratio(values, bare):.2f} of read(2), "
            f"{ratio(values, theirs):.2f} of np.load"
        )
    return ratio(taken["ours, --buffer reuse"], bare), ratio(taken["ours, --buffer fresh"], theirs)


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the ratio of the medians."""
    return statistics.median(ours) / statistics.median(theirs)


if __name__ == "__main__":
    main()
