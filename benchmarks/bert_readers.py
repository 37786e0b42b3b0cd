"""bert with eight pipelines: the reference's reading, and ours by either loader, against its floor.

For each seed the reference reader (tf.data in eight processes), our native loader and our loader
`tfdata` train over the same files, for 2,400 steps as the published runs did, each in a container
under strace. Where the training computes they sleep, less than an accelerator would take, but long
enough for tf.data to have all of its files ready. The reference shuffles anew each time, so that
two runs of it differ as any two do.
Printed: L of each loader against the reference over pairs of different runs, and the floor of the
reference against itself. Needs a Docker engine.

Usage: python benchmarks/bert_readers.py [--seeds 3] [--steps 2400] [--directory DIR]
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from commands import checked, compared, harness
from similarity import resolved
from traced import Tracer

from dsgen.manifest import MANIFEST_NAME
from harness.engine.choose import choose_engine
from harness.engine.client import connect
from harness.fidelity.run import said
from harness.similarity.document import Similarity
from harness.training import worker_spec
from harness.worker.spec import StepTime, WorkerSpec
from tests.container.traced import READERS, traced_image

_RANKS = 8
_STEP_TIME = StepTime(mean_s=0.05, sd_s=0.0)  # of a V100: 1.08 s
_START_S = 240.0  # the most that all ranks take to import TensorFlow
_EVALUATIONS = 100  # of one record
# 24 files for each pipeline, of which none ends within some thousand steps.
_SET = ("--size", "5GB", "--min-files", "192")
_MAPS = ("part-*=record", "eval_10k=record:eval")
LOADERS = ("native", "tfdata")
# As many runs as an interval takes, of as many steps as the published ones.
_SEEDS, _STEPS = 3, 2400


def measure(directory: Path, seeds: int = _SEEDS, steps: int = _STEPS) -> dict[str, Similarity]:
    """Let all read, and return how each loader stands to the reference."""
    if directory.exists():
        raise SystemExit(f"{directory} is of a run before; remove it, or name another --directory")
    directory.mkdir(parents=True)
    engine = choose_engine("docker")
    engine.prepare(print)
    client = connect()
    image = traced_image(client, engine.facts()["image_id"], "strace")
    tracer = Tracer(client=client, image=image, directory=directory)
    limit_s = _START_S + 2 * steps * _STEP_TIME.mean_s
    runs: dict[str, list[Path]] = {side: [] for side in ("reference", *LOADERS)}
    try:
        checked(harness("generate", "bert", "--data", directory / "data", *_SET))
        (manifest,) = (directory / "data").rglob(MANIFEST_NAME)
        # Or whoever reads first would be the only one that waits for the device.
        for path in manifest.parent.iterdir():
            path.read_bytes()
        for seed in range(1, seeds + 1):
            turn = seed % len(runs)
            for side in [*runs, *runs][turn : turn + len(runs)]:
                command = _command(side, directory, manifest.parent, seed, steps)
                path = tracer.recorded(
                    f"{side}-{seed}", command, _MAPS, "--readers", "process", limit_s=limit_s
                )
                runs[side].append(path)
    finally:
        shutil.rmtree(directory / "data", ignore_errors=True)
    return {
        loader: compared(
            "bert",
            {"reference": runs["reference"], "original": runs[loader]},
            directory / f"similarity-{loader}",
        )
        for loader in LOADERS
    }


def _command(side: str, directory: Path, data: Path, seed: int, steps: int) -> Sequence[object]:
    """Return the words of a reader."""
    spec = _spec(side, data, directory / f"out-{side}-{seed}", seed, steps)
    if side not in LOADERS:
        return (
            *("python", READERS / "bert.py", "--data", data, "--ranks", _RANKS, "--steps", steps),
            *("--batch-size", spec.batch_size, "--step-s", _STEP_TIME.mean_s),
            *("--eval-steps", _EVALUATIONS),
        )
    path = directory / f"{side}-{seed}.json"
    path.write_text(spec.to_json())
    return ("python", "-m", "harness.worker", path)


def _spec(side: str, data: Path, out: Path, seed: int, steps: int) -> WorkerSpec:
    words = ["--loader", side if side in LOADERS else LOADERS[0], "--seed", str(seed)]
    words += ["--steps", str(steps), "--epochs", "1", "--accelerators", str(_RANKS)]
    words += ["--checkpoint", "none", "--cache", "asis"]
    words += ["--data", str(data), "--results", str(out), *_SET]
    return replace(worker_spec(resolved("bert", words), data, out), step_time=_STEP_TIME)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=_SEEDS)
    parser.add_argument("--steps", type=int, default=_STEPS)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-bert-readers"))
    options = parser.parse_args()
    found = measure(options.directory.absolute(), options.seeds, options.steps)
    for loader, document in found.items():
        print(loader, *said(document), sep="\n")


if __name__ == "__main__":
    main()
