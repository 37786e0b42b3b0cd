"""imseg over the original's sizes and over generated ones, measured: L, and T within one regime.

The original's stand-in is laid out once, whole. For each seed our ranks train over the first cases
of `kits19`, and over as many of the stand-in of each role, drawn by the seed: 16 GiB are less than
the original, and two choices from it differ as two generated sets do. --reference lets a reference
reader on torch read the drawn cases too, under strace, so that all three numbers are there.
Recordings stay in --directory, data does not. Needs a Docker engine, and 55 GB of disk.

Usage: python benchmarks/measured.py cold|warm [--reference] [--seeds 4] [--directory DIR]
"""

import argparse
import itertools
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from commands import checked, compared, harness
from similarity import drawn_cases
from traced import Tracer

from dsgen.manifest import MANIFEST_NAME
from dsgen.workloads.imseg import Case, cases, originals, pair
from harness.engine.base_image import ensure_base_image
from harness.engine.client import connect
from harness.fidelity.run import said
from harness.similarity.document import Similarity
from tests.container.traced import READERS, traced_image

_EPOCHS = 4
_REFERENCE_LIMIT_S = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What is trained: so many cases, by these ranks, with this cache and memory."""

    cases: int
    ranks: int
    batch_size: int
    cache: str
    memory: str

    def train(self, data: Path, results: Path, seed: int) -> Path:
        """Train over `data`, and return the directory of the result."""
        done = harness(
            *("train", "imseg", "--data", data, "--results", results, "--seed", seed),
            *("--accelerators", self.ranks, "--batch-size", self.batch_size),
            *("--epochs", _EPOCHS, "--eval-from", _EPOCHS, "--loader-workers", 0),
            *("--cache", self.cache, "--memory", self.memory, "--profile", "v100"),
            *("--ceiling", "false", "--checkpoint", "none", "--engine", "docker"),
        )
        return Path(checked(done).splitlines()[-1]).parent


# As many cases as 16 GiB of the original are, which 10 GB do not hold beside what eight ranks need;
# and as 8 GB are, which this machine's memory holds twice.
REGIMES = {
    "cold": Training(cases=123, ranks=8, batch_size=4, cache="cold", memory="10GB"),
    "warm": Training(cases=55, ranks=2, batch_size=2, cache="warm", memory="none"),
}


def bytes_of(found: list[Case]) -> int:
    """Return what the files of these cases have."""
    return sum(file.bytes for case in found for file in pair(case, first_index=0))


def drawn(like: list[Case], seed: int) -> list[Case]:
    """Return cases of the original: as many of each role as these are."""
    left = Counter(case.role for case in like)
    found = []
    for case in drawn_cases(seed):
        if left[case.role]:
            left[case.role] -= 1
            found.append(case)
        if not left.total():
            break
    return found


def link(stand_in: Path, found: list[Case], directory: Path) -> None:
    """Make a directory of these cases alone, of the same files."""
    directory.mkdir()
    for case in found:
        for file in pair(case, first_index=0):
            os.link(stand_in / file.path, directory / file.path)


def reference(directory: Path, data: Path, found: list[Case], regime: Training, seed: int) -> Path:
    """Let the reference read the cases below `data`, and return the imported trace."""
    client = connect()
    base_id = ensure_base_image(client, None, print)
    image = traced_image(client, base_id, "strace python3-torch")
    files = [file for case in found if case.role == "eval" for file in pair(case, first_index=0)]
    own = directory / f"traced-{seed}"
    (own / "marks").mkdir(parents=True)
    numbers = {file.path.split("_")[1] for file in files}
    (own / "evaluated").write_text("\n".join(numbers))
    command = (
        *("/usr/bin/python3", READERS / "imseg.py", "--data", data),
        *("--ranks", regime.ranks, "--batch-size", regime.batch_size),
        *("--epochs", _EPOCHS, "--eval-from", _EPOCHS, "--seed", seed),
        *("--evaluation-cases", own / "evaluated", "--marks", own / "marks"),
    )
    maps = [f"{file.path}={file.file_class}:eval" for file in files]
    maps += [f"case_*_{file_class}.npy={file_class}" for file_class in "xy"]
    tracer = Tracer(client=client, image=image, directory=directory)
    return tracer.recorded(f"reference-{seed}", command, maps, limit_s=_REFERENCE_LIMIT_S)


def measure(directory: Path, regime: Training, seeds: int, *, traced: bool) -> Similarity:
    """Train over both sides for each seed, and return the numbers that can be had of them."""
    if regime.cases > len(originals()):
        raise SystemExit(f"{regime.cases} cases are more than the original has")
    if directory.exists():
        raise SystemExit(f"{directory} is of a run before; remove it, or name another --directory")
    places = {name: directory / "data" / name for name in ("stand-in", "original", "generated")}
    try:
        checked(harness("originals", "imseg", "--data", places["stand-in"]))
        (manifest,) = places["stand-in"].rglob(MANIFEST_NAME)
        runs: dict[str, list[Path]] = {"reference": [], "original": [], "generated": []}
        for seed in range(1, seeds + 1):
            generated = list(itertools.islice(cases("kits19", seed), regime.cases))
            words = ("--law", "kits19", "--size", bytes_of(generated), "--seed", seed)
            checked(harness("generate", "imseg", "--data", places["generated"], *words))
            chosen = drawn(generated, seed)
            link(manifest.parent, chosen, places["original"])
            # What comes second may find another device: each is first in turn.
            for side in ("original", "generated") if seed % 2 else ("generated", "original"):
                data = next(places[side].rglob("case_*_x.npy")).parent
                runs[side].append(regime.train(data, directory / f"{side}-{seed}", seed))
                print(side, seed, runs[side][-1], flush=True)
            shutil.rmtree(places["generated"])
            if traced:
                path = reference(directory, places["original"], chosen, regime, seed)
                runs["reference"].append(path)
            shutil.rmtree(places["original"])
    finally:
        shutil.rmtree(directory / "data", ignore_errors=True)
    return compared("imseg", runs, directory / "similarity")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-measured"))
    options = parser.parse_args()
    regime = REGIMES[options.regime]
    directory = options.directory.absolute()
    print(*said(measure(directory, regime, options.seeds, traced=options.reference)), sep="\n")


if __name__ == "__main__":
    main()
