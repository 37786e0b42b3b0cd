"""`python -m harness train bert`, from a small data set to a result and its report."""

import json
import re
import shutil
from pathlib import Path

import pytest

from harness.worker.loading.tfrecords import CHUNK_BYTES
from tests.unit.test_harness_refusals import ROOT, harness, refused

RANKS, BATCH, STEPS = 2, 6, 30


def words(root, *more):
    return (
        *("bert", "--data", root / "data", "--results", root / "results", "--engine", "local"),
        *("--preset", "smoke", "--size", "3MB", "--min-files", 60, "--accelerators", RANKS),
        *("--ceiling", "false"),
        *("--batch-size", BATCH, "--steps", STEPS, "--checkpoint-bytes", "1MB", *more),
    )


def result_of(done):
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    return json.loads(path.read_text()), (path.parent / "report.html").read_text()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("bert")
    made = harness("generate", *words(place))
    assert made.returncode == 0, made.stderr
    return place


@pytest.fixture(scope="module")
def trained(root):
    return harness("train", *words(root))


def test_a_run_ends_with_a_result_that_passed_its_checks(trained):
    result, _ = result_of(trained)
    assert (result["status"], result["exit_code"]) == ("ok", 0)
    assert result["self_check"]["passed"]
    # Two epochs, an evaluation and the checkpoint, of two ranks.
    assert result["self_check"]["checked_windows"] == RANKS * 4
    assert [epoch["samples"] for epoch in result["epochs"]] == [RANKS * BATCH * STEPS] * 2
    assert [one["samples"] for one in result["evaluation"]] == [RANKS * 100]
    assert result["coverage"] == {
        "steps_per_epoch": STEPS,
        "samples_used_per_epoch": RANKS * BATCH * STEPS,
        "samples_dropped_per_epoch": result["dataset"]["samples"]["train"] - RANKS * BATCH * STEPS,
    }


def test_a_demand_that_cannot_test_bandwidth_is_said_in_plan_verdict_and_report(trained):
    result, report = result_of(trained)
    said = "cannot test bandwidth"
    demand = next(line for line in trained.stderr.splitlines() if "asks for" in line)
    assert said in demand
    assert said in result["verdict"]["sentence"]
    assert said in report
    assert result["demand"]["bytes_per_s"] < 100e6


def test_every_rank_evaluates_by_one_chunk_and_leaves_a_checkpoint(trained, root):
    result, _ = result_of(trained)
    (evaluation,) = result["evaluation"]
    assert evaluation["bytes"]["asked"] == RANKS * CHUNK_BYTES
    assert result["checkpoint"]["written_bytes"] == RANKS * 1_000_000
    names = sorted(path.name for path in (root / "data" / "checkpoint").iterdir())
    assert names == ["model.ckpt-00000", "model.ckpt-00001"]


def test_one_pipeline_reads_for_all(root):
    result, _ = result_of(
        harness("train", *words(root, "--pipelines", 1, "--epochs", 1, "--eval-from", 1))
    )
    assert result["self_check"]["passed"]
    assert [epoch["samples"] for epoch in result["epochs"]] == [RANKS * BATCH * STEPS]
    assert [rank["rows"] > 9 for rank in result["worker"]["ranks"]] == [True, False]
    assert result["checkpoint"]["written_bytes"] == 1_000_000
    assert result["verdict"]["limit"] != "straggler"


def test_a_pass_is_as_many_steps_as_every_rank_has_records_for(root):
    more = ("--steps", 0, "--epochs", 1, "--eval-from", 0, "--checkpoint", "none")
    done = harness("train", *words(root, *more, "--set", "profile=ci"))
    result, report = result_of(done)
    steps, total = result["coverage"]["steps_per_epoch"], result["dataset"]["samples"]["train"]
    planned = re.search(r"epochs of ([0-9]+) steps", done.stderr)
    assert total // RANKS // BATCH - 5 < steps == int(planned[1]) <= total // RANKS // BATCH
    assert result["coverage"]["samples_used_per_epoch"] == steps * RANKS * BATCH
    assert "and leaves out" in report


def test_files_too_few_for_the_burst_of_opens_are_told(root):
    few = ("--size", "1MB", "--min-files", 4, "--epochs", 1, "--eval-from", 0)
    result, _ = result_of(harness("benchmark", *words(root, *few)))
    told = "2 pipelines open 4 training files at the start"
    assert any(told in warning for warning in result["warnings"])


def test_records_that_nobody_counted_are_unknown_and_never_a_number(root, tmp_path):
    (made,) = (root / "data").glob("bert-tfrecord-3MB-*")
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in (*made.glob("part-*"), made / "eval_10k"):
        shutil.copy(path, mine)
    more = ("--data", mine, "--results", tmp_path / "results", "--epochs", 1, "--eval-from", 1)
    done = harness("train", *words(root, *more))
    result, report = result_of(done)
    assert result["dataset"]["samples"] == {"train": None, "eval": None}
    assert result["coverage"]["samples_dropped_per_epoch"] is None
    assert "61 files, samples not counted" in done.stderr
    assert f"1 epochs of {STEPS} steps" in done.stderr
    assert "how many there are is unknown" in report
    assert [one["samples"] for one in result["evaluation"]] == [RANKS * 100]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--accelerators", 61), 6, "60 training files for 61 pipelines"),
        (("--loader-workers", 2), 2, "2 loader workers"),
        (("--pipelines", 3), 2, "3 pipelines for 2 accelerators"),
        (("--steps", "many"), 2, "steps is 'many'"),
    ],
)
def test_what_cannot_be_is_one_line(root, more, code, said):
    assert refused(harness("train", *words(root, *more)), code, said)


def test_tf_data_needs_tensorflow(root, tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError")
    paths = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = harness("train", *words(root, "--loader", "tfdata"), **paths)
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert "no TensorFlow here: --loader tfdata; use the docker engine" in said
    assert "Traceback" not in done.stderr


def test_tf_data_is_berts_alone():
    done = harness("train", "imseg", "--loader", "tfdata")
    assert refused(done, 2, "imseg does not read by tf.data", "--loader")


def test_pipelines_are_berts_alone():
    done = harness("train", "imseg", "--pipelines", 1)
    assert refused(done, 2, "imseg has a fixed number of readers", "--pipelines")
