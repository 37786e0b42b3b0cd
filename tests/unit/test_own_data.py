"""Training on files of a user's own that no manifest describes: told as they are, never touched."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dsgen import described
from dsgen.choices import Wanted
from dsgen.errors import DataSetError
from dsgen.journal import JOURNAL_NAME
from dsgen.layout import COUNTED
from dsgen.manifest import MANIFEST_NAME
from dsgen.workloads import plan
from dsgen.write import generate
from tests.unit.own_data import cost_bytes, files_of, snapshot, write_cases
from tests.unit.test_harness_refusals import harness, refused
from tests.unit.worker_run import make_data_set

CASES, EVALUATE = 13, 5  # the first numbers that the reference evaluates on: 0, 3, 5, 6, 12
TRAIN = CASES - EVALUATE


def train(data, root, *more):
    return harness(
        *("train", "imseg", "--data", data, "--results", root / "results", "--engine", "local"),
        *("--preset", "smoke", "--accelerators", 2, "--epochs", 1, "--eval-from", 0),
        *("--ceiling", "false"),
        *("--loader-workers", 1, *more),
    )


def result_of(done):
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    return json.loads(path.read_text()), (path.parent / "report.html").read_text()


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("own") / "mine", CASES)


@pytest.fixture(scope="module")
def trained(mine, tmp_path_factory):
    """Return how a training that evaluates, too, ended."""
    return train(mine, tmp_path_factory.mktemp("trained"), "--eval-from", 1, "--epochs", 2)


def test_every_byte_is_counted(mine, trained):
    result, _ = result_of(trained)
    assert result["status"] == "ok"
    assert result["self_check"]["passed"]
    assert result["coverage"]["samples_dropped_per_epoch"] == 0
    wanted = cost_bytes(files_of(mine, "train"))
    assert [epoch["bytes"]["returned"] for epoch in result["epochs"]] == [wanted, wanted]
    evaluated = {one["bytes"]["returned"] for one in result["evaluation"]}
    assert evaluated == {cost_bytes(files_of(mine, "eval"))}


def test_what_nobody_knows_is_null_and_unknown(mine, trained):
    result, report = result_of(trained)
    facts = result["dataset"]
    assert facts["path"] == str(mine)
    assert facts["samples"] == {"train": TRAIN, "eval": EVALUATE}
    assert facts["bytes"] == sum(path.stat().st_size for path in mine.iterdir())
    for name in ("law", "seed", "size_requested_bytes", "origin", "manifest_crc32c"):
        assert facts[name] is None
    assert facts["entropy"] == {"deflate1_64kib": None, "duplicate_4kib": None}
    assert facts["made_of_holes"] is None
    row = r"<dt>entropy deflate1 64kib</dt>\s*<dd>unknown</dd>"
    assert re.search(row, report)


def test_the_echo_says_that_it_is_the_users_own(mine, trained):
    said = trained.stderr
    taken = sum(path.stat().st_size for path in mine.iterdir())
    assert (
        f"data    {mine}: {taken:,} bytes in {2 * CASES} files, {TRAIN} training and "
        f"{EVALUATE} evaluation samples"
    ) in said
    assert "DATA itself is the data set, without a manifest" in said
    assert f"2 epochs of {TRAIN // 2} steps" in said
    assert "size    " not in said


def test_nothing_is_written_into_it(mine, tmp_path):
    before = snapshot(mine)
    result, _ = result_of(train(mine, tmp_path))
    assert snapshot(mine) == before
    assert result["checkpoint"] is None
    assert result["config"]["checkpoint"] is None
    assert any(text.startswith("No checkpoint is written") for text in result["warnings"])


def test_a_checkpoint_goes_to_another_place_when_one_is_named(mine, tmp_path):
    words = ("--checkpoint", tmp_path / "saved", "--checkpoint-bytes", 100_000)
    result, _ = result_of(train(mine, tmp_path, *words))
    assert result["checkpoint"]["written_bytes"] == 100_000
    assert [path.stat().st_size for path in (tmp_path / "saved").iterdir()] == [100_000]
    assert not any("checkpoint" in text for text in result["warnings"])


@pytest.mark.parametrize("name", ["checkpoint", "results"])
@pytest.mark.parametrize("below", ["", "new/place"])
def test_what_is_written_stays_out_of_it(name, below, mine, tmp_path):
    before = snapshot(mine)
    (tmp_path / "link").symlink_to(mine)
    for data in (mine, tmp_path / "link"):
        done = train(mine, tmp_path, f"--{name}", data / below)
        assert refused(done, 2, f"the {name} would lie in the data set", f"--{name}")
    assert snapshot(mine) == before


def test_results_of_a_run_inside_of_it_are_refused(mine):
    done = harness("train", "imseg", "--preset", "smoke", "--data", ".", cwd=mine)
    assert refused(done, 2, "the results would lie in the data set", "--results")


def test_a_data_set_of_the_configured_name_comes_first(mine, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(mine, data)
    configured = make_data_set(data / "imseg-npy-2GB-small-s1", train=4)
    result, _ = result_of(train(data, tmp_path, "--checkpoint", "none"))
    assert result["dataset"]["path"] == str(configured)
    assert result["dataset"]["samples"] == {"train": 4, "eval": 0}


def test_an_empty_directory_of_the_configured_name_is_not_passed_over(mine, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(mine, data)
    (data / "imseg-npy-2GB-small-s1").mkdir()
    assert refused(train(data, tmp_path), 6, "no complete data set", "small-s1")


def test_other_names_beside_its_files_are_left_alone(mine, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(mine, data)
    (data / "notes.txt").write_text("mine")
    (data / "checkpoint").mkdir()
    result, _ = result_of(train(data, tmp_path))
    assert result["dataset"]["files"] == 2 * CASES


def test_a_link_may_lead_to_other_storage_and_is_refused(mine, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(mine, data)
    (data / "case_00001_x.npy").unlink()
    (data / "case_00001_x.npy").symlink_to(mine / "case_00001_x.npy")
    assert refused(train(data, tmp_path), 6, "a symbolic link", "case_00001_x.npy")


def test_half_a_case_is_refused_before_the_start(mine, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(mine, data)
    (data / "case_00001_y.npy").unlink()
    assert refused(train(data, tmp_path), 6, "no case_00001_y.npy beside case_00001_x.npy")
    assert not (tmp_path / "results").exists()


def test_too_few_cases_for_the_ranks(mine, tmp_path):
    words = ("--accelerators", CASES)
    assert refused(train(mine, tmp_path, *words), 6, f"{TRAIN} training cases")


def test_files_of_another_workload_are_no_data_set(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.txt").write_text("mine")
    assert refused(train(tmp_path / "data", tmp_path), 6, "no complete data set", "small-s1")


def test_a_manifest_of_another_workload_is_named(tmp_path):
    data = make_data_set(tmp_path / "data", train=2)
    path = data / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"workload": "bert"}))
    assert refused(train(data, tmp_path), 6, "a data set of bert, not imseg")


def test_an_unfinished_data_set_is_none_of_a_users_own(mine, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(mine, data)
    (data / JOURNAL_NAME).write_text("")
    assert refused(train(data, tmp_path), 6, "an unfinished data set")


@pytest.mark.root
def test_a_read_only_mount_will_do(mine, tmp_path):
    mount = tmp_path / "mount"
    mount.mkdir()
    subprocess.run(["mount", "--bind", str(mine), str(mount)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(mount)], check=True)
        result, _ = result_of(train(mount, tmp_path))
        assert result["self_check"]["passed"]
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.parametrize("names", [("part-00000-of-00500",), ("train.txt",)])
def test_samples_that_only_reading_tells_are_counted_later(names, tmp_path):
    workload, wanted = ("dlrm", Wanted(format="text")) if "txt" in names[0] else ("bert", Wanted())
    layout = plan(workload, size_bytes=100_000, seed=1, wanted=wanted)
    generate(layout, tmp_path / "set", processes=1, emit=lambda _: None)
    (tmp_path / "set" / MANIFEST_NAME).unlink()
    manifest = described.manifest_of(tmp_path / "set", workload)
    assert manifest.samples_train == COUNTED
    assert {file.path for file in manifest.files} >= set(names)
    assert all(file.crc32c is None for file in manifest.files)


def test_a_directory_without_anything_is_no_data_set(tmp_path):
    with pytest.raises(DataSetError, match="no complete data set"):
        described.manifest_of(tmp_path, "imseg")


def test_a_manifest_is_believed_where_there_is_one(tmp_path):
    data = make_data_set(tmp_path / "data", train=2)
    assert described.manifest_of(data, "imseg").crc32c is not None
    (data / MANIFEST_NAME).unlink()
    found = described.manifest_of(data, "imseg")
    assert found.crc32c is None
    assert {Path(file.path).suffix for file in found.files} == {".npy"}


@pytest.mark.parametrize(
    ("kind", "shared_bytes", "words"),
    [
        ("clone", None, "is a clone and shares blocks with other files (unknown)"),
        ("clone", 4096, "is a clone and shares blocks with other files (4,096 bytes)"),
        ("copy", 4096, "The data set shares blocks with other files (4,096 bytes)"),
    ],
)
def test_data_that_is_not_on_the_device_of_its_own_is_told(kind, shared_bytes, words, tmp_path):
    directory = make_data_set(tmp_path / "data", train=2)
    document = json.loads((directory / MANIFEST_NAME).read_text())
    document["origin"] = {"kind": kind, "source_crc32c": "1a2b3c4d"}
    document["allocation"]["shared_bytes"] = shared_bytes
    (directory / MANIFEST_NAME).write_text(json.dumps(document))
    done = train(directory, tmp_path)
    result, report = result_of(done)
    assert [words in text for text in result["warnings"]].count(True) == 1
    assert words in report
    assert words in done.stderr
    facts = result["dataset"]
    assert (facts["origin"], facts["source_crc32c"]) == (kind, "1a2b3c4d")
    assert facts["allocation"]["shared_bytes"] == shared_bytes
