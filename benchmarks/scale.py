"""Scaling by copies, against cp of the same bytes; and how its time grows with the files.

Prints ratios of things measured in turn in one run, and medians of several; asserts nothing.
Usage: python benchmarks/scale.py [NAME ...] [--size SIZE] [--runs N] [--cases N]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import generate
import numpy as np

from dsgen.directory import OWN_NAMES
from dsgen.manifest import read_manifest
from dsgen.size import format_size, parse_size

# The original's preprocessed volumes have about 150 MB a pair; these have 1.1 kB.
_SHAPE = (1, 4, 8, 5)
_REST_S = 10.0
_CACHED_BYTES = 6 * 1024  # of a tiny file: a page, its inode, its name
_TOUCH = """
import mmap, sys
mmap.mmap(-1, int(sys.argv[1]), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """Rates of ours over those of cp, run by run."""

    name: str
    ratios: list[float]
    bytes_per_s: list[float]

    def text(self) -> str:
        """Return one line."""
        rate = statistics.median(self.bytes_per_s) / 1e6
        return (
            f"{self.name}: {rate:.0f} MB/s, {statistics.median(self.ratios):.2f} of cp "
            f"({min(self.ratios):.2f} to {max(self.ratios):.2f})"
        )


def scaled(name: str, source: Path, output: Path, size_bytes: int, processes: int) -> float:
    """Scale, and return the seconds of the whole command."""
    workload = generate.DATA_SETS[name][0]
    start = time.monotonic()
    subprocess.run(
        [
            *(sys.executable, "-m", "dsgen", "scale", workload, "--input", str(source)),
            *("--output", str(output), "--size", str(size_bytes), "--processes", str(processes)),
        ],
        check=True,
        stdout=subprocess.PIPE,
    )
    return time.monotonic() - start


def against_cp(directory: Path, name: str, size_bytes: int, processes: int, runs: int) -> Copied:
    """Scale half of the bytes to all of them, and let cp make the same files; flushed, both.

    cp has the files of a scaled data set to copy, from the page cache as the input is. What a
    device was given before decides on its rate, for longer than a rest: each run is two of ours
    and two of cp, so that either comes once after itself and once after the other.
    """
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # Half for the input, and a fifth of the memory is others'.
    if size_bytes * 2.5 > memory_bytes * 0.8:
        raise SystemExit("memory does not hold input, model and copy: cp would be wronged")
    directory.mkdir(parents=True, exist_ok=True)
    source, model, written = directory / "input", directory / "model", directory / "written"
    generate.kept(source, name, size_bytes // 2, processes)
    for own in OWN_NAMES:
        (source / own).unlink(missing_ok=True)
    scaled(name, source, model, size_bytes, processes)
    manifest = read_manifest(model)
    total_bytes = manifest.data_bytes + manifest.sidecar_bytes
    paths = [model / file.path for file in manifest.files]
    _copied(paths, written)
    ratios, rates = [], []
    for _run in range(runs):
        ours_s = 0.0
        for _turn in range(2):
            _make_way(written, total_bytes)
            ours_s += scaled(name, source, written, size_bytes, processes)
        cp_s = _copied(paths, written) + _copied(paths, written)
        ratios.append(cp_s / ours_s)
        rates.append(2 * total_bytes / ours_s)
    for each in (source, model, written):
        shutil.rmtree(each)
    return Copied(name=name, ratios=ratios, bytes_per_s=rates)


def _copied(paths: Sequence[Path], directory: Path) -> float:
    """Return the seconds that cp takes for files that the page cache holds, and the flush."""
    # Direct writing left them out of it.
    subprocess.run(["cat", *map(str, paths)], stdout=subprocess.DEVNULL, check=True)
    _make_way(directory, sum(path.stat().st_size for path in paths))
    directory.mkdir()
    start = time.monotonic()
    subprocess.run(["cp", *map(str, paths), str(directory)], check=True)
    subprocess.run(["sync", "-f", str(directory)], check=True)
    return time.monotonic() - start


def _make_way(directory: Path, size_bytes: int) -> None:
    """Remove what a run before left, give the device a rest, and have as much memory at hand.

    A device that has nothing left to discard takes more: both ways shall find it as the other does.
    """
    if directory.exists():
        shutil.rmtree(directory)
    subprocess.run(["sync", "-f", str(directory.parent)], check=True)
    time.sleep(_REST_S)
    _have_memory(size_bytes)


def _have_memory(size_bytes: int) -> None:
    """Touch as much memory as what is written next will take in the page cache.

    A virtual machine may give memory that is free back to its host: who needs it waits for it, page
    by page (a cp of 4 GB took 12 s, and 4 to 5 s from then on).
    """
    subprocess.run([sys.executable, "-c", _TOUCH, str(size_bytes)], check=True)


def growth(directory: Path, cases: int, processes: int) -> tuple[float, float]:
    """Return the seconds that copying so many tiny cases takes, and ten times as many.

    Nothing is removed before both are measured: a file system is slow for some time after it has
    lost a million files.
    """
    if directory.exists():
        raise SystemExit(
            f"{directory} is left of a run that was killed; remove it and wait a while"
        )
    try:
        few, more = (
            _many(directory / str(count), count, processes) for count in (cases, 10 * cases)
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return few, more


def _many(directory: Path, cases: int, processes: int) -> float:
    """Return the seconds that copying so many tiny cases takes, two files each."""
    source, output = directory / "input", directory / "output"
    source.mkdir(parents=True)
    volume = np.zeros(_SHAPE, dtype="<f4")
    for number in range(cases):
        np.save(source / f"case_{number:05d}_x.npy", volume)
        np.save(source / f"case_{number:05d}_y.npy", volume.astype(np.uint8))
    os.sync()
    size_bytes = sum(entry.stat().st_size for entry in os.scandir(source))
    _have_memory(2 * cases * _CACHED_BYTES)
    return scaled("imseg", source, output, size_bytes, processes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*generate.DATA_SETS, []], default=[], metavar="NAME"
    )
    parser.add_argument("--size", type=parse_size, default=parse_size("4GB"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-scale"))
    options = parser.parse_args()
    processes = len(os.sched_getaffinity(0))
    print(f"{format_size(options.size)} each, medians of {options.runs} (lowest to highest)")
    for name in options.names or generate.DATA_SETS:
        one = against_cp(options.directory, name, options.size, processes, options.runs)
        print(one.text(), flush=True)
    few, more = growth(options.directory / "many", options.cases, processes)
    print(
        f"{2 * options.cases:,} files {few:.1f} s, ten times as many {more / few:.1f} times as long"
    )


if __name__ == "__main__":
    main()
