"""Generation of every format, against raw writing by as many processes, or numpy's own.

Prints ratios of things measured in turn in one run, and medians of several; asserts nothing.
Needs fio. Usage: python benchmarks/generate.py [NAME ...] [--size SIZE] [--runs N]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from dsgen.size import format_size, parse_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """One measurement: seconds of wall time, and bytes written."""

    seconds: float
    bytes: int
    peak_process_bytes: int = 0

    @property
    def bytes_per_s(self) -> float:
        """Rate."""
        return self.bytes / self.seconds


# What can be measured -> the words after `dsgen generate`.
DATA_SETS = {
    "imseg": ["imseg"],
    "bert": ["bert"],
    "dlrm-text": ["dlrm", "--format", "text"],
    "dlrm-npz": ["dlrm", "--format", "npz"],
    "dlrm-bin": ["dlrm", "--format", "bin"],
}


def generated(directory: Path, name: str, size_bytes: int, processes: int) -> Timing:
    """Generate, and remove again."""
    timing = kept(directory / "generated", name, size_bytes, processes)
    shutil.rmtree(directory / "generated")
    return timing


def kept(target: Path, name: str, size_bytes: int, processes: int) -> Timing:
    """Generate, and leave it there."""
    start = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dsgen", "generate", *DATA_SETS[name]),
            *("--output", str(target), "--size", str(size_bytes)),
            *("--processes", str(processes), "--events"),
        ],
        check=True,
        stdout=subprocess.PIPE,
    )
    seconds = time.monotonic() - start
    last = [json.loads(line) for line in done.stdout.splitlines() if b'"progress"' in line][-1]
    return Timing(
        seconds=seconds, bytes=last["total_bytes"], peak_process_bytes=last["peak_process_bytes"]
    )


def written_by_fio(directory: Path, size_bytes: int, processes: int, *, direct: bool) -> Timing:
    """Write as many bytes by as many processes, flushed, and remove them again."""
    start = time.monotonic()
    subprocess.run(
        [
            *("fio", "--name=raw", f"--directory={directory}", "--rw=write", "--bs=4M"),
            *(f"--size={size_bytes // processes}", f"--numjobs={processes}", "--ioengine=psync"),
            *(f"--direct={int(direct)}", "--end_fsync=1", "--fallocate=none", "--output=/dev/null"),
        ],
        check=True,
    )
    seconds = time.monotonic() - start
    for path in directory.glob("raw.*"):
        path.unlink()
    return Timing(seconds=seconds, bytes=size_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Ratios to fio run by run, and rates; the first run of each is left out."""

    name: str
    processes: int
    buffered: list[float]
    direct: list[float]
    bytes_per_s: list[float]
    peak_process_bytes: int

    def text(self) -> str:
        """Return one line."""
        return (
            f"{self.name}, {self.processes} processes: {_spread(self.bytes_per_s, 1e-6)} MB/s, "
            f"{_spread(self.buffered)} of fio buffered, {_spread(self.direct)} of fio direct, "
            f"at most {self.peak_process_bytes / 1e6:.0f} MB a process"
        )


def measure(directory: Path, name: str, size_bytes: int, processes: int, runs: int) -> Measured:
    """Generate and write in turn, `runs` times after one that does not count."""
    directory.mkdir(parents=True, exist_ok=True)
    ratios: dict[bool, list[float]] = {False: [], True: []}
    rates: list[float] = []
    peak_bytes = 0
    for run in range(runs + 1):
        made = generated(directory, name, size_bytes, processes)
        peak_bytes = max(peak_bytes, made.peak_process_bytes)
        raw = {
            direct: written_by_fio(directory, made.bytes, processes, direct=direct)
            for direct in ratios
        }
        if run:
            rates.append(made.bytes_per_s)
            for direct, values in ratios.items():
                values.append(made.bytes_per_s / raw[direct].bytes_per_s)
    return Measured(
        name=name,
        processes=processes,
        buffered=ratios[False],
        direct=ratios[True],
        bytes_per_s=rates,
        peak_process_bytes=peak_bytes,
    )


def times_numpy(directory: Path, size_bytes: int, runs: int) -> list[float]:
    """Return how many times as fast as np.savez_compressed a process makes a day, run by run.

    Both are rated by the bytes of the arrays; ours makes the values as well.
    """
    ratios = []
    for run in range(runs + 1):
        target = directory / "generated"
        made = kept(target, "dlrm-npz", size_bytes, 1)
        rows = int(np.load(target / "day_day_count.npz")["total_per_file"].sum())
        with np.load(target / "day_0_reordered.npz") as day:
            arrays = dict(day)
        start = time.monotonic()
        np.savez_compressed(directory / "numpy.npz", **arrays)
        numpys = sum(array.nbytes for array in arrays.values()) / (time.monotonic() - start)
        (directory / "numpy.npz").unlink()
        shutil.rmtree(target)
        if run:
            ratios.append(rows * 40 * 8 / made.seconds / numpys)
    return ratios


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """How time grows with size: the slope of log(time) over log(size), with its 95 % interval."""

    name: str
    slope: float
    interval: float
    peak_process_bytes: list[int]  # by size

    def text(self) -> str:
        """Return one line."""
        peaks = ", ".join(f"{peak / 1e6:.0f}" for peak in self.peak_process_bytes)
        return f"{self.name}: slope {self.slope:.2f} +- {self.interval:.2f}, {peaks} MB a process"


def cost(directory: Path, name: str, sizes: list[int], processes: int) -> Cost:
    """Generate every size, those below 5 GB twice; the whole command is timed."""
    directory.mkdir(parents=True, exist_ok=True)
    points, peaks = [], []
    for size_bytes in sizes:
        count = 2 if size_bytes < 5 * 10**9 else 1
        runs = [generated(directory, name, size_bytes, processes) for _ in range(count)]
        points += [(run.bytes, run.seconds) for run in runs]
        peaks.append(max(run.peak_process_bytes for run in runs))
    size, seconds = np.log(np.array(points)).T
    fit = stats.linregress(size, seconds)
    interval = float(fit.stderr * stats.t.ppf(0.975, len(points) - 2))
    return Cost(name=name, slope=float(fit.slope), interval=interval, peak_process_bytes=peaks)


def _spread(values: list[float], scale: float = 1) -> str:
    """Return median, lowest and highest."""
    digits = 2 if scale == 1 else 0
    low, middle, high = (
        f"{value * scale:.{digits}f}"
        for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*DATA_SETS, []], default=[], metavar="NAME")
    parser.add_argument("--size", type=parse_size, default=parse_size("4GB"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark"))
    options = parser.parse_args()
    print(f"{format_size(options.size)} each, medians of {options.runs} (lowest to highest)")
    for name in options.names or DATA_SETS:
        for processes in (1, len(os.sched_getaffinity(0))):
            measured = measure(options.directory, name, options.size, processes, options.runs)
            print(measured.text(), flush=True)
    if not options.names or "dlrm-npz" in options.names:
        ratios = times_numpy(options.directory, options.size // 8, options.runs)
        print(f"dlrm-npz, 1 process: {_spread(ratios)} times np.savez_compressed")


if __name__ == "__main__":
    main()
