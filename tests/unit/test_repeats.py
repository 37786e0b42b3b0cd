"""Runs of a group: the same data, another order, each a whole result, whatever ends the group."""

import json
import os
import shutil
import signal
import time

import pytest

from dsgen.choices import Wanted
from dsgen.workloads import plan
from dsgen.write import generate
from tests.unit.test_harness_endings import popen
from tests.unit.test_harness_refusals import errors, flags, harness


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return what `--data` names: a small data set is there."""
    root = tmp_path_factory.mktemp("repeats") / "data"
    layout = plan("imseg", size_bytes=500_000_000, seed=1, wanted=Wanted(law="small"))
    generate(layout, root / "imseg-npy-500MB-small-s1", processes=2, emit=lambda _: None)
    return root


@pytest.fixture(scope="module")
def group(data, tmp_path_factory):
    """Return the directory of three runs, and what they said."""
    root = tmp_path_factory.mktemp("group")
    done = harness("train", "imseg", *flags(root, "--data", data, "--repeat", 3))
    assert done.returncode == 0, done.stderr
    (directory,) = (root / "results" / "imseg").glob("*-x3")
    return directory, done


def runs(directory):
    """Return the results of a group by their index."""
    found = [json.loads(path.read_text()) for path in directory.glob("2*/result.json")]
    return sorted(found, key=lambda result: result["repeat"]["index"])


def test_each_run_is_a_whole_result(group):
    directory, _ = group
    results = runs(directory)
    assert [result["repeat"]["index"] for result in results] == [1, 2, 3]
    assert all(result["self_check"]["passed"] for result in results)
    for result in results:
        home = directory / result["run_id"]
        assert (home / "report.html").stat().st_size > 10_000
        assert "3, seed" in (home / "report.html").read_text()
    assert {result["repeat"]["group"] for result in results} == {directory.name}


def test_the_data_stays_and_the_order_changes(group):
    import numpy as np

    directory, _ = group
    results = runs(directory)
    assert {result["dataset"]["seed"] for result in results} == {1}
    assert len({result["dataset"]["content_crc32c"] for result in results}) == 1
    assert [result["repeat"]["seed"] for result in results] == [1, 2, 3]
    orders, declared = [], []
    for result in results:
        home = directory / result["run_id"]
        orders.append(tuple(np.load(home / "trace/rank-00000.npy")["file"]))
        declared.append(tuple(np.load(home / "steps/rank-00000.npy")["declared_ns"]))
    assert len(set(orders)) == 3
    assert len(set(declared)) == 3


def test_the_first_run_is_the_one_without_repeats(group, data, tmp_path):
    import numpy as np

    directory, _ = group
    done = harness("train", "imseg", *flags(tmp_path, "--data", data))
    assert done.returncode == 0
    (path,) = (tmp_path / "results" / "imseg").glob("2*/steps/rank-00000.npy")
    assert json.loads((path.parents[1] / "result.json").read_text())["repeat"] is None
    first = directory / runs(directory)[0]["run_id"] / "steps/rank-00000.npy"
    assert np.array_equal(np.load(path)["declared_ns"], np.load(first)["declared_ns"])


def test_the_group_names_its_runs_and_is_named_last(group):
    directory, done = group
    told = json.loads((directory / "group.json").read_text())
    assert told["repeats"] == 3
    assert [run["status"] for run in told["runs"]] == ["ok"] * 3
    paths = [str(directory / run["result"]) for run in told["runs"]]
    assert done.stdout.splitlines() == [*paths, str(directory / "group.json")]
    assert any(line.startswith("runs    bandwidth") for line in done.stderr.splitlines())


def test_a_group_is_compared_with_another(group, data, tmp_path):
    directory, _ = group
    done = harness("train", "imseg", *flags(tmp_path, "--data", data, "--repeat", 2))
    assert done.returncode == 0, done.stderr
    done = harness("compare", directory, tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert f"{directory}: 3 runs" in done.stdout
    assert "B against A" in done.stdout


def test_an_interruption_keeps_what_is_done(data, tmp_path):
    words = ["train", "imseg", *flags(tmp_path, "--data", data, "--repeat", 50, "--epochs", 2)]
    with popen(words, stdout=-1, stderr=-1) as child:
        done = [child.stdout.readline().strip() for _ in range(2)]
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    (directory,) = (tmp_path / "results" / "imseg").glob("*-x50")
    assert said.splitlines()[-1].endswith(f"; its group is {directory}")
    results = runs(directory)
    whole = [result for result in results if result["status"] == "ok"]
    assert len(whole) >= 2
    assert {str(directory / result["run_id"] / "result.json") for result in whole} >= set(done)
    told = json.loads((directory / "group.json").read_text())
    assert [run["status"] for run in told["runs"]] == [result["status"] for result in results]
    assert not list(directory.glob(".*"))
    assert len(whole) == len(results) or results[-1]["status"] == "interrupted"


def test_a_killed_group_keeps_what_is_done(data, tmp_path):
    words = ["train", "imseg", *flags(tmp_path, "--data", data, "--repeat", 50, "--epochs", 2)]
    with popen(words, stdout=-1, stderr=-1, start_new_session=True) as child:
        for _ in range(2):
            child.stdout.readline()
        child.kill()
        child.communicate(timeout=60)
    (directory,) = (tmp_path / "results" / "imseg").glob("*-x50")
    told = json.loads((directory / "group.json").read_text())
    assert len(told["runs"]) >= 1
    done = harness("compare", directory, directory / told["runs"][0]["result"])
    assert done.returncode == 22
    assert "is on both sides" in done.stderr


def test_a_run_that_fails_ends_the_group_and_leaves_the_others(data, tmp_path):
    own = tmp_path / "data"
    shutil.copytree(data, own, copy_function=os.link)
    words = ["train", "imseg", *flags(tmp_path, "--repeat", 50)]
    with popen(words, stdout=-1, stderr=-1) as child:
        child.stdout.readline()
        for path in own.glob("*/case_0000*_x.npy"):
            path.unlink()
        _, said = child.communicate(timeout=120)
    assert child.returncode == 6
    assert "Traceback" not in said
    (directory,) = (tmp_path / "results" / "imseg").glob("*-x50")
    statuses = [result["status"] for result in runs(directory)]
    assert statuses[0] == "ok"
    assert len(statuses) < 50


def test_without_a_data_set_nothing_is_left(tmp_path):
    (tmp_path / "data").mkdir()
    done = harness("train", "imseg", *flags(tmp_path, "--repeat", 2))
    assert done.returncode == 6
    assert len(errors(done)) == 1
    assert not list((tmp_path / "results").rglob("*x2"))


def test_one_below_the_mark_makes_the_exit_code_and_ends_nothing(data, tmp_path):
    done = harness(
        "train", "imseg", *flags(tmp_path, "--data", data, "--repeat", 2, "--require-au", 1)
    )
    assert done.returncode == 20
    (directory,) = (tmp_path / "results" / "imseg").glob("*-x2")
    assert [result["exit_code"] for result in runs(directory)] == [20, 20]


def test_with_json_the_group_is_the_last_event(data, tmp_path):
    done = harness("train", "imseg", *flags(tmp_path, "--data", data, "--repeat", 2, "--json"))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["kind"] for event in events].count("result") == 2
    assert events[-1]["kind"] == "group"
    assert events[-1]["exit_code"] == 0


def test_memory_that_earlier_runs_fill_is_told(data, tmp_path):
    words = flags(tmp_path, "--data", data, "--repeat", 2, "--cache", "asis")
    assert harness("train", "imseg", *words).returncode == 0
    (directory,) = (tmp_path / "results" / "imseg").glob("*-x2")
    for result in runs(directory):
        assert any("what the one before left there" in text for text in result["warnings"])


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many"])
def test_what_is_no_number_of_runs_is_refused(tmp_path, count):
    done = harness("train", "imseg", *flags(tmp_path, f"--repeat={count}"))
    assert done.returncode == 2
    assert "repeat is" in errors(done)[0]


def test_a_dry_run_tells_of_the_seeds(tmp_path):
    done = harness("benchmark", "imseg", *flags(tmp_path, "--dry-run", "--repeat", 4))
    assert "4 runs, seeds 1 to 4 of order and step times" in done.stderr
    assert list(tmp_path.iterdir()) == []
