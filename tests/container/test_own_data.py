"""A user's own files through real containers: scaled from a mount to be read, and trained over."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dsgen.manifest import read_manifest
from tests.unit.own_data import cost_bytes, files_of, snapshot, write_cases
from tests.unit.test_harness_refusals import harness, refused
from tests.unit.test_harness_scaling import directory_of
from tests.unit.test_own_data import result_of

pytestmark = pytest.mark.engine


@pytest.fixture
def root(tmp_path, engine):
    """Return a directory with a user's cases, one of which lies elsewhere, behind links."""
    assert engine.facts()["image"]
    mine = write_cases(tmp_path / "mine", 6)
    (tmp_path / "elsewhere").mkdir()
    for path in list(mine.glob("case_00001_?.npy")):
        path.rename(tmp_path / "elsewhere" / path.name)
        path.symlink_to(f"../elsewhere/{path.name}")
    return tmp_path


def scale(root, *more):
    return harness(
        *("scale", "imseg", "--input", root / "mine", "--data", root / "data", "--size", "1MB"),
        *("--results", root / "results", "--engine", "docker", *more),
    )


def train(data, root):
    return harness(
        *("train", "imseg", "--data", data, "--results", root / "results", "--engine", "docker"),
        *("--preset", "smoke", "--accelerators", 2, "--epochs", 1, "--eval-from", 0),
        *("--ceiling", "false"),
        *("--loader-workers", 1),
    )


def test_a_scaled_data_set_is_made_and_trained_over_in_containers(root):
    before = snapshot(root / "mine")
    directory = directory_of(scale(root))
    for path in (root / "mine").iterdir():
        assert (directory / path.name).read_bytes() == path.read_bytes()
    assert read_manifest(directory).parameters.origin == "copy"
    assert harness("verify", directory).returncode == 0
    made = snapshot(directory)
    result, _ = result_of(train(directory, root))
    assert result["engine"]["name"] == "docker"
    assert result["self_check"]["passed"]
    assert result["dataset"]["origin"] == "copy"
    assert snapshot(directory) == made
    assert snapshot(root / "mine") == before


def test_a_training_without_a_manifest_counts_every_byte_in_a_container(root):
    mine = write_cases(root / "own", 13)
    before = snapshot(mine)
    result, _ = result_of(train(mine, root))
    assert result["engine"]["name"] == "docker"
    assert result["self_check"]["passed"]
    assert result["coverage"]["samples_used_per_epoch"] == 8
    wanted = cost_bytes(files_of(mine, "train"))
    assert [epoch["bytes"]["returned"] for epoch in result["epochs"]] == [wanted]
    assert snapshot(mine) == before


def test_what_a_job_refuses_is_one_line_with_its_exit_code(engine):
    with TemporaryDirectory(dir="/dev/shm") as memory:
        root = Path(memory)
        write_cases(root / "mine", 1)
        done = scale(root, "--mode", "clone")
        assert refused(done, 2, "this file system cannot share blocks", "--mode copy")
    assert engine.facts()["image"]
