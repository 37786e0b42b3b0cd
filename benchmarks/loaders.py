"""Read a cached data set in one way, several times, and print what the cheapest pass took.

Ways are ours, the references' own, and a plain loop, which is the least that reading can cost. The
JSON printed: CPU seconds, peak memory in bytes (VmHWM), samples that came (0: not counted).
Usage: python benchmarks/loaders.py SPEC WAY PASSES, with the spec of a worker.
"""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dsgen.manifest import read_manifest
from dsgen.memory import touched
from harness.worker.loading.npy import CALLS_PER_FILE, NpyReader
from harness.worker.record import Phase
from harness.worker.recording.io import DataCalls, TracedFile
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Reading
from harness.worker.workloads import plan

PLAIN = "read(2)"
_SMALL_BUFFER_BYTES = 128 * 2**10  # what cat(1) reads at a time

Loop = Callable[[], int]
Way = Callable[[WorkerSpec, Reading, list[TracedFile], int], Loop]


def plain(_: WorkerSpec, reading: Reading, files: list[TracedFile], _passes: int) -> Loop:
    """Return a loop of read(2) into one small buffer."""
    libc = ctypes.CDLL(None)
    libc.read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    libc.read.restype = ctypes.c_ssize_t
    buffer = touched(_SMALL_BUFFER_BYTES)

    def loop() -> int:
        address = buffer.ctypes.data
        for file in files * passes_of(reading):
            descriptor = os.open(file.path, os.O_RDONLY)
            missing_bytes = file.size_bytes
            while (got_bytes := libc.read(descriptor, address, _SMALL_BUFFER_BYTES)) > 0:
                missing_bytes -= got_bytes
            os.close(descriptor)
            if missing_bytes:
                raise OSError(f"{file.path}: {missing_bytes} bytes did not come")
        return 0

    return loop


def ours(_: WorkerSpec, reading: Reading, _files: list[TracedFile], passes: int) -> Loop:
    """Return a loop over the batches of an epoch, in this thread."""
    batches = reading.train(1, 0)
    rows = reading.opening_calls + passes * reading.calls(Phase.TRAIN, len(batches))
    # And each pass begins with a mark where a pipeline is built.
    calls = DataCalls(rank=0, loader=0, rows=rows + 1, marks=rows + 1 + passes)
    slots = reading.slots(1)
    reader = reading.reader(calls, slots)

    def loop() -> int:
        for number in range(len(batches)):
            reader.read(batches[number], 0)
        reader.end()
        return sum(len(batches[number].samples) for number in range(len(batches)))

    return loop


def npy(*, reuse: bool) -> Way:
    """Return the way of our reader of volumes, which are not cropped."""

    def make(_: WorkerSpec, _reading: Reading, files: list[TracedFile], passes: int) -> Loop:
        rows = len(files) * CALLS_PER_FILE * passes
        calls = DataCalls(rank=0, loader=0, rows=rows, marks=rows)
        reader = NpyReader(calls, block_bytes=4096)
        buffer = touched(max(file.size_bytes for file in files)) if reuse else None

        def loop() -> int:
            for file in files:
                reader.load(file, buffer)
            return 0

        return loop

    return make


def volumes(_: WorkerSpec, _reading: Reading, files: list[TracedFile], _passes: int) -> Loop:
    """Return np.load of each volume."""

    def loop() -> int:
        for file in files:
            np.load(file.path)
        return 0

    return loop


def rows(spec: WorkerSpec, _: Reading, files: list[TracedFile], _passes: int) -> Loop:
    """Return the reference's batches of rows, by Python's files."""
    (file,) = files
    batches = reference("dlrm").BinBatches(
        Path(file.path), Path(spec.data_dir) / "day_fea_count.npz", global_batch(spec)
    )
    return lambda: sum(len(batches.read(number)) for number in range(batches.count))


def days(spec: WorkerSpec, _: Reading, _files: list[TracedFile], _passes: int) -> Loop:
    """Return the reference's batches of days, by np.load."""
    loaded = reference("dlrm").NpzRows(Path(spec.data_dir))
    return lambda: sum(len(batch[0]) for batch in loaded.training(global_batch(spec)))


def lines(_: WorkerSpec, reading: Reading, files: list[TracedFile], _passes: int) -> Loop:
    """Return Python's lines of text, in both passes."""

    def loop() -> int:
        return sum(1 for file in files * passes_of(reading) for _ in text(file))

    def text(file: TracedFile) -> Iterator[str]:
        with Path(file.path).open() as stream:
            yield from stream

    return loop


def tf_data(*, parse: bool) -> Way:
    """Return the reference's pipeline of tf.data: records read and shuffled, or parsed as well."""

    def make(spec: WorkerSpec, _: Reading, files: list[TracedFile], _passes: int) -> Loop:
        bert = reference("bert")
        paths = [file.path for file in files]

        def loop() -> int:
            batches = bert.training(paths, spec.batch_size, parse=parse, repeat=False)
            return spec.batch_size * sum(1 for _ in batches)

        return loop

    return make


def reference(name: str) -> Any:
    """Return the module of a reference reader."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reference"))
    return __import__(name)


def passes_of(reading: Reading) -> int:
    """Return how often an epoch goes over the files."""
    return getattr(reading, "passes", 1)


def global_batch(spec: WorkerSpec) -> int:
    return spec.batch_size * spec.accelerators


# Of each data set the ways to read it; the second is the reference's own, which others are held
# against, beside the first. Those named tf need TensorFlow.
WAYS: dict[str, dict[str, Way]] = {
    "imseg": {
        PLAIN: plain,
        "np.load": volumes,
        "ours, --buffer reuse": npy(reuse=True),
        "ours, --buffer fresh": npy(reuse=False),
    },
    "bert": {
        PLAIN: plain,
        "tf.data, unparsed": tf_data(parse=False),
        "tf.data": tf_data(parse=True),
        "ours, native": ours,
        "ours, tfdata": ours,
    },
    "dlrm-bin": {PLAIN: plain, "Python's files": rows, "ours": ours},
    "dlrm-npz": {PLAIN: plain, "np.load": days, "ours": ours},
    "dlrm-text": {PLAIN: plain, "Python's lines": lines, "ours": ours},
}


def main(spec_path: str, name: str, way: str, passes: int) -> None:
    """Read, and print."""
    spec = WorkerSpec.read(Path(spec_path))
    reading = plan(spec, read_manifest(Path(spec.data_dir)))
    files = [file for file in reading.files if file.role == "train"]
    loop = WAYS[name][way](spec, reading, files, passes)
    taken, samples = [], 0
    for _ in range(passes):
        start_s = time.process_time()
        samples = loop()
        taken.append(time.process_time() - start_s)
    # Not ru_maxrss, which a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    peak_bytes = int(status.split("VmHWM:")[1].split()[0]) * 1024
    print(json.dumps([min(taken), peak_bytes, samples]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
