"""Whether `compare` can be trusted on this machine: groups of runs over a storage of known speed.

Several groups of repeats read through the same throttle of their containers; every pair of them is
compared, and none should be told apart. Then one group reads through a throttle 3 % slower, and is
to be found slower than each. Needs a Docker engine and a block device. Prints what was found,
asserts nothing. Usage: python benchmarks/compare.py [--groups N] [--repeat N] [--rate SIZE]
[--less SHARE] [--directory DIR]
"""

import argparse
import contextlib
import io
import itertools
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsgen.size import format_size, parse_size
from harness.commands import main as harness
from harness.compare.command import share_argument
from harness.config import resolve
from harness.dataset import DataSet, data_set_directory
from harness.engine.choose import choose_engine
from harness.flags import add_flags
from harness.progress import Progress
from harness.repeats import train_repeatedly
from harness.run import generate
from harness.setting import Setting
from harness.system import system_facts
from harness.target import inspect_target

# Six cases to train on, 0.4 GB: an epoch takes seconds at the rates that are planted.
_RUN = (
    *("--preset", "smoke", "--size", "500MB", "--accelerators", "2", "--epochs", "1"),
    *("--eval-from", "0", "--checkpoint", "none", "--loader-workers", "1", "--engine", "docker"),
    *("--ceiling", "false"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What comparisons said.

    Args:
        pairs: of groups that read at the same rate.
        flagged: those of which any metric was called faster or slower.
        slower: groups than which the slower one was called slower, in bandwidth.
        groups: how many there are.
        ratios: of bandwidth, of every pair.
        less_ratios: of bandwidth, of the slower group over each.
        scatter: of bandwidth, the largest standard deviation within a group.
    """

    pairs: int
    flagged: list[str]
    slower: int
    groups: int
    ratios: list[float]
    less_ratios: list[float]
    scatter: float

    def text(self) -> str:
        """Return one line."""
        flagged = f" ({'; '.join(self.flagged)})" if self.flagged else ""
        return (
            f"{len(self.flagged)} of {self.pairs} pairs told apart{flagged}, bandwidth ratios "
            f"{min(self.ratios):.4f} to {max(self.ratios):.4f}, sd within a group up to "
            f"{self.scatter:.2%}; the slower one found {self.slower} of {self.groups} times, "
            f"ratios {min(self.less_ratios):.4f} to {max(self.less_ratios):.4f}"
        )


def train(directory: Path, results: Path, bytes_per_s: int, repeat: int) -> Path:
    """Make one group of runs, and return the directory of its results."""
    parser = argparse.ArgumentParser()
    add_flags(parser)
    words = ["--data", str(directory / "data"), "--results", str(results)]
    options = parser.parse_args([*_RUN, *words, "--repeat", str(repeat)])
    config = resolve("imseg", options, Path.cwd())
    target = inspect_target(config.data)
    if target.device is None:
        raise SystemExit(f"{config.data} is on no block device")
    engine = choose_engine("docker")
    data = DataSet(directory=data_set_directory(config))
    with Progress(sys.stderr, is_terminal=False) as progress:
        engine.prepare(progress.say)
        setting = Setting(
            config=config,
            target=target,
            system=system_facts(),
            engine=engine,
            progress=progress,
            command=("benchmarks/compare.py",),
            read_limits={target.device: bytes_per_s},
        )
        generate(setting, data.directory)
        with contextlib.redirect_stdout(io.StringIO()):
            train_repeatedly(setting, data)
    return results


def compared(a: Path, b: Path, output: Path) -> dict[str, dict[str, Any]]:
    """Return the metrics of a comparison by their names."""
    words = ["compare", str(a), str(b), "--format", "json", "--output", str(output)]
    with contextlib.redirect_stdout(io.StringIO()):
        code = harness(words)
    if code:
        raise SystemExit(f"{a} and {b} were not compared: exit code {code}")
    return {metric["name"]: metric for metric in json.loads(output.read_text())["metrics"]}


def measure(directory: Path, *, groups: int, repeat: int, bytes_per_s: int, less: float) -> Found:
    """Make the groups, those that `directory` has already left as they are, and compare them."""
    rates = [bytes_per_s] * groups + [round(bytes_per_s * (1 - less))]
    made = []
    for number, rate in enumerate(rates, start=1):
        results = directory / f"group-{number}-{repeat}-at-{rate}"
        left = [json.loads(path.read_text()) for path in results.glob("imseg/*/group.json")]
        if not any(len(group["runs"]) == repeat for group in left):
            shutil.rmtree(results, ignore_errors=True)
            train(directory, results, rate, repeat)
        made.append(results)
    equal, slow = made[:-1], made[-1]
    output = directory / "comparison.json"
    flagged, ratios, scatters = [], [], []
    for a, b in itertools.combinations(equal, 2):
        metrics = compared(a, b, output)
        ratios.append(metrics["bandwidth"]["ratio"]["value"])
        scatters += [metrics["bandwidth"][side]["scatter"] for side in ("a", "b")]
        words = [
            f"{name} {m['word']}"
            for name, m in metrics.items()
            if m["word"] in ("faster", "slower")
        ]
        if words:
            flagged.append(f"{a.name}, {b.name}: {', '.join(words)}")
    found = [compared(a, slow, output)["bandwidth"] for a in equal]
    return Found(
        pairs=len(ratios),
        flagged=flagged,
        slower=sum(metric["word"] == "slower" for metric in found),
        groups=groups,
        ratios=ratios,
        less_ratios=[metric["ratio"]["value"] for metric in found],
        scatter=max(scatters),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=6)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rate", type=parse_size, default=parse_size("30MB"))
    parser.add_argument("--less", type=share_argument, default=0.03)
    parser.add_argument("--directory", type=Path, default=Path("data/benchmark-compare"))
    options = parser.parse_args()
    found = measure(
        options.directory.absolute(),
        groups=options.groups,
        repeat=options.repeat,
        bytes_per_s=options.rate,
        less=options.less,
    )
    print(f"{options.repeat} runs a group at {format_size(options.rate)}/s: {found.text()}")


if __name__ == "__main__":
    main()
