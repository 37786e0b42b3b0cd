"""Generation against raw sequential writing of as many bytes by as many processes, both flushed.

Prints ratios of things measured in turn in one run, and medians of several; asserts nothing.
Needs fio. Usage: python benchmarks/generate.py [--size 16GB] [--runs 3] [--directory DIR]
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


def generated(directory: Path, workload: str, size_bytes: int, processes: int) -> Timing:
    target = directory / "generated"
    start = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dsgen", "generate", workload, "--output", str(target)),
            *("--size", str(size_bytes), "--processes", str(processes), "--events"),
        ],
        check=True,
        stdout=subprocess.PIPE,
    )
    seconds = time.monotonic() - start
    last = [json.loads(line) for line in done.stdout.splitlines() if b'"progress"' in line][-1]
    shutil.rmtree(target)
    peak = last["peak_process_bytes"]
    return Timing(seconds=seconds, bytes=last["total_bytes"], peak_process_bytes=peak)


def written_by_fio(directory: Path, size_bytes: int, processes: int, *, direct: bool) -> Timing:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default="imseg")
    parser.add_argument("--size", type=parse_size, default=parse_size("16GB"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark"))
    options = parser.parse_args()
    measure(
        options.directory,
        workload=options.workload,
        size_bytes=options.size,
        processes=options.processes,
        runs=options.runs,
    )


def measure(
    directory: Path, *, workload: str, size_bytes: int, processes: int, runs: int
) -> tuple[float, int]:
    """Print each run, and return the median ratio to buffered fio and the peak of a process."""
    directory.mkdir(parents=True, exist_ok=True)
    ratios: dict[str, list[float]] = {"buffered": [], "direct": []}
    peak_bytes = 0
    for run in range(runs + 1):
        made = generated(directory, workload, size_bytes, processes)
        peak_bytes = max(peak_bytes, made.peak_process_bytes)
        for kind, values in ratios.items():
            raw = written_by_fio(directory, made.bytes, processes, direct=kind == "direct")
            note = " (warm-up, not counted)"
            if run:
                values.append(made.bytes_per_s / raw.bytes_per_s)
                note = ""
            print(
                f"{workload}: generated {format_size(made.bytes)} in {made.seconds:.2f} s "
                f"({made.bytes_per_s / 1e9:.2f} GB/s, {made.peak_process_bytes / 1e6:.0f} MB a "
                f"process), fio {kind} {raw.seconds:.2f} s ({raw.bytes_per_s / 1e9:.2f} GB/s), "
                f"ratio {made.bytes_per_s / raw.bytes_per_s:.2f}{note}",
                flush=True,
            )
    for kind, values in ratios.items():
        print(
            f"{workload}: {statistics.median(values):.2f} of fio {kind} "
            f"({min(values):.2f} to {max(values):.2f}, {len(values)} runs, "
            f"{processes} processes)"
        )
    return statistics.median(ratios["buffered"]), peak_bytes


if __name__ == "__main__":
    main()
