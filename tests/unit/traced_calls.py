"""Commands of this machine under strace, and what they did with the files of a data set."""

import json
import re
import subprocess
import sys
from pathlib import Path

from dsgen.manifest import read_manifest
from harness.trace.calls import Trace, by_thread, calls_of
from harness.trace.strace import OPTIONS, parse
from harness.worker.spec import WorkerSpec
from harness.worker.workloads import plan
from harness.worker.workloads.dlrm_rows import TEST_BATCH_ROWS
from tests.reference.calls import Call, compare
from tests.unit.worker_run import REPOSITORY, calls_of_rank, command

DLRM = re.compile(r".*/(preprocessed\w*\.bin|day_\w+\.npz|train\.txt)")


def run_traced(output: Path, arguments: list[str]) -> Trace:
    """Run a command to its end, and return its Trace; `output` is made for the log."""
    output.mkdir(parents=True, exist_ok=True)
    log = output / "strace.log"
    done = subprocess.run(
        ["strace", *OPTIONS, str(log), *arguments],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with log.open(errors="replace") as lines:
        return parse(lines)


def strace(output: Path, arguments: list[str]) -> list[list[Call]]:
    """Return the calls of each thread that made any on a data file of dlrm."""
    trace = run_traced(output, arguments)
    seen = [traced for traced in trace.calls if DLRM.fullmatch(traced.call.path)]
    return [calls_of(own) for own in by_thread(seen).values()]


def as_the_reference(tmp_path: Path, spec: WorkerSpec, format_: str) -> list[Call]:
    """Train dlrm by a spec, and return the calls; the reference's reader must make the same.

    Both test after the last batch of every epoch, or never; it takes our order of batches.
    """
    [made] = strace(tmp_path / "ours", command(tmp_path, spec))
    reading = plan(spec, read_manifest(Path(spec.data_dir)))
    words = ["--data", spec.data_dir, "--epochs", spec.epochs]
    words += ["--batch-size", spec.accelerators * spec.batch_size]
    if spec.eval_from:
        words += ["--test-every", reading.steps_per_epoch, "--test-batch-size", TEST_BATCH_ROWS]
    if format_ == "bin":
        orders = {
            epoch: list(map(int, reading.train(epoch, 0).order))
            for epoch in range(1, spec.epochs + 1)
        }
        (tmp_path / "orders.json").write_text(json.dumps(orders))
        words += ["--orders", tmp_path / "orders.json"]
    if format_ == "text":
        (tmp_path / "parts").mkdir()
        words += ["--scratch", tmp_path / "parts"]
    reader = [sys.executable, str(REPOSITORY / "tests/reference/dlrm.py"), format_]
    [expected] = strace(tmp_path / "theirs", [*reader, *map(str, words)])
    # Files that nobody closes are closed with the process, which ours ends at once.
    if format_ == "bin":
        assert [call.name for call in expected[-2:]] == ["close", "close"]
        expected = expected[:-2]
    assert compare(expected, made) == ""
    assert compare(made, calls_of_rank(spec, 0)) == ""
    return made
