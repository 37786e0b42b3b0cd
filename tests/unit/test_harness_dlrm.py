"""`python -m harness` over dlrm: from words to a result and a report."""

import json
from pathlib import Path

import pytest

from dsgen.choices import Wanted
from dsgen.workloads import plan
from dsgen.write import generate
from harness.config import build_config
from harness.document import find_builtin, read_document
from tests.unit.test_harness_refusals import harness, refused

BUILTIN = read_document(find_builtin(Path("/")))
NAMES = {format_: f"dlrm-{format_}-20MB-criteo-s1" for format_ in ("bin", "npz", "text")}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return where a small data set of each format is."""
    root = tmp_path_factory.mktemp("dlrm")
    for format_, name in NAMES.items():
        generate(layout_of(format_), root / "data" / name, processes=2, emit=lambda _: None)
    return root


def layout_of(format_):
    return plan("dlrm", size_bytes=20_000_000, seed=1, wanted=Wanted(format=format_))


def flags(root, *more, format_="bin"):
    return (
        *("--data", root / "data", "--results", root / "results", "--engine", "local"),
        *("--preset", "smoke", "--size", "20MB", "--format", format_),
        *("--checkpoint-bytes", "1MB", "--ceiling", "false", *more),
    )


def result_of(done):
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    return json.loads(path.read_text()), (path.parent / "report.html").read_text()


@pytest.mark.parametrize("shuffle", ["none", "batches"])
def test_bin_from_words_to_a_report(place, shuffle):
    done = harness("train", "dlrm", *flags(place, "--shuffle", shuffle, "--epochs", 2))
    result, report = result_of(done)
    assert result["status"] == "ok"
    assert result["self_check"]["passed"]
    # 125,000 rows, of which the last batch has 2,120.
    assert result["coverage"] == {
        "steps_per_epoch": 16,
        "samples_used_per_epoch": 125_000,
        "samples_dropped_per_epoch": 0,
    }
    assert [epoch["bytes"]["returned"] for epoch in result["epochs"]] == [20_000_000] * 2
    assert [epoch["samples"] for epoch in result["epochs"]] == [125_000] * 2
    assert [one["samples"] for one in result["evaluation"]] == [2_656]
    # One after the evaluation of epoch 1, and one at the end.
    assert (result["checkpoint"]["count"], result["checkpoint"]["epoch"]) == (2, 2)
    assert result["checkpoint"]["written_bytes"] == 2_000_000
    assert result["demand"]["mean_sample_bytes"] == 160
    assert "read by one for all, 2 epochs of 16 steps" in done.stderr
    assert "dlrm, 8 x ci" in report
    assert "The workload asks for" in report
    assert "<title>" in report


def test_tests_in_the_midst_of_an_epoch_from_words_to_a_report(place):
    words = ("--epochs", 2, "--eval-from", 1, "--eval-every", 1, "--eval-every-steps", 6)
    done = harness("train", "dlrm", *flags(place, *words))
    result, report = result_of(done)
    assert result["status"] == "ok"
    assert result["self_check"]["passed"]
    assert [(own["epoch"], own["step"]) for own in result["evaluation"]] == [
        (epoch, step) for epoch in (1, 2) for step in (6, 12, 16)
    ]
    assert [own["samples"] for own in result["evaluation"]] == [2_656] * 6
    saved = result["checkpoint"]
    assert (saved["count"], saved["written_bytes"]) == (6, 6_000_000)
    assert [epoch["samples"] for epoch in result["epochs"]] == [125_000] * 2
    assert [epoch["bytes"]["returned"] for epoch in result["epochs"]] == [20_000_000] * 2
    assert "evaluated after every 6 steps and at the end of an epoch" in done.stderr
    assert "evaluation after step 12 of epoch 2" in report
    assert "evaluation after epoch 2" in report
    assert "6 checkpoints, the last one after epoch 2" in report


def test_other_workloads_are_not_evaluated_within_an_epoch(tmp_path):
    done = harness("generate", "imseg", "--data", tmp_path, "--eval-every-steps", 3)
    assert refused(done, 2, "imseg is evaluated after epochs", "--eval-every-steps")


def test_npz_from_words_to_a_report(place):
    done = harness("train", "dlrm", *flags(place, "--epochs", 2, format_="npz"))
    result, report = result_of(done)
    assert result["status"] == "ok"
    assert result["self_check"]["passed"]
    rows = [file.samples for file in layout_of("npz").files if file.role == "train"]
    assert result["coverage"]["samples_used_per_epoch"] == sum(rows[:-1])
    assert result["coverage"]["samples_dropped_per_epoch"] == 0
    assert result["coverage"]["steps_per_epoch"] == -(-sum(rows[:-1]) // 8192)
    assert [epoch["samples"] for epoch in result["epochs"]] == [sum(rows[:-1])] * 2
    assert [one["samples"] for one in result["evaluation"]] == [-(-rows[-1] // 2)]
    assert "dlrm, 8 x ci" in report


def test_text_from_words_to_a_report(place):
    done = harness("train", "dlrm", *flags(place, "--epochs", 2, format_="text"))
    result, report = result_of(done)
    assert result["status"] == "ok"
    assert result["self_check"]["passed"]
    (file,) = layout_of("text").files
    assert [epoch["bytes"]["returned"] for epoch in result["epochs"]] == [2 * file.bytes] * 2
    assert result["coverage"]["steps_per_epoch"] == 2 * -(-file.samples // 8192)
    assert result["coverage"]["samples_dropped_per_epoch"] == 0
    # Nothing computes, so nothing can be said of AU: not even that it is 0.
    assert result["verdict"]["outcome"] == "withheld"
    assert "no accelerator waits for it; it was read at" in result["verdict"]["sentence"]
    assert result["metrics"]["au"]["value"] is None
    assert {own["value"] for own in result["metrics"]["au"]["per_rank"]} == {None}
    assert result["metrics"]["au_mlperf_style"]["value"] is None
    assert result["demand"]["bytes_per_s"] is None
    assert (result["evaluation"], result["checkpoint"]) == ([], None)
    assert "no accelerator computes, nothing is saved" in done.stderr
    assert "dlrm, 8 x ci" in report


def test_npz_has_no_loader_workers(place):
    words = flags(place, "--loader-workers", 1, format_="npz")
    assert refused(harness("train", "dlrm", *words), 2, "days are loaded", "--loader-workers 1")


def test_demand_at_8_v100_is_55_mb_a_second(place):
    done = harness(
        *("train", "dlrm", *flags(place, "--profile", "v100", "--batch-size", 4096)),
        *("--epochs", 1, "--eval-from", 0),
    )
    result, report = result_of(done)
    # 8 x 4,096 rows of 160 bytes in 95.3 ms; four draws of 3.4 ms deviation.
    assert result["demand"]["bytes_per_s"] == pytest.approx(55.0e6, rel=0.1)
    said = f"The workload asks for {result['demand']['bytes_per_s'] / 1e6:.3g} MB/s only, which"
    assert said in result["verdict"]["sentence"]
    assert "cannot test bandwidth" in report


def test_steps_bound_an_epoch(place):
    done = harness("train", "dlrm", *flags(place, "--steps", 5, "--epochs", 2, "--eval-from", 0))
    result, _ = result_of(done)
    assert [epoch["steps"] for epoch in result["epochs"]] == [5, 5]
    read = 5 * 8 * 1024
    assert result["coverage"]["samples_used_per_epoch"] == read
    assert result["coverage"]["samples_dropped_per_epoch"] == 125_000 - read
    assert [epoch["bytes"]["returned"] for epoch in result["epochs"]] == [160 * read] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dlrm",), "asks for 55 MB/s, which cannot test bandwidth"),
        (("dlrm", "--format", "text"), "no accelerator computes"),
        # 30 GB in 210 cases, 32 of them in 1.392 s.
        (("imseg", "--law", "original", "--size", "30GB"), "asks for 3.3"),
    ],
)
def test_the_plan_says_what_is_asked_of_the_storage(tmp_path, words, said):
    done = harness("benchmark", *words, "--data", tmp_path / "data", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("verb", ["train", "benchmark"])
def test_more_steps_than_there_are_is_refused_before_the_start(place, verb):
    done = harness(verb, "dlrm", *flags(place, "--steps", 17))
    assert refused(done, 6, "16 steps in the data set, 17 of an epoch were asked for", "--steps")


def test_a_benchmark_that_will_not_fit_generates_nothing(tmp_path):
    done = harness("benchmark", "dlrm", *flags(tmp_path, "--batch-size", 4096, "--size", "1MB"))
    assert refused(done, 6, "6,250 training rows", "takes 32,768")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "words",
    [("--accelerators", 4, "--batch-size", 4096), ("--batch-size", 2048)],
    ids=["accelerators", "batch"],
)
def test_a_profile_that_does_not_cover_the_run_is_refused(place, words):
    done = harness("train", "dlrm", *flags(place, "--profile", "v100", *words))
    assert refused(done, 2, "outside what profile v100 was measured for", "--extrapolate")


@pytest.mark.parametrize(
    ("workload", "more"), [("imseg", ()), ("dlrm", ("--format", "npz")), ("bert", ())]
)
def test_shuffled_batches_are_of_rows_only(workload, more, tmp_path):
    done = harness("generate", workload, "--data", tmp_path, "--shuffle", "batches", *more)
    assert refused(done, 2, "only dlrm's rows", "--shuffle")


def test_a_file_that_was_changed_is_refused_before_the_start(tmp_path):
    directory = tmp_path / "data" / NAMES["bin"]
    generate(layout_of("bin"), directory, processes=2, emit=lambda _: None)
    with (directory / "preprocessed.bin").open("r+b") as rows:
        rows.truncate(19_999_999)
    done = harness("train", "dlrm", *flags(tmp_path))
    assert refused(done, 6, "19,999,999 bytes instead of 20,000,000", "preprocessed.bin")


def test_a_users_own_rows_are_trained_over(place, tmp_path):
    own = tmp_path / "data"
    own.mkdir()
    for name in ("preprocessed.bin", "preprocessed_test.bin", "day_fea_count.npz"):
        (own / name).write_bytes((place / "data" / NAMES["bin"] / name).read_bytes())
    result, _ = result_of(harness("train", "dlrm", *flags(tmp_path, "--epochs", 1)))
    assert result["dataset"]["path"] == str(own)
    assert result["epochs"][0]["bytes"]["returned"] == 20_000_000
    assert result["checkpoint"] is None


def test_the_default_is_the_reference_and_the_smoke_preset_is_short():
    config = build_config("dlrm", BUILTIN, cwd=Path("/"))
    assert (config.accelerators, config.batch_size, config.epochs) == (8, 4096, 1)
    assert (config.shuffle, config.steps, config.loader_workers) == ("none", 0, 0)
    assert (config.format, config.profile) == ("bin", "v100")
    assert (config.eval_from, config.eval_every_steps) == (1, 16_384)
    smoke = build_config("dlrm", BUILTIN, preset="smoke", cwd=Path("/"))
    layout = plan("dlrm", size_bytes=smoke.size_bytes, seed=1, wanted=smoke.wanted)
    steps = -(-layout.samples("train") // (smoke.accelerators * smoke.batch_size))
    assert smoke.epochs * steps * smoke.step_time.mean_s < 10
