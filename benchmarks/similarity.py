"""How alike planned runs are over the original's sizes and over those of a generated data set.

For each seed the rows of a run are planned over a stand-in of the original, and over data sets of
the laws that are compared; no data is written or read. Printed: L of each law against the original
over all pairs of different seeds, the floor of the original against itself over the same pairs,
half the width of the jackknife's interval, and the components. Asserts nothing.

Usage: python benchmarks/similarity.py imseg --size 200GiB --laws kits19,uniform [--seeds 3]
       [--equal-counts] [--drawn-original] [--whole-original] [--min-files N] [--output FILE.json]

imseg also has laws that are no data set's, as controls: lognormal and normal, fitted to the sizes
of the original's cases, and constant, their mean. --equal-counts gives each data set as many files
of each role as the original has at this size, whatever size it has then itself. --drawn-original
takes the original's cases in an order of the seed, again and again where the size is larger: then
the floor says how alike two choices from the original are, where a size is no multiple of it.
--whole-original takes all of the original, whatever the size of the data sets, and --min-files is
what `generate bert` has by that name. imseg is planned as the published runs were (8 ranks, batch
4, 20 epochs, evaluation from 10 every 2), bert and dlrm as by default.
"""

import argparse
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from dsgen.described import unwritten
from dsgen.layout import Layout, PlannedFile
from dsgen.npy import HEADER_BYTES
from dsgen.seed import named_words, permutation
from dsgen.stand_ins import STAND_INS
from dsgen.workloads.imseg import Case, cases, originals, pair
from harness.analysis.recording import DataFile
from harness.config import Config, resolve
from harness.dataset import planned
from harness.flags import add_flags
from harness.plan.content import InLayout
from harness.plan.rows import plan_rows
from harness.similarity.digest import digest_of
from harness.similarity.pattern import Pattern, read_bytes
from harness.similarity.score import Side, score
from harness.similarity.series import Fidelity, compare_runs
from harness.training import worker_spec
from harness.worker.record import ROW
from harness.worker.workloads import plan

_PRESETS: Final = {"imseg": "published", "bert": "default", "dlrm": "default"}
# Nothing is there, and nothing will be.
_NOWHERE: Final = Path("/nowhere")
_DRAWN, _WHOLE = "drawn", "whole"
_LEAST_BYTES = 1_000_000  # where a normal law would have none, or less


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is compared: the workload, its size, and how many files and which of the original's."""

    workload: str
    size: str
    equal_counts: bool = False
    drawn_original: bool = False
    whole_original: bool = False
    min_files: int = 0


def config_of(wanted: Wanted, law: str, seed: int) -> Config:
    """Return the configuration of a planned run."""
    stand_in = STAND_INS[wanted.workload].wanted
    words = ["--preset", _PRESETS[wanted.workload], "--size", wanted.size, "--law", law]
    words += ["--min-files", str(wanted.min_files)] if wanted.min_files else []
    words += ["--seed", str(seed), "--checkpoint", "none", "--format", str(stand_in.format)]
    words += ["--data", str(_NOWHERE), "--results", str(_NOWHERE)]
    if wanted.workload != "bert":  # whose records are followed
        words += ["--entropy", "holes"]
    return resolved(wanted.workload, words)


def resolved(workload: str, words: Sequence[str]) -> Config:
    """Return the configuration that these flags ask for."""
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return resolve(workload, parser.parse_args(words), Path.cwd())


def control_shapes(law: str, seed: int) -> Iterator[tuple[int, int, int]]:
    """Yield shapes of which the sizes of pairs follow a law fitted to the original's."""
    random = np.random.Generator(named_words(f"imseg-{law}", seed))
    pairs_bytes = np.array(
        [sum(file.bytes for file in pair(case, first_index=0)) for case in originals()]
    )
    logarithms = np.log(pairs_bytes)
    while True:
        if law == "lognormal":
            size_bytes = np.exp(random.normal(logarithms.mean(), logarithms.std()))
        elif law == "normal":
            size_bytes = random.normal(pairs_bytes.mean(), pairs_bytes.std())
        else:
            size_bytes = pairs_bytes.mean()
        yield max(1, int(max(size_bytes, _LEAST_BYTES) - 2 * HEADER_BYTES) // 5), 1, 1


def drawn_cases(seed: int) -> Iterator[Case]:
    """Yield the original's cases in an order of the seed, then in others, all for training."""
    words = named_words("imseg-drawn", seed)
    for turn in itertools.count():
        for place in permutation(words, len(originals())):
            case = originals()[place]
            number = turn * len(originals()) + case.case
            yield replace(case, case=number, role="train" if turn else case.role)


def law_cases(law: str, seed: int) -> Iterator[Case]:
    """Yield the endless cases of a data set's law, of a control, or the original's in any order."""
    if law == _DRAWN:
        yield from drawn_cases(seed)
        return
    if law not in ("lognormal", "normal", "constant"):
        yield from cases(law, seed)
        return
    for case, shape in zip(cases("kits19", seed), control_shapes(law, seed), strict=False):
        yield replace(case, shape=shape)


def imseg_layout(law: str, seed: int, like: Layout, *, equal_counts: bool) -> Layout:
    """Return as many cases as reach the size of `like`, or as it has of each role."""
    files: list[PlannedFile] = []
    total_bytes = 0
    left = Counter(file.role for file in like.files if file.file_class == "x")
    for case in law_cases(law, seed):
        if equal_counts and not left[case.role]:
            continue
        left[case.role] -= 1
        both = pair(case, first_index=len(files))
        files += both
        total_bytes += sum(file.bytes for file in both)
        enough = total_bytes >= like.parameters.size_requested_bytes
        if not any(left.values()) if equal_counts else enough:
            break
    return Layout(parameters=like.parameters, files=tuple(files))


def first_files(layout: Layout, like: Layout) -> Layout:
    """Return the first files of a layout, as many of each role as `like` has."""
    left = Counter(file.role for file in like.files)
    files: list[PlannedFile] = []
    for file in layout.files:
        if left[file.role]:
            left[file.role] -= 1
            files.append(replace(file, index=len(files)))
    if left.total():
        what = f"law {layout.parameters.law} has fewer files than the stand-in at this size"
        raise SystemExit(f"{what}; leave it out of --laws, or --equal-counts")
    return replace(layout, files=tuple(files))


def planned_pattern(wanted: Wanted, law: str, seed: int) -> Pattern:
    """Plan a run and return its calls."""
    original = STAND_INS[wanted.workload].wanted.law
    if law == _WHOLE:
        law, size = str(original), f"{STAND_INS[wanted.workload].bytes}B"
        wanted = replace(wanted, size=size, min_files=0)
    config = config_of(wanted, str(original), seed)
    layout = planned(config)
    if wanted.drawn_original and law == original:
        layout = imseg_layout(_DRAWN, seed, layout, equal_counts=True)
    elif wanted.workload == "imseg" and law != original:
        layout = imseg_layout(law, seed, layout, equal_counts=wanted.equal_counts)
    elif law != original:
        config = config_of(wanted, law, seed)
        full = planned(config)
        layout = first_files(full, layout) if wanted.equal_counts else full
    spec = worker_spec(config, _NOWHERE, _NOWHERE)
    reading = plan(spec, unwritten(layout))
    rows = np.concatenate(list(plan_rows(spec, reading, InLayout(layout, _NOWHERE))))
    files = {
        file.id: DataFile(
            path=file.path,
            size_bytes=file.size_bytes,
            file_class=file.file_class,
            role=file.role,
        )
        for file in reading.files
    }
    counts = ", ".join(f"{layout.samples(role):,} {role}" for role in ("train", "eval"))
    print(
        f"  {law} seed {seed}: {layout.data_bytes:,} bytes, {len(layout.files)} files, {counts}, "
        f"{reading.steps_per_epoch} steps; {len(rows):,} calls read "
        f"{read_bytes(rows).sum():,} bytes",
        flush=True,
    )
    return Pattern(rows=rows, files=files, timed=False)


def planned_side(wanted: Wanted, law: str, seed: int) -> Side:
    """Plan a run and return its digest; its rows are let go."""
    pattern = planned_pattern(wanted, law, seed)
    digest = digest_of(pattern, labelled=True)
    return Side(pattern=replace(pattern, rows=np.empty(0, ROW)), digest=digest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a score takes: its time, and the most memory of the process meanwhile."""

    rows: int
    seconds: float
    peak_bytes: int


def score_cost(wanted: Wanted) -> Cost:
    """Return what a score of the original's runs of two seeds takes; `rows` is of each.

    Planned calls have no times; their places stand for them, so that T is computed, too.
    """
    law = str(STAND_INS[wanted.workload].wanted.law)
    patterns = [
        replace(planned_pattern(wanted, law, seed), timed=True, sparse=False, memory_bytes=1)
        for seed in (1, 2)
    ]
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of planning, is forgotten
    started_s = time.monotonic()
    found = score(*patterns)
    seconds = time.monotonic() - started_s
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    if found.L is None or found.T is None:
        raise RuntimeError(f"not all was compared: {found}")
    return Cost(
        rows=min(len(pattern.rows) for pattern in patterns),
        seconds=seconds,
        peak_bytes=int(status["VmHWM"].split()[0]) * 1024,
    )


def measure(wanted: Wanted, laws: Iterable[str], seeds: Sequence[int]) -> dict[str, Fidelity]:
    """Hold sets of each law against the original; without another law, that against itself."""
    original = _WHOLE if wanted.whole_original else str(STAND_INS[wanted.workload].wanted.law)
    sides = {
        law: [planned_side(wanted, law, seed) for seed in seeds]
        for law in dict.fromkeys([original, *laws])
    }
    others = [law for law in sides if law != original] or [original]
    return {law: compare_runs(sides[original], sides[law]) for law in others}


def show(law: str, found: Fidelity) -> None:
    """Print one comparison."""
    print(f"{law}: {found.statement}")
    floor = found.floor.components if found.floor else {}
    for name, value in found.components.items():
        print(f"  {name:14} {value:.4f}   floor {floor.get(name, float('nan')):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", choices=STAND_INS)
    parser.add_argument("--size", required=True)
    parser.add_argument("--laws", required=True, help="comma-separated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--equal-counts", action="store_true")
    parser.add_argument("--drawn-original", action="store_true")
    parser.add_argument("--whole-original", action="store_true")
    parser.add_argument("--min-files", type=int, default=0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.drawn_original and options.workload != "imseg":
        parser.error("--drawn-original is for imseg, whose cases are known one by one")
    if options.whole_original and (options.equal_counts or options.drawn_original):
        parser.error("--whole-original has no counts that a smaller set could have")
    wanted = Wanted(
        workload=options.workload,
        size=options.size,
        equal_counts=options.equal_counts or options.drawn_original,
        drawn_original=options.drawn_original,
        whole_original=options.whole_original,
        min_files=options.min_files,
    )
    started_s = time.monotonic()
    found = measure(wanted, options.laws.split(","), range(1, options.seeds + 1))
    for law, fidelity in found.items():
        show(law, fidelity)
    order = sorted(found, key=lambda law: -(found[law].L or 0))
    ranked = (f"{law} {found[law].L:.4f}" for law in order)
    print(" > ".join(ranked), f"({time.monotonic() - started_s:.0f} s)")
    if options.output:
        facts = {law: msgspec.to_builtins(fidelity) for law, fidelity in found.items()}
        options.output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
