"""How much of an epoch memory answers, over a series of limits, beside the formula of LRU.

One rank reads small files in a new random order every epoch, in containers with memory limits.
The limit is what the rank needs and RATIO x the data, so that RATIO is memory/data. Asserts
nothing. Usage: python benchmarks/memory.py [--size 1GB] [--repeats 3] [--epochs 8]
[--directory DIR]
"""

import argparse
import math
import os
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from commands import harness, result_of

from dsgen.size import format_size, parse_size

RATIOS = (0.25, 0.5, 0.75, 0.9)
# Epochs until memory has found its balance: the first fills it, the next two sort it.
SETTLING_EPOCHS = 3
_SHAPE = (1, 96, 96, 96)  # 3.5 MB, its label 0.9; smaller ones are mostly time for crops
_PROFILE = """
[profiles.imseg.instant]
device = "none"
source = "made up for this benchmark, which has nothing to compute"
unit = "s"
reference_batch = 8
accelerators = [1, 1]
batch_size = [8, 8]
mean_s = 1e-6
sd_s = 0.0
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hits:
    """Share of the bytes that memory answered at one ratio: `runs` has a run's settled epochs."""

    ratio: float
    runs: list[list[float]]

    @property
    def means(self) -> list[float]:
        """The mean of each run."""
        return [statistics.fmean(run) for run in self.runs]

    @property
    def mean(self) -> float:
        """Over all runs."""
        return statistics.fmean(self.means)

    @property
    def spread(self) -> float:
        """Between the runs: the largest mean minus the smallest."""
        return max(self.means) - min(self.means)

    def text(self) -> str:
        """Return one line."""
        epochs = [hit for run in self.runs for hit in run]
        return (
            f"memory/data {self.ratio:.2f}: hit rate {self.mean:.3f} (runs "
            f"{min(self.means):.3f} to {max(self.means):.3f}, epochs {min(epochs):.3f} to "
            f"{max(epochs):.3f}), LRU {lru_hits(self.ratio):.3f}"
        )


def lru_hits(ratio: float) -> float:
    """Return the hits of LRU when each epoch is a new random permutation of all data.

    With e = 1 - ratio it is 1 - e + e ln e. A file is found when fewer bytes than memory holds
    were read since; Linux keeps more of what was read twice, so this is a lower bound.
    """
    missing = 1 - ratio
    return 1 - missing + (missing * math.log(missing) if missing > 0 else 0)


def write_files(directory: Path, size_bytes: int) -> None:
    """Write pairs of small files, each of other bytes, and flush them."""
    directory.mkdir(parents=True)
    generator = np.random.Generator(np.random.PCG64(1))
    pairs = max(8, size_bytes // (5 * math.prod(_SHAPE)))
    for number in range(pairs):
        for name, kind in (("x", np.float32), ("y", np.uint8)):
            path = directory / f"case_{number:05d}_{name}.npy"
            with path.open("wb") as stream:
                np.save(stream, generator.integers(0, 2, _SHAPE, np.uint8).astype(kind))
                os.fsync(stream.fileno())


def train(directory: Path, *words: object) -> dict[str, Any]:
    """Run one training of the files and return its result."""
    done = harness(
        *("train", "imseg", "--engine", "docker", "--data", directory / "files"),
        *("--results", directory / "results", "--config", directory / "instant.toml"),
        *("--profile", "instant", "--accelerators", 1, "--batch-size", 8, "--loader-workers", 0),
        *("--cache", "once", "--eval-from", 0, "--checkpoint", "none"),
        *("--ceiling", "false", *words),
    )
    if done.returncode:
        raise SystemExit(done.stderr.splitlines()[-1])
    return result_of(done)


def hits_of(result: dict[str, Any]) -> list[float]:
    """Return the hit rate of each settled epoch."""
    return [
        epoch["bytes"]["page_cache"] / epoch["bytes"]["returned"]
        for epoch in result["epochs"][SETTLING_EPOCHS:]
    ]


def measure(
    directory: Path, *, size_bytes: int, repeats: int, epochs: int, ratios: Sequence[float] = RATIOS
) -> list[Hits]:
    """Return the hit rates at each ratio; everything that was written is removed."""
    shutil.rmtree(directory, ignore_errors=True)
    try:
        write_files(directory / "files", size_bytes)
        (directory / "instant.toml").write_text(_PROFILE)
        # What is recorded of the epochs is a part of the need.
        memory = train(directory, "--epochs", epochs)["memory"]
        measured = []
        for ratio in ratios:
            limit = memory["need_bytes"] + round(ratio * memory["data_bytes"])
            words = ("--epochs", epochs, "--memory", limit)
            results = [train(directory, *words, "--seed", 1 + run) for run in range(repeats)]
            measured.append(Hits(ratio=ratio, runs=[hits_of(result) for result in results]))
        return measured
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=10**9)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--directory", type=Path, default=Path("data/memory"))
    options = parser.parse_args()
    series = measure(
        options.directory.absolute(),
        size_bytes=options.size,
        repeats=options.repeats,
        epochs=options.epochs,
    )
    print(f"{format_size(options.size)} of small files, one rank, random order:")
    for hits in series:
        print(f"  {hits.text()}", flush=True)


if __name__ == "__main__":
    main()
