"""A user's own files through real containers: trained over from a mount to be read."""

import pytest

from tests.unit.own_data import cost_bytes, files_of, snapshot, write_cases
from tests.unit.test_harness_refusals import harness
from tests.unit.test_own_data import result_of

pytestmark = pytest.mark.engine


def train(data, root):
    return harness(
        *("train", "imseg", "--data", data, "--results", root / "results", "--engine", "docker"),
        *("--preset", "smoke", "--accelerators", 2, "--epochs", 1, "--eval-from", 0),
        *("--loader-workers", 1),
    )


def test_a_training_without_a_manifest_counts_every_byte_in_a_container(engine, tmp_path):
    mine = write_cases(tmp_path / "own", 13)
    before = snapshot(mine)
    assert engine.facts()["image"]
    result, _ = result_of(train(mine, tmp_path))
    assert result["engine"]["name"] == "docker"
    assert result["self_check"]["passed"]
    assert result["coverage"]["samples_used_per_epoch"] == 8
    wanted = cost_bytes(files_of(mine, "train"))
    assert [epoch["bytes"]["returned"] for epoch in result["epochs"]] == [wanted]
    assert snapshot(mine) == before
