"""CPU seconds per GB and peak memory of reading cached TFRecords: our reader beside tf.data.

Each way reads every record of the same files, interleaved and shuffled, without parsing them; the
plain loop only reads. Each is a process of its own, round after round; ratios are taken within a
round and come with a 95 % interval over the rounds. Asserts nothing.
Usage: python benchmarks/read_bert.py [--size 500MB] [--files 64] [--rounds 7] [--directory DIR]
    [--tensorflow PYTHON]   an interpreter that has TensorFlow; without one tf.data is left out
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dsgen.choices import Wanted
from dsgen.size import parse_size
from dsgen.workloads import plan
from dsgen.write import generate
from harness.worker.bert import BertReader, Stream
from harness.worker.buffers import touched
from harness.worker.io import DataCalls, TracedFile
from harness.worker.record import FileClass
from harness.worker.tfrecords import CHUNK_BYTES, Chunks, calls_of_file
from harness.worker.workload import Batch

_PASSES = 3
_BATCH = 6
# As the reference has it, but for the parsing of records.
_TF_DATA = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
passes, batch, paths = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
taken, records = [], 0
for _ in range(passes):
    files = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths))
    interleave = tf.data.experimental.parallel_interleave(
        tf.data.TFRecordDataset, cycle_length=8, sloppy=True
    )
    data = files.apply(interleave).shuffle(1000).batch(batch, drop_remainder=True)
    start = time.process_time()
    records = sum(batch for _ in data)
    taken.append(time.process_time() - start)
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps([min(taken), peak, records]))
"""


def plain_loop(files: list[TracedFile]) -> int:
    """Read by pread(2) into one buffer, which is the least that reading can cost."""
    calls = _calls(files)
    buffer = touched(CHUNK_BYTES)
    for file in files:
        descriptor, offset = calls.open(file), 0
        while got := calls.pread(
            descriptor, file, offset=offset, address=buffer.ctypes.data, size_bytes=CHUNK_BYTES
        ):
            offset += got
        calls.close(descriptor, file)
    return 0


def our_loop(files: list[TracedFile]) -> int:
    """Read batches until the records end, and return how many came."""
    stream = Stream(files=tuple(files), key=(1, 1, 0), repeats=False)
    slots: list[list[bytes]] = [[]]
    reader = BertReader(_calls(files), Chunks(reuse=True), slots)
    records = int(os.environ["RECORDS"]) // _BATCH * _BATCH
    batch = Batch(step=1, samples=(stream,) * _BATCH)
    for _ in range(records // _BATCH):
        reader.read(batch, 0)
    reader.end()
    return records


WAYS: dict[str, Callable[[list[TracedFile]], int]] = {"pread(2)": plain_loop, "ours": our_loop}


def _calls(files: list[TracedFile]) -> DataCalls:
    rows = sum(calls_of_file(file.size_bytes) for file in files)
    return DataCalls(rank=0, loader=0, rows=rows, marks=rows)


def measure_here(name: str, files: list[TracedFile]) -> None:
    """Print CPU seconds of the best pass, peak memory and records as JSON."""
    taken, records = [], 0
    for _ in range(_PASSES):
        start = time.process_time()
        records = WAYS[name](files)
        taken.append(time.process_time() - start)
    # Not ru_maxrss, which a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    print(json.dumps([min(taken), peak, records]))


def traced(directory: Path) -> list[TracedFile]:
    return [
        TracedFile(
            id=number,
            path=str(path),
            size_bytes=path.stat().st_size,
            file_class=FileClass.RECORD,
            role="train",
        )
        for number, path in enumerate(sorted(directory.glob("part-*")))
    ]


def in_a_process_of_its_own(command: list[str], records: int) -> tuple[float, int, int]:
    """Return what the command prints: CPU seconds, peak memory in bytes, and records."""
    environment = {**os.environ, "RECORDS": str(records)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    seconds, peak_bytes, came = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), int(peak_bytes), int(came)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=parse_size("500MB"))
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-read-bert"))
    parser.add_argument("--tensorflow", metavar="PYTHON")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure_here(options.way, traced(options.directory))
        return
    layout = plan("bert", size_bytes=options.size, seed=1, wanted=Wanted(min_files=options.files))
    generate(layout, options.directory, processes=2, emit=lambda _: None)
    compare(options.directory, layout.samples("train"), options.rounds, options.tensorflow)


def compare(directory: Path, records: int, rounds: int, tensorflow: str | None) -> None:
    # Only here: the readers shall not pay for scipy.
    from read import compared

    files = traced(directory)
    total_gb = sum(file.size_bytes for file in files) / 1e9
    place = ["--directory", str(directory)]
    commands = {name: [sys.executable, __file__, "--way", name, *place] for name in WAYS}
    if tensorflow:
        words = [str(_PASSES), str(_BATCH), *(file.path for file in files)]
        commands["tf.data"] = [tensorflow, "-c", _TF_DATA, *words]
    taken: dict[str, list[float]] = {name: [] for name in commands}
    peaks: dict[str, list[int]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            seconds, peak_bytes, came = in_a_process_of_its_own(command, records)
            if came not in (0, records // _BATCH * _BATCH):
                raise SystemExit(f"{name} read {came} records of {records}")
            taken[name].append(seconds / total_gb)
            peaks[name].append(peak_bytes)
    for name, values in taken.items():
        ratios = [
            f"{compared(values, taken[other])} of {other}" for other in taken if other != name
        ]
        print(
            f"bert: {name:8} {statistics.median(values):.3f} CPU s/GB ({min(values):.3f} to "
            f"{max(values):.3f}), peak {statistics.median(peaks[name]) / 1e6:.0f} MB, "
            f"{', '.join(ratios)}"
        )


if __name__ == "__main__":
    main()
