"""Acceptance: every promise that needs a machine to itself, PASS or FAIL with its figure.

Laws that hold anywhere are tests; where a promise is one, its tests are run from here, too. Needs
fio, a Docker engine, 24 GB of memory and 60 GB of disk.

Usage: python benchmarks/accept.py [NAME ...] [--directory DIR]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compare
import crew
import fidelity
import generate
import interrupt
import memory
import read
import scale
from commands import ROOT, Outcome, harness, result_of

from dsgen.errors import ExitCode
from dsgen.workloads import WORKLOADS
from harness.worker.accelerators.emulated import Emulated
from harness.worker.recording.clock import set_timer_slack
from harness.worker.spec import StepTime


def tests(*names: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CI": "true"},
    )
    return done.returncode == 0, done.stdout.splitlines()[-1]


def generation(directory: Path) -> Outcome:
    """Generate 16 GB at 0.8 or more of fio, under 300 MB a process."""
    measured = generate.measure(directory / "generate", "imseg", 16 * 10**9, 2, 3)
    ratio, peak = statistics.median(measured.buffered), measured.peak_process_bytes
    return ratio >= 0.8 and peak < 300e6, f"{measured.text()} (0.8 of fio, under 300 MB)"


def rates(directory: Path) -> Outcome:
    """Every format's rate: against fio, in MB/s, or against numpy, one and two processes."""
    place, size_bytes, failed, texts = directory / "rates", 4 * 10**9, [], []

    def check(name: str, processes: int, good: Callable[[generate.Measured], bool]) -> None:
        measured = generate.measure(place, name, size_bytes, processes, 5)
        texts.append(measured.text())
        if not good(measured):
            failed.append(f"{name} with {processes}")

    def above(mb_per_s: float) -> Callable[[generate.Measured], bool]:
        return lambda measured: statistics.median(measured.bytes_per_s) >= mb_per_s * 1e6

    for name in ("imseg", "dlrm-bin"):
        check(name, 2, lambda measured: statistics.median(measured.buffered) >= 0.8)
    check("bert", 1, above(250))
    check("bert", 2, above(400))
    check("dlrm-text", 1, above(150))
    numpys = generate.times_numpy(place, 5 * 10**8, 5)
    texts.append(f"dlrm-npz {statistics.median(numpys):.1f} times np.savez_compressed (10)")
    if statistics.median(numpys) < 10:
        failed.append("dlrm-npz")
    return not failed, "; ".join(texts) + (f"; too slow: {', '.join(failed)}" if failed else "")


def cost(directory: Path) -> Outcome:
    """Cost per byte from 0.1 to 20 GB: slope at most 1.1, memory constant."""
    sizes = [10**8, 4 * 10**8, 16 * 10**8, 64 * 10**8, 20 * 10**9]
    costs = [generate.cost(directory / "cost", name, sizes, 2) for name in generate.DATA_SETS]
    # A small set may need fewer of a segment's buffers; a large one must not need more.
    flat = all(
        max(one.peak_process_bytes) <= 1.2 * one.peak_process_bytes[1] + 10e6 for one in costs
    )
    good = flat and all(one.slope <= 1.1 for one in costs)
    return good, "; ".join(one.text() for one in costs)


def reuse(directory: Path) -> Outcome:
    """Recognise a complete data set in under a second, and refuse other parameters."""
    texts, good = [], True
    for name in generate.DATA_SETS:
        target = directory / "reuse"
        shutil.rmtree(target, ignore_errors=True)
        generate.kept(target, name, 8 * 10**9, 2)
        words = [*generate.DATA_SETS[name], "--output", str(target), "--size", str(8 * 10**9)]
        command = [sys.executable, "-m", "dsgen", "generate", *words]
        start = time.monotonic()
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - start
        other = subprocess.run(
            [*command, "--seed", "2"], capture_output=True, text=True, check=False
        )
        good &= seconds < 1 and "nothing to write" in again.stdout
        good &= other.returncode == 6 and "seed 1, not 2" in other.stderr
        texts.append(f"{name} {seconds:.2f} s")
        shutil.rmtree(target)
    return good, f"8 GB recognised in {', '.join(texts)} (1 s); seed 2 refused"


def reading(directory: Path) -> Outcome:
    """Read cached files: reuse at most 1.6 of a bare read(2) loop, fresh not above np.load."""
    taken = read.measure(directory / "read", "imseg", size_bytes=2 * 10**9, rounds=48)
    costs = {way: one.cpu_s_per_gb for way, one in taken.items()}
    reuse = read.compared(costs["ours, --buffer reuse"], costs["read(2)"])
    fresh = read.compared(costs["ours, --buffer fresh"], costs["np.load"])
    figure = f"reuse {reuse} of read(2) (at most 1.6), fresh {fresh} of np.load (at most 1)"
    # 48 rounds leave an interval some 5 % wide, and fresh differs from np.load by less: its best
    # estimate is judged, and the interval is shown.
    return reuse.high <= 1.6 and fresh.value <= 1, figure


def scaling(directory: Path) -> Outcome:
    """Copy 6 GB at 0.9 or more of cp, every format.

    Larger, cp would lack memory for its input and its copy in 24 GB; smaller, 0.4 s of starting
    Python and planning weigh more than where data sets are enlarged to hundreds.
    """
    every = []
    for name in generate.DATA_SETS:
        every.append(scale.against_cp(directory / "scale", name, 6 * 10**9, 2, 3))
        print(every[-1].text(), flush=True)
    good = all(statistics.median(one.ratios) >= 0.9 for one in every)
    return good, "; ".join(one.text() for one in every) + " (0.9)"


def comparing(directory: Path) -> Outcome:
    """Tell at most 1 of 15 pairs of equal groups apart, and find 3 % less bandwidth each time."""
    shutil.rmtree(directory / "compare", ignore_errors=True)
    found = compare.measure(
        directory / "compare", groups=6, repeat=5, bytes_per_s=30 * 10**6, less=0.03
    )
    good = len(found.flagged) <= 1 and found.slower == found.groups
    return good, f"{found.text()} (at most 1 of 15, and 6 of 6)"


def many_files(directory: Path) -> Outcome:
    """Copy a million files in at most 11 times the time of a tenth of them."""
    few, more = scale.growth(directory / "many", 50_000, 2)
    figure = f"100,000 files {few:.0f} s, 1,000,000 {more:.0f} s: {more / few:.1f} times (11)"
    return more <= 11 * few, figure


def overshoot(_: Path) -> Outcome:
    """Emulated step of one rank on a free core: p50 at most 2 % at 1 ms, 0.5 % at 10 ms."""
    set_timer_slack()
    accelerator = Emulated(step_time=StepTime(mean_s=0, sd_s=0), seed=1, spin=True)
    shares = {}
    for declared_ns, steps in ((10**6, 1000), (10**7, 200)):
        late = []
        for _step in range(steps):
            start_ns = time.monotonic_ns()
            late.append(accelerator.run(start_ns, declared_ns) - start_ns - declared_ns)
        shares[declared_ns] = statistics.median(late) / declared_ns
    figure = f"p50 {shares[10**6]:.3%} at 1 ms (2 %), {shares[10**7]:.3%} at 10 ms (0.5 %)"
    return shares[10**6] <= 0.02 and shares[10**7] <= 0.005, figure


def sixteen_gb(directory: Path) -> Outcome:
    """16 GB, 8 accelerators, 5 epochs, cold: bytes to the byte, device bytes at least 0.98."""
    done = harness(
        *("benchmark", "imseg", "--data", directory / "data", "--results", directory / "results"),
        *("--size", "16GB", "--engine", "docker"),
    )
    if done.returncode:
        return False, done.stderr.splitlines()[-1]
    result = result_of(done)
    files = json.loads((Path(done.stdout.strip()).parent / "trace/files.json").read_text())
    asked = [epoch["bytes"]["asked"] for epoch in result["epochs"]]
    expected = visited_bytes(Path(done.stdout.strip()).parent, files)
    shares = [
        epoch["bytes"]["device"]["value"] / epoch["bytes"]["returned"] for epoch in result["epochs"]
    ]
    returned = [epoch["bytes"]["returned"] for epoch in result["epochs"]]
    figure = (
        f"returned {returned} against sum of (size + 4,224) {expected}, asked {asked}, "
        f"device/returned {min(shares):.4f} at least, AU {result['metrics']['au']['value']:.3f}, "
        f"{result['verdict']['sentence']}"
    )
    return returned == expected and min(shares) >= 0.98 and len(returned) == 5, figure


def recording(directory: Path) -> Outcome:
    """Record at less than 1 % of the ranks' CPU time in the small run of each workload."""
    shares, failed = [], []
    for workload in WORKLOADS:
        places = ("--data", directory / "recording", "--results", directory / "results")
        words = ("--preset", "smoke", "--engine", "local", "--accelerators", 2)
        done = harness("benchmark", workload, *words, *places)
        if done.returncode:
            return False, done.stderr.splitlines()[-1]
        cost = result_of(done)["recording"]
        shares.append(f"{workload} {cost['share']:.2%} ({cost['ns_per_row']:,.0f} ns a row)")
        failed += [workload] if cost["share"] >= 0.01 else []
    return not failed, f"{', '.join(shares)} (1 %)"


def cached_reads(directory: Path) -> Outcome:
    """Read cached data by 8 readers on few cores: waiting for a core is no wait for storage."""
    places = ("--data", directory / "cached", "--results", directory / "results")
    words = ("--preset", "smoke", "--engine", "local", "--cache", "warm", "--ceiling", "false")
    done = harness("benchmark", "imseg", *words, "--loader-workers", 0, *places)
    if done.returncode:
        return False, done.stderr.splitlines()[-1]
    lost = result_of(done)["losses_accelerator_s"]
    share = lost["storage_wait"] / lost["wall"]
    return (
        share < 0.02,
        f"storage_wait {share:.2%} of wall (2 %), runqueue {lost['runqueue']:.1f} s",
    )


def memory_series(directory: Path) -> Outcome:
    """Small files under limits: hits rise with memory/data, and repeat within 0.08."""
    series = memory.measure(directory / "memory", size_bytes=10**9, repeats=3, epochs=8)
    means = [hits.mean for hits in series]
    good = means == sorted(means) and len(set(means)) == len(means)
    good &= all(hits.spread <= 0.08 for hits in series)
    return good, "; ".join(hits.text() for hits in series) + " (rising, runs within 0.08)"


def selftest(directory: Path) -> Outcome:
    """Plant every cause ten times: figures and verdict follow each time."""
    places = ("--data", directory / "data", "--results", directory / "results")
    done = harness("selftest", "--engine", "docker", "--times", 10, *places)
    if done.returncode not in (ExitCode.DONE, ExitCode.RESULT):
        return False, done.stderr.splitlines()[-1]
    right = re.findall(r"^ +(.+): (\d+) of 10 right$", done.stdout, re.MULTILINE)
    failed = done.returncode != ExitCode.DONE or "SKIP" in done.stdout
    return not failed, ", ".join(f"{cause} {count}" for cause, count in right) + " of 10 right"


def visited_bytes(run: Path, files: dict[str, dict[str, Any]]) -> list[int]:
    """Return, for each epoch, the bytes of (size + 4,224) over the files opened in training."""
    import numpy as np

    from harness.worker.record import Op, Phase

    rows = np.concatenate([np.load(path) for path in sorted(run.glob("trace/rank-*.npy"))])
    opens = rows[(rows["op"] == Op.OPEN) & (rows["phase"] == Phase.TRAIN)]
    return [
        sum(files[str(i)]["size_bytes"] + 4224 for i in opens["file"][opens["epoch"] == epoch])
        for epoch in np.unique(opens["epoch"])
    ]


def smoke(directory: Path) -> Outcome:
    """Smoke with docker from nothing in 6 minutes, then in 60 s; local in 4 minutes."""
    harness("clean", "--base")
    times, engines = [], []
    for engine in ("docker", "docker", "local"):
        start = time.monotonic()
        places = ("--data", directory / engine, "--results", directory / "results")
        done = harness("benchmark", "imseg", "--preset", "smoke", "--engine", engine, *places)
        times.append(time.monotonic() - start)
        if done.returncode:
            return False, done.stderr.splitlines()[-1]
        engines.append(result_of(done)["engine"]["name"])
    figure = (
        f"docker {times[0]:.0f} s (360), again {times[1]:.0f} s (60), local {times[2]:.0f} s (240)"
    )
    good = times[0] <= 360 and times[1] <= 60 and times[2] <= 240
    return good and engines == ["docker", "docker", "local"], figure


def smoke_again(directory: Path) -> Outcome:
    """Smoke of all workloads with docker, images and data there: under 2 minutes."""
    words = ("--preset", "smoke", "--engine", "docker", "--data", directory / "again")
    total_s = 0.0
    for again in (False, True):
        for workload in WORKLOADS:
            start = time.monotonic()
            done = harness("benchmark", workload, *words, "--results", directory / "results")
            if done.returncode:
                return False, done.stderr.splitlines()[-1]
            total_s += again * (time.monotonic() - start)
    return total_s < 120, f"{', '.join(WORKLOADS)} again in {total_s:.0f} s (120)"


def fed(_: Path) -> Outcome:
    """Give two ranks with 10 ms of compute a reader that returns at once: AU at least 0.99."""
    test = "tests/unit/test_worker_run.py::test_instant_batches_leave_accelerators_all_the_time"
    aus: list[float] = []
    bare: list[float] = []
    for _run in range(5):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", f"{test}[0]"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        aus += [float(text) for text in re.findall(r"10 ms steps: ([0-9.]+)", done.stdout)]
        bare.append(crew.bare_utilization(2, steps=60, step_ns=10_000_000))
    au = statistics.median(aus)
    figure = (
        f"AU {au:.4f} (0.99), median of {len(aus)} from {min(aus):.4f} to {max(aus):.4f}; "
        f"bare processes that compute and meet, in turn: {crew.shown(bare, 'of the time')}"
    )
    return au >= 0.99, figure


CHECKS: dict[str, Callable[[Path], Outcome]] = {
    "smoke": smoke,
    "smoke-again": smoke_again,
    "generation": generation,
    "rates": rates,
    "cost": cost,
    "reuse": reuse,
    "reading": reading,
    "recording": recording,
    "cached-reads": cached_reads,
    "scaling": scaling,
    "many-files": many_files,
    "comparing": comparing,
    "overshoot": overshoot,
    "barrier": crew.barrier,
    "start": crew.start,
    "fed": fed,
    "memory": memory_series,
    "golden-figures": lambda _: tests("tests/unit/test_metrics.py", "tests/unit/test_losses.py"),
    "sixteen-gb": sixteen_gb,
    "calls": lambda _: tests(
        *("tests/unit/test_imseg_calls.py", "tests/unit/test_bert_calls.py", "tests/container")
    ),
    "laws": lambda _: tests("tests/property"),
    "bad-input": lambda _: tests("tests/unit"),
    "selftest": selftest,
    "bert-readers": fidelity.readers_of_bert,
    "size-laws": fidelity.size_laws,
    "million-rows": fidelity.million_rows,
    "measured-cold": lambda directory: fidelity.measured_numbers(directory, "cold"),
    "measured-warm": lambda directory: fidelity.measured_numbers(directory, "warm"),
    "interruption": interrupt.interruption,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*CHECKS, []], default=[], metavar="NAME")
    parser.add_argument("--directory", type=Path, default=Path("data/accept"))
    options = parser.parse_args()
    failed = 0
    for name in options.names or CHECKS:
        try:
            good, figure = CHECKS[name](options.directory.absolute())
        except SystemExit as error:  # a command that failed, or what is left of a run before
            good, figure = False, str(error)
        failed += not good
        print(f"{'PASS' if good else 'FAIL'}  {name}: {figure}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
