"""`python -m harness plan`: a directory as a run leaves it, or one line that says why not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.commands import main
from harness.recordings import read_recording
from harness.worker.record import ROW
from tests.unit.test_harness_refusals import harness, refused
from tests.unit.worker_run import make_data_set

SMALL = ("--size", "100MB", "--accelerators", "2", "--batch-size", "512", "--epochs", "2")


@pytest.fixture
def planned(tmp_path, capsys):
    """Return what plans in this process, and returns the directory: starting takes longer."""

    def run(*words):
        places = ("--data", tmp_path / "data", "--results", tmp_path / "results")
        code = main([str(word) for word in ("plan", *words, *places)])
        said = capsys.readouterr()
        assert code == 0, said.err
        return Path(said.out.splitlines()[-1])

    return run


def test_a_plan_is_read_as_a_recording(tmp_path, planned):
    directory = planned("dlrm", "--profile", "ci", *SMALL)
    assert not (tmp_path / "data").exists()
    recording = read_recording(directory)
    assert recording.ranks == 2
    assert [len(rows) > 0 for rows in recording.rows] == [True, False]  # one reads for all
    rows = recording.rows[0]
    assert rows.dtype == ROW
    assert set(rows["file"].tolist()) <= set(recording.files)
    # Two epochs of 625,000 training rows, and one of the test rows.
    data = rows[rows["requested"] == 2 * 512 * 160]
    assert data["returned"].sum() == 2 * 625_000 * 160
    assert recording.worker.status == "planned"


def test_two_plans_are_equal_and_another_seed_gives_another_order(planned):
    words = ("imseg", "--profile", "ci", "--law", "small", "--size", "1GB", *SMALL[2:4])
    words = (*words, "--batch-size", "2", "--epochs", "2", "--eval-from", "0")
    rows = [
        np.load(planned(*words, "--seed", seed) / "trace" / "rank-00000.npy") for seed in (1, 1, 2)
    ]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0]["file"], rows[2]["file"])


def test_plans_are_recordings_that_similarity_compares(tmp_path, planned):
    words = ("imseg", "--profile", "ci", "--size", "4GB", *SMALL[2:4], "--batch-size", "2")
    words = (*words, "--epochs", "3", "--eval-from", "0", "--checkpoint", "none")
    sides = {
        side: [planned(*words, "--law", law, "--seed", seed) for seed in (1, 2, 3)]
        for side, law in (("original", "original"), ("generated", "small"))
    }
    flags = [flag for side, runs in sides.items() for run in runs for flag in (f"--{side}", run)]
    words = ["similarity", "imseg", *flags, "--output", tmp_path / "similarity"]
    assert main([str(word) for word in words]) == 0
    document = json.loads((tmp_path / "similarity" / "similarity.json").read_text())
    data = document["data"]
    assert data["time_withheld"] == "planned calls have no times"
    assert data["T"] is None
    # The smallest cases only: that is not the original.
    assert data["L"] < 0.95 < data["floor"]["L"]
    assert document["holds"] is False


def test_a_users_own_data_is_planned_in_place_and_only_opened(tmp_path, planned):
    data = make_data_set(tmp_path / "data", train=8, evaluation=2)
    (data / "manifest.json").unlink()
    (data / ".feedrate.lock").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in data.iterdir()}
    words = ("--profile", "ci", "--accelerators", "1", "--batch-size", "1", "--eval-from", "0")
    words = (*words, "--epochs", "1")
    directory = planned("imseg", *words)
    assert {path.name: path.stat().st_mtime_ns for path in data.iterdir()} == before
    files = json.loads((directory / "trace" / "files.json").read_text())
    assert {Path(file["path"]).name for file in files.values()} == set(before)
    recording = read_recording(directory)
    sizes = {number: file.size_bytes for number, file in recording.files.items()}
    rows = recording.rows[0]
    read = {
        number: rows["returned"][(rows["file"] == number) & (rows["op"] == 2)].sum()
        for number in np.unique(rows["file"]).tolist()
    }
    # np.load reads the header three times: once by Python's block, and twice by the C library.
    assert {number: read[number] - sizes[number] for number in read} == dict.fromkeys(
        read, 4096 + 128
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("bert", "--loader", "tfdata", "--min-files", "200"), 2, "cannot be planned"),
        (("imseg", "--size", "10MB"), 6, "training cases"),
        (("bert", "--size", "1MB"), 6, "pipelines"),
        (("dlrm", "--size", "16G"), 2, "GiB"),
    ],
)
def test_what_cannot_be_planned_is_refused_and_leaves_nothing(tmp_path, words, code, said):
    results = tmp_path / "results"
    done = harness("plan", *words, "--data", tmp_path / "data", "--results", results)
    assert refused(done, code, said)
    assert not list(results.rglob("*.npy"))


def test_results_that_cannot_take_it_are_named(tmp_path):
    results = tmp_path / "results"
    results.write_text("a file")
    words = ("--profile", "ci", *SMALL, "--data", tmp_path / "data", "--results", results)
    done = harness("plan", "dlrm", *words)
    assert refused(done, 7, str(results))


def test_a_data_set_that_lost_a_file_is_refused(tmp_path):
    data = make_data_set(tmp_path / "data", train=8, evaluation=2)
    shutil.move(data / "case_00003_x.npy", tmp_path)
    words = ("--profile", "ci", "--accelerators", "1", "--batch-size", "1", "--eval-from", "0")
    results = ("--data", data, "--results", tmp_path / "results")
    done = harness("plan", "imseg", *words, *results)
    assert refused(done, 6, "case_00003_x.npy")
