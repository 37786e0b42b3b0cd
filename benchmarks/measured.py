"""imseg over the original's sizes and over generated ones, measured: L, and T within one regime.

The original's stand-in is laid out once, whole. For each seed our ranks train over a `kits19` set
and over as many cases of the stand-in, drawn by the seed, as the set has of each role: 16 GiB are
less than the original, and two choices from it differ as two generated sets do. --reference lets a
reference reader on torch read the drawn cases too, under strace, so that all three numbers are
there. Recordings stay in --directory, data does not. Needs a Docker engine, and 55 GB of disk.

Usage: python benchmarks/measured.py cold|warm [--reference] [--seeds 3] [--directory DIR]
"""

import argparse
import os
import secrets
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from commands import harness
from similarity import drawn_cases

from dsgen.manifest import MANIFEST_NAME
from dsgen.size import parse_size
from dsgen.workloads.imseg import Case, cases, pair
from harness.engine.base_image import ensure_base_image
from harness.engine.client import connect
from tests.container.traced import READERS, run_traced, traced_image

_EPOCHS = 4
_REFERENCE_LIMIT_S = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """What is trained: of this size, by these ranks, with this cache and memory."""

    size: str
    ranks: int
    batch_size: int
    cache: str
    memory: str

    def train(self, verb: str, data: Path, results: Path, seed: int, *words: object) -> Path:
        """Train over `data`, and return the directory of the result."""
        done = harness(
            *(verb, "imseg", "--data", data, "--results", results, "--seed", seed),
            *("--accelerators", self.ranks, "--batch-size", self.batch_size),
            *("--epochs", _EPOCHS, "--eval-from", _EPOCHS, "--loader-workers", 0),
            *("--cache", self.cache, "--memory", self.memory, "--profile", "v100"),
            *("--ceiling", "false", "--checkpoint", "none", "--engine", "docker"),
            *words,
        )
        return Path(checked(done).splitlines()[-1]).parent


# Of 16 GiB half stays in memory beside what eight ranks need; of 8 GB all does.
REGIMES = {
    "cold": Regime(size="16GiB", ranks=8, batch_size=4, cache="cold", memory="10GB"),
    "warm": Regime(size="8GB", ranks=2, batch_size=2, cache="warm", memory="none"),
}


def drawn(size: str, seed: int) -> list[Case]:
    """Return cases of the original: as many of each role as a set of `kits19` of this size has."""
    left: Counter[str] = Counter()
    size_bytes = parse_size(size)
    for case in cases("kits19", seed):
        left[case.role] += 1
        size_bytes -= sum(file.bytes for file in pair(case, first_index=0))
        if size_bytes <= 0:
            break
    found = []
    for case in drawn_cases(seed):
        if left[case.role]:
            left[case.role] -= 1
            found.append(case)
    return found


def link(stand_in: Path, found: list[Case], directory: Path) -> None:
    """Make a directory of these cases alone, of the same files."""
    directory.mkdir()
    for case in found:
        for file in pair(case, first_index=0):
            os.link(stand_in / file.path, directory / file.path)


def reference(directory: Path, data: Path, found: list[Case], regime: Regime, seed: int) -> Path:
    """Let the reference read the cases below `data`, and return the imported trace."""
    client = connect()
    base_id = ensure_base_image(client, None, print)
    image = traced_image(client, base_id, "strace python3-torch")
    files = [file for case in found if case.role == "eval" for file in pair(case, first_index=0)]
    own = directory / f"traced-{seed}"
    (own / "marks").mkdir(parents=True)
    numbers = {file.path.split("_")[1] for file in files}
    (own / "evaluated").write_text("\n".join(numbers))
    run_traced(
        client,
        image,
        (
            *("/usr/bin/python3", READERS / "imseg.py", "--data", data),
            *("--ranks", regime.ranks, "--batch-size", regime.batch_size),
            *("--epochs", _EPOCHS, "--eval-from", _EPOCHS, "--seed", seed),
            *("--evaluation-cases", own / "evaluated", "--marks", own / "marks"),
        ),
        directory=directory,
        run_id=f"measured-{secrets.token_hex(4)}",
        limit_s=_REFERENCE_LIMIT_S,
    )
    maps = [f"{file.path}={file.file_class}:eval" for file in files]
    maps += [f"case_*_{file_class}.npy={file_class}" for file_class in "xy"]
    flags = [word for one in maps for word in ("--map", one)]
    (log,) = directory.glob("*.log")
    output = directory / f"reference-{seed}"
    checked(harness("trace", "--import", log, *flags, "--output", output))
    log.unlink()
    return output


def checked(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed; end with what it said if it failed."""
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-measured"))
    options = parser.parse_args()
    directory, regime = options.directory.absolute(), REGIMES[options.regime]
    originals, generated, cases_ = (directory / name for name in ("originals", "data", "drawn"))
    checked(harness("originals", "imseg", "--data", originals))
    (manifest,) = originals.rglob(MANIFEST_NAME)
    runs: dict[str, list[Path]] = {"original": [], "generated": [], "reference": []}
    for seed in range(1, options.seeds + 1):
        found = drawn(regime.size, seed)
        link(manifest.parent, found, cases_)
        # What comes second may find another device: each is first in turn.
        for side in ("original", "generated") if seed % 2 else ("generated", "original"):
            results = directory / f"{options.regime}-{side}-{seed}"
            if side == "original":
                runs[side].append(regime.train("train", cases_, results, seed))
            else:
                words = ("--law", "kits19", "--size", regime.size)
                runs[side].append(regime.train("benchmark", generated, results, seed, *words))
                shutil.rmtree(generated)
            print(side, seed, runs[side][-1], flush=True)
        if options.reference:
            runs["reference"].append(reference(directory, cases_, found, regime, seed))
        shutil.rmtree(cases_)
    shutil.rmtree(originals)
    flags = [word for side, own in runs.items() for path in own for word in (f"--{side}", path)]
    output = directory / f"{options.regime}-similarity"
    print(checked(harness("similarity", "imseg", *flags, "--output", output)))


if __name__ == "__main__":
    main()
