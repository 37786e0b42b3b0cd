"""`python -m harness originals`: training finds it, plans over it are equal, nothing is judged."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.test_harness_refusals import harness, refused

SHORT = ("--accelerators", "1", "--batch-size", "1", "--epochs", "1", "--eval-from", "0")


def last_line(done):
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


def test_holes_are_trained_over_planned_equally_and_never_judged(tmp_path):
    places = ("--data", tmp_path / "data", "--results", tmp_path / "results", "--engine", "local")
    directory = last_line(harness("originals", "imseg", "--holes", "--size", "1GB", *places))
    assert directory.name == "imseg-npy-1GB-original-s1-holes"
    words = ("--size", "1GB", "--law", "original", "--profile", "ci", *SHORT, *places)
    result = last_line(harness("train", "imseg", "--entropy", "holes", *words))
    document = json.loads(result.read_text())
    assert document["dataset"]["made_of_holes"]
    verdict = document["verdict"]
    assert verdict["outcome"] == "withheld"
    assert "100 % of the data set is holes" in verdict["sentence"]
    over_files = last_line(harness("plan", "imseg", "--entropy", "holes", *words))
    (directory / "manifest.json").unlink()
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    over_layout = last_line(harness("plan", "imseg", "--entropy", "holes", *words))
    over_bytes = last_line(harness("plan", "imseg", *words))
    rows = [
        np.load(one / "trace" / "rank-00000.npy") for one in (over_files, over_layout, over_bytes)
    ]
    checkpoint = 4
    data = [one[one["class"] != checkpoint] for one in rows]
    assert np.array_equal(data[0], data[1])
    assert np.array_equal(data[0], data[2])
    measured = np.load(result.parent / "trace" / "rank-00000.npy")
    assert len(measured) == len(rows[0])


def test_the_size_is_the_originals_unless_it_is_given(tmp_path):
    words = ("--holes", "--dry-run", "--data", tmp_path, "--results", tmp_path / "results")
    done = harness("originals", "bert", *words)
    assert done.returncode == 0, done.stderr
    assert "391,434,110,129 bytes in 501 files" in done.stderr
    assert "are not known one by one, and are their mean" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("imseg", "--law", "kits19"), "--law kits19"),
        (("dlrm", "--format", "npz"), "--format npz"),
        (("imseg", "--holes", "--entropy", "natural"), "--entropy natural"),
        (("bert", "--size", "16G"), "GiB"),
    ],
)
def test_what_is_not_the_originals_is_refused(words, said, tmp_path):
    done = harness("originals", *words, "--data", tmp_path, "--results", tmp_path / "results")
    assert refused(done, 2, said)
