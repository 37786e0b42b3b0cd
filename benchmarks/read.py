"""CPU seconds per GB and peak memory of reading cached data sets: every loader beside plain loops.

Each way of `loaders.py` reads the same files in a process of its own, round after round; of several
passes the cheapest counts, for what disturbs only ever adds. Ratios are taken within a round and
come with a 95 % interval over the rounds. Asserts nothing.
Usage: python benchmarks/read.py [NAME ...] [--size 500MB] [--rounds 7] [--directory DIR]
    [--tensorflow COMMAND]  runs Python with TensorFlow and this repository; else its ways are left
    out
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from loaders import PLAIN, WAYS, passes_of
from scipy import stats

from dsgen.choices import Wanted
from dsgen.manifest import read_manifest
from dsgen.size import parse_size
from dsgen.workloads import plan
from dsgen.write import generate
from harness.config import build_config
from harness.document import find_builtin, read_document
from harness.training import worker_spec
from harness.worker.spec import WorkerSpec
from harness.worker.workloads import plan as plan_reading

_PASSES = 3
_LOADERS = Path(__file__).with_name("loaders.py")
_ROOT = _LOADERS.parents[1]
# What the data set shall be beside its size.
_WANTED = {
    "imseg": Wanted(law="kits19"),
    "bert": Wanted(min_files=64),
    "dlrm-bin": Wanted(format="bin"),
    "dlrm-npz": Wanted(format="npz"),
    "dlrm-text": Wanted(format="text"),
}
# Where each rank reads, one alone does, and small steps leave out least.
_ALONE = {"imseg": {"accelerators": 1, "batch_size": 1}, "bert": {"accelerators": 1}}


@dataclass(frozen=True, slots=True)
class Taken:
    """What the rounds of a way took."""

    cpu_s_per_gb: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Compared:
    """A ratio of CPU seconds, with its 95 % interval over rounds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def compared(ours: list[float], theirs: list[float]) -> Compared:
    """Return the geometric mean of the rounds' ratios and Student's interval of it."""
    logarithms = np.log(np.array(ours) / np.array(theirs))
    half = stats.t.ppf(0.975, len(logarithms) - 1) * stats.sem(logarithms)
    middle = logarithms.mean()
    return Compared(*(float(np.exp(middle + part)) for part in (0, -half, half)))


def prepared(directory: Path, name: str, size_bytes: int) -> WorkerSpec:
    """Make the data set `name`, or find it made; return the spec of a training over it."""
    workload = name.split("-")[0]
    data = directory / name
    layout = plan(workload, size_bytes=size_bytes, seed=1, wanted=_WANTED[name])
    generate(layout, data, processes=2, emit=lambda _: None)
    config = build_config(workload, read_document(find_builtin(directory)), cwd=directory)
    config = msgspec.structs.replace(
        config,
        epochs=1,
        steps=0,
        eval_from=0,
        loader_workers=0,
        checkpoint=None,
        **_ALONE.get(workload, {}),
    )
    return worker_spec(config, data, directory / "out")


def measure(
    directory: Path, name: str, *, size_bytes: int, rounds: int, tensorflow: str | None = None
) -> dict[str, Taken]:
    """Read a data set in every way, print its part of the table, and return what was taken."""
    spec = prepared(directory, name, size_bytes)
    reading = plan_reading(spec, read_manifest(Path(spec.data_dir)))
    files = [file for file in reading.files if file.role == "train"]
    read_gb = sum(file.size_bytes for file in files) * passes_of(reading) / 1e9
    places = {}
    for loader in ("native", "tfdata"):
        changed = msgspec.json.decode(spec.to_json()) | {"loader": loader}
        changed["loader_workers"] = int(loader == "tfdata")
        places[loader] = directory / f"{name}-{loader}.json"
        places[loader].write_text(json.dumps(changed))
    taken = {way: Taken() for way in WAYS[name] if tensorflow or "tf" not in way}
    for number in range(rounds):
        # In turn from either end, so that no way always follows the same one.
        for way in list(taken)[:: 1 - 2 * (number % 2)]:
            python = shlex.split(tensorflow or "") if "tf" in way else [sys.executable]
            place = places["tfdata" if way.endswith("tfdata") else "native"]
            seconds, peak_bytes, samples = in_a_process_of_its_own(
                [*python, str(_LOADERS), str(place), name, way, str(_PASSES)]
            )
            check(way, samples, reading.epoch_samples * passes_of(reading))
            taken[way].cpu_s_per_gb.append(seconds / read_gb)
            taken[way].peak_bytes.append(peak_bytes)
    print_part(name, taken)
    return taken


def in_a_process_of_its_own(command: list[str]) -> tuple[float, int, int]:
    """Return what the command prints: CPU seconds, peak memory in bytes, and samples."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    seconds, peak_bytes, samples = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), int(peak_bytes), int(samples)


def check(way: str, came: int, expected: int) -> None:
    """Compare the samples that came with those of an epoch, of which a batch may be left over."""
    if came and abs(came - expected) > 0.01 * expected:
        raise SystemExit(f"{way} read {came:,} samples of {expected:,}")


def print_part(name: str, taken: dict[str, Taken]) -> None:
    """Print a line for each way: medians, ranges, and ratios to the plain loop and reference."""
    references = [PLAIN, *(way for way in list(WAYS[name])[1:2] if way in taken)]
    for way, one in taken.items():
        costs = one.cpu_s_per_gb
        ratios = [
            f"{compared(costs, taken[other].cpu_s_per_gb)} of {other}" for other in references
        ]
        print(
            f"{name:9}  {way:20}  {statistics.median(costs):6.3f} CPU s/GB ({min(costs):.3f} to "
            f"{max(costs):.3f})  {statistics.median(one.peak_bytes) / 1e6:5.0f} MB  "
            f"{', '.join(ratios)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*WAYS, []], default=[], metavar="NAME")
    parser.add_argument("--size", type=parse_size, default=parse_size("500MB"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-read"))
    parser.add_argument("--tensorflow", metavar="COMMAND")
    options = parser.parse_args()
    directory = options.directory.absolute()
    for name in options.names or WAYS:
        measure(
            directory,
            name,
            size_bytes=options.size,
            rounds=options.rounds,
            tensorflow=options.tensorflow,
        )


if __name__ == "__main__":
    main()
