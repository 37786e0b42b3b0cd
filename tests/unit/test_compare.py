"""What `compare` says of results that are there, and what it does about those that are not."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import msgspec
import pytest

from dsgen.manifest import Allocation, ManifestFile
from harness.analysis.likeness import differing_facts
from harness.analysis.repeat import Repeat
from harness.commands import main
from harness.compare.command import FORMATS
from harness.compare.read import read_runs
from harness.config import Config
from harness.dataset import content_crc32c, planned_manifest
from harness.errors import NotComparableError, ResultError
from harness.result import build_result, write_result
from tests.golden.recordings import MS, Plan, facts, record
from tests.unit.test_config import run

BASE = facts(2)


def result(load_ms=50.0, *, run_id="20261124T020000Z-000000", repeat=None, **changes):
    """Return the result of a run whose loads take so long; facts are merged by their part."""
    loads = [[[round(load_ms * MS)] * 8] * 2]
    recording = record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 8]))
    merged = {
        name: {**getattr(BASE, name), **value} if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    merged.setdefault("dataset", {**BASE.dataset, "content_crc32c": "0badcafe"})
    if "dataset" in changes:
        merged["dataset"] = {"content_crc32c": "0badcafe", **merged["dataset"]}
    return build_result(recording, facts(2, run_id=run_id, repeat=repeat, **merged))


def put(directory, result):
    (directory / result.run_id).mkdir(parents=True)
    return write_result(result, directory / result.run_id)


def side(directory, loads_ms, day=24, **changes):
    """Write a run for each load time, and return their directory."""
    for number, load_ms in enumerate(loads_ms):
        put(directory, result(load_ms, run_id=f"202611{day}T02000{number}Z-abcdef", **changes))
    return directory


A = (50.0, 50.1, 49.9, 50.05)
SLOWER = (56.0, 56.1, 55.9, 56.05)  # 156 against 150 ms a step: 3.8 % less of everything


def compare(*words):
    return main(["compare", *map(str, words)])


def test_fewer_bytes_in_the_same_time_are_slower(tmp_path, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", SLOWER, day=25)
    assert compare(a, b) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1].startswith("B is slower: bandwidth -3.8")
    assert "load time p50" in said
    assert compare(b, a) == 0
    assert "B is faster: bandwidth +4." in capsys.readouterr().out


def test_equal_sides_are_not_told_apart(tmp_path, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", reversed(A), day=25)
    assert compare(a, b, "--fail-on-regression", "2%") == 0
    said = capsys.readouterr().out
    assert "No significant difference of 1 % or more; the intervals leave room for -0." in said


@pytest.mark.parametrize(("limit", "code"), [("2%", 21), ("0.02", 21), ("0%", 21), ("5%", 0)])
def test_a_regression_has_its_exit_code(tmp_path, limit, code, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", SLOWER, day=25)
    assert compare(a, b, "--fail-on-regression", limit) == code
    assert ("Regression of more than" in capsys.readouterr().out) is (code == 21)
    assert compare(b, a, "--fail-on-regression", limit) == 0


@pytest.mark.parametrize("share", ["2", "2 percent", "-1%", "", "100%", "nan", "1e-3", "٢%"])
def test_what_is_no_share_is_refused(tmp_path, share, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25)
    with pytest.raises(SystemExit) as ended:
        compare(a, b, f"--fail-on-regression={share}")
    assert ended.value.code == 2
    assert "give it as 2% or 0.02" in capsys.readouterr().err


def test_a_smaller_difference_than_the_least_is_none(tmp_path, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", SLOWER, day=25)
    assert compare(a, b, "--min-effect", "10%") == 0
    assert "No significant difference of 10 % or more" in capsys.readouterr().out


def test_one_run_gives_a_ratio_and_claims_nothing(tmp_path, capsys):
    a, b = side(tmp_path / "a", A[:1]), side(tmp_path / "b", SLOWER, day=25)
    assert compare(a, b) == 0
    said = capsys.readouterr().out
    assert "-3.85 %" in said
    assert "not tested" in said
    assert "A side has one run" in said.splitlines()[-1]
    assert compare(a, b, "--fail-on-regression", "2%") == 22
    assert "a regression cannot be told from one run" in capsys.readouterr().err


def test_a_result_is_named_by_its_file_its_directory_or_one_above(tmp_path):
    path = put(tmp_path / "imseg" / "group", result())
    for name in (path, path.parent, path.parent.parent, tmp_path):
        assert [run.run_id for run in read_runs(name).results] == [path.parent.name]


def test_links_to_runs_are_followed_and_none_for_ever(tmp_path):
    run = put(tmp_path / "runs", result()).parent
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    (chosen / "one").symlink_to(run)
    (chosen / "self").symlink_to(chosen)
    (chosen / "loop").symlink_to(chosen / "loop")
    (chosen / "broken").symlink_to(chosen / "absent")
    runs = read_runs(chosen)
    assert len(runs.results) == 1
    assert runs.left_out == ()


def test_a_copy_of_a_run_counts_once_and_is_told(tmp_path):
    run = put(tmp_path, result()).parent
    shutil.copytree(run, tmp_path / "copy")
    runs = read_runs(tmp_path)
    assert len(runs.results) == 1
    assert "is a copy of run" in runs.left_out[0]


def test_a_run_on_both_sides_is_refused(tmp_path, capsys):
    a = side(tmp_path / "a", A)
    assert compare(a, a) == 22
    assert "is on both sides" in capsys.readouterr().err


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_runs_that_did_not_end_well_are_left_out_by_name(tmp_path, status, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25)
    bad = put(b, result(90.0, run_id="20261126T020000Z-badbad", status=status, exit_code=8))
    assert compare(a, b) == 0
    said = capsys.readouterr().out
    assert f"left out: {bad} is of a run that" in said
    assert "b: 4 runs" in said
    assert compare(a, bad) == 22
    assert "no figures to compare" in capsys.readouterr().err


def test_runs_without_a_verdict_are_told(tmp_path, capsys):
    unknown = {"target": {"byte_source": "none"}}
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25, **unknown)
    assert compare(a, b) == 0
    assert "4 of 4 runs without a verdict: No verdict: how much came" in capsys.readouterr().out


def test_an_incomplete_group_is_told(tmp_path, capsys):
    for index in (1, 2):
        repeat = Repeat(group="g", index=index, of=5, seed=index)
        put(tmp_path / "g", result(run_id=f"20261124T02000{index}Z-aaaaaa", repeat=repeat))
    assert compare(tmp_path / "g", side(tmp_path / "b", A, day=25)) == 0
    assert "2 of the 5 runs of group g are compared" in capsys.readouterr().out


OTHER_WORK = {
    "workload": {"dataset": {"workload": "bert"}},
    "content": {"dataset": {"content_crc32c": "deadbeef"}},
    "law": {"dataset": {"law": "small"}},
    "bytes": {"dataset": {"bytes": 9_000}},
    "accelerators": {"accelerators": {"count": 4}},
    "batch": {"accelerators": {"batch_size": 4}},
    "profile": {"accelerators": {"profile": "a100"}},
    "engine": {"engine": {"name": "docker"}},
    "cache": {"config": {"cache": "once"}},
    "epochs": {"config": {"epochs": 2}},
    "memory": {"config": {"memory_bytes": 1}},
}


@pytest.mark.parametrize("kind", OTHER_WORK)
def test_other_work_is_refused_unless_it_is_forced(tmp_path, kind, capsys):
    base = {"config": {"memory_bytes": None}} if kind == "memory" else {}
    a = side(tmp_path / "a", A, **base)
    b = side(tmp_path / "b", SLOWER, day=25, **OTHER_WORK[kind])
    assert compare(a, b) == 22
    said = capsys.readouterr()
    assert "not comparable" in said.out
    assert "load time" not in said.out
    assert len(said.err.splitlines()) == 1
    assert "--force" in said.err
    assert compare(a, b, "--force") == 0
    said = capsys.readouterr().out
    assert "Forced, though the work was not the same" in said
    assert "B is slower" in said


def test_unlike_runs_on_one_side_are_refused_as_well(tmp_path):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25)
    put(b, result(run_id="20261127T020000Z-aaaaaa", config={"cache": "once"}))
    assert compare(a, b) == 22


def test_data_out_of_memory_is_not_compared_with_data_from_the_device():
    cold, warm = result(), result()
    warm = msgspec.structs.replace(warm, client="warm")
    (told,) = differing_facts([cold], [warm])
    assert (told.fact, told.forbids) == ("client memory", True)
    unknown = msgspec.structs.replace(warm, client="unknown")
    (told,) = differing_facts([cold], [unknown])
    assert told.forbids is False


def test_a_verdict_withheld_for_memory_is_not_compared_with_one_that_was_given():
    given = result()
    withheld = msgspec.structs.replace(given.verdict, outcome="withheld", limit="memory")
    (told,) = differing_facts([given], [msgspec.structs.replace(given, verdict=withheld)])
    assert (told.fact, told.forbids) == ("verdict", True)
    unsure = msgspec.structs.replace(withheld, limit="undecided")
    (told,) = differing_facts([given], [msgspec.structs.replace(given, verdict=unsure)])
    assert told.forbids is False  # what is not known contradicts nothing, and is told


def test_content_is_that_of_the_files_and_of_nothing_else():
    def manifest(crc32c, holes_bytes=0, path="a", size_bytes=3):
        file = ManifestFile(
            path=path,
            role="train",
            file_class="x",
            bytes=size_bytes,
            samples=1,
            crc32c=crc32c,
            segments=(),
        )
        plain = planned_manifest(run("--size", "100MB"))
        allocation = Allocation(holes_bytes=holes_bytes, shared_bytes=None)
        return replace(plain, files=(file,), allocation=allocation)

    one = content_crc32c(manifest(7))
    assert content_crc32c(manifest(7, holes_bytes=4096)) == one
    others = [manifest(8), manifest(7, path="b"), manifest(7, size_bytes=4)]
    assert len({one, *map(content_crc32c, others)}) == 4
    assert content_crc32c(manifest(None)) is None


def test_other_storage_and_software_are_told_and_compared(tmp_path, capsys):
    a = side(tmp_path / "a", A)
    b = side(
        tmp_path / "b",
        A,
        day=25,
        target={"path": "/mnt/other", "fs_type": "ext4"},
        system={"kernel": "7.0.0"},
        config={"data": "/mnt/other", "max_duration_s": 5},
    )
    assert compare(a, b) == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.split("\n\n")[0].splitlines()[1:]]
    assert ["system.kernel", "6.8.0", "7.0.0"] in lines
    assert ["target.path", "/mnt/array", "/mnt/other"] in lines
    assert "not comparable" not in said


def test_a_long_value_is_cut_where_it_shows_least(tmp_path, capsys):
    long = "/mnt/" + "very/" * 20
    a = side(tmp_path / "a", A, target={"path": f"{long}old"})
    b = side(tmp_path / "b", A, day=25, target={"path": f"{long}new"})
    compare(a, b)
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("target.path"))
    first, second = line.split()[1:]
    assert first.endswith("old")
    assert second.endswith("new")
    assert len(first) == len(second) == 48


def test_facts_come_first_and_the_answer_last(tmp_path, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", SLOWER, day=25, system={"kernel": "7"})
    compare(a, b)
    said = capsys.readouterr().out
    assert said.index("system.kernel") < said.index("bandwidth") < said.index("B is slower")


def test_seeds_of_the_order_are_told_where_the_sides_differ():
    def runs(*seeds):
        repeats = [Repeat(group="g", index=seed, of=3, seed=seed) for seed in seeds]
        return [result(repeat=repeat) for repeat in repeats]

    assert differing_facts(runs(1, 2, 3), runs(1, 2, 3)) == []
    (told,) = differing_facts(runs(1, 2, 3), runs(1, 2))
    assert (told.fact, told.forbids) == ("seed of the order", False)


def test_waits_that_were_spun_on_one_side_only_are_told():
    def run(used):
        return msgspec.structs.replace(result(), worker={"spin": {"used": used}})

    (told,) = differing_facts([run(True)], [run(False)])
    assert (told.fact, told.forbids) == ("waits were spun", False)
    assert (told.a, told.b) == (["true"], ["false"])
    assert differing_facts([run(True)], [run(True)]) == []


def test_an_option_that_nobody_thought_of_forbids():
    told = differing_facts([result(config={"new": 1})], [result(config={"new": 2})])
    assert [(one.fact, one.forbids) for one in told] == [("config.new", True)]
    (told,) = differing_facts([result()], [result(config={"new": 2})])
    assert told.forbids is False  # an older version had no such option


def test_options_that_are_named_are_options():
    from harness.analysis import likeness

    known = {field.name for field in msgspec.structs.fields(Config)}
    named = {*likeness._FREE_OPTIONS}
    named |= {name.split(".")[1] for name in likeness._HIDDEN if name.startswith("config.")}
    assert named <= known


@pytest.mark.parametrize("version", [0, 2, None])
def test_another_schema_is_not_compared(tmp_path, version, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25)
    path = next(b.glob("*/result.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": version}))
    assert compare(a, b) == 22
    said = capsys.readouterr().err
    assert f"result of schema {version}" in said
    assert str(path) in said
    assert len(said.splitlines()) == 1


def test_a_broken_result_is_named(tmp_path, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25)
    path = next(b.glob("*/result.json"))
    path.write_bytes(path.read_bytes()[:-900])
    assert compare(a, b) == 11
    said = capsys.readouterr().err
    assert str(path) in said
    assert len(said.splitlines()) == 1


def test_a_directory_without_results_is_refused(tmp_path):
    with pytest.raises(ResultError, match="no result"):
        read_runs(tmp_path / "absent")
    (tmp_path / "empty" / "logs").mkdir(parents=True)
    with pytest.raises(ResultError, match=r"no result: .*; give a result.json"):
        read_runs(tmp_path / "empty")


def test_a_directory_of_a_run_that_was_killed_is_refused(tmp_path):
    half = tmp_path / ".20261124T020000Z-abcdef.partial"
    (half / "steps").mkdir(parents=True)
    for name in (half, tmp_path):
        with pytest.raises(ResultError, match="its run did not end"):
            read_runs(name)
    put(tmp_path, result())
    runs = read_runs(tmp_path)
    assert len(runs.results) == 1
    assert str(half) in runs.left_out[0]


def test_a_plan_is_no_run_that_did_not_end(tmp_path):
    planned = tmp_path / "20261124T020000Z-abcdef-plan"
    (planned / "steps").mkdir(parents=True)
    (planned / "spec.json").touch()
    for name in (planned, tmp_path):
        with pytest.raises(ResultError, match=r"no result: .*; give a result.json"):
            read_runs(name)
    put(tmp_path, result())
    assert read_runs(tmp_path).left_out == ()


def test_a_directory_that_may_not_be_read_is_an_error_and_not_left_out(tmp_path, monkeypatch):
    put(tmp_path, result())
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if path == tmp_path / "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("harness.compare.read.os.scandir", refuse)
    with pytest.raises(ResultError, match=r"cannot be read \(Permission denied\): .*closed"):
        read_runs(tmp_path)


@pytest.mark.root
def test_a_path_that_may_not_be_looked_at_is_said(tmp_path):
    path = put(tmp_path, result()).parent
    script = (
        "import os\nfrom pathlib import Path\nfrom harness.compare.read import read_runs\n"
        f"os.setuid(65534)\nread_runs(Path({str(path)!r}))"
    )
    tmp_path.chmod(0o700)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ResultError: no result (Permission denied)" in done.stderr


def without(run, *names):
    """Return a result without some of its figures, as preparing for a training has none of AU."""
    changes = {name: replace_value(getattr(run.metrics, name)) for name in names}
    return msgspec.structs.replace(run, metrics=msgspec.structs.replace(run.metrics, **changes))


def replace_value(figure):
    return msgspec.structs.replace(figure, value=None)


def test_what_has_no_utilisation_is_compared_by_its_bytes(tmp_path, capsys):
    for name, loads, day in (("a", A, 24), ("b", SLOWER, 25)):
        for number, load_ms in enumerate(loads):
            run_id = f"202611{day}T02000{number}Z-abcdef"
            put(tmp_path / name, without(result(load_ms, run_id=run_id), "au"))
    assert compare(tmp_path / "a", tmp_path / "b", "--fail-on-regression", "2%") == 21
    said = capsys.readouterr().out
    assert "B is slower: bandwidth -3.8" in said
    assert ["AU", "unknown", "unknown", "unknown", "no", "figure"] in [
        line.split() for line in said.splitlines()
    ]


def test_without_any_figure_nothing_is_told(tmp_path, capsys):
    gone = ("au", "bandwidth_bytes_per_s", "throughput_samples_per_s")
    for name, day in (("a", 24), ("b", 25)):
        for number in range(2):
            run_id = f"202611{day}T02000{number}Z-abcdef"
            put(tmp_path / name, without(result(run_id=run_id), *gone))
    assert compare(tmp_path / "a", tmp_path / "b") == 0
    assert "Nothing is told" in capsys.readouterr().out.splitlines()[-1]
    assert compare(tmp_path / "a", tmp_path / "b", "--fail-on-regression", "2%") == 22
    assert "because figures are missing" in capsys.readouterr().err


def test_json_has_every_figure(tmp_path, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", SLOWER, day=25)
    compare(a, b, "--format", "json", "--fail-on-regression", "2%")
    told = json.loads(capsys.readouterr().out)
    assert (told["schema_version"], told["outcome"]) == (1, "slower")
    assert len(told["a"]["runs"]) == 4
    bandwidth = told["metrics"][0]
    assert bandwidth["name"] == "bandwidth"
    assert bandwidth["word"] == "slower"
    assert bandwidth["regressed"] is True
    assert bandwidth["ratio"]["low"] < bandwidth["ratio"]["value"] < bandwidth["ratio"]["high"] < 1
    assert len(bandwidth["a_values"]) == 4


def test_markdown_is_a_page_of_its_own(tmp_path, capsys):
    a = side(tmp_path / "a|<b>_", A)
    b = side(tmp_path / "b", SLOWER, day=25, system={"kernel": "a|b"})
    compare(a, b, "--format", "markdown")
    said = capsys.readouterr().out
    assert said.startswith("**B is slower: ")
    assert r"a\|\<b\>\_" in said
    assert r"| system.kernel | 6.8.0 | a\|b |" in said


def test_junit_fails_what_regressed(tmp_path):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", SLOWER, day=25, system={"kernel": "<&>"})
    out = tmp_path / "out.xml"
    words = ("--format", "junit", "--output", out)
    assert compare(a, b, *words, "--fail-on-regression", "2%") == 21
    suite = ElementTree.parse(out).getroot().find("testsuite")
    failed = [
        case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None
    ]
    assert failed == ["bandwidth", "throughput", "AU"]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "3", "0")
    assert compare(a, b, *words) == 0
    assert ElementTree.parse(out).getroot().find("testsuite").get("failures") == "0"


def test_junit_tells_a_refusal_as_an_error(tmp_path):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25, config={"cache": "once"})
    out = tmp_path / "out.xml"
    assert compare(a, b, "--format", "junit", "--output", out) == 22
    suite = ElementTree.parse(out).getroot().find("testsuite")
    assert suite.find("testcase/error").get("message").startswith("Not comparable: config.cache")
    assert suite.get("errors") == "1"


def test_junit_says_that_it_was_forced(tmp_path):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25, config={"cache": "once"})
    out = tmp_path / "out.xml"
    assert compare(a, b, "--format", "junit", "--output", out, "--force") == 0
    said = ElementTree.parse(out).getroot().find("testsuite/system-out").text
    assert "Forced, though the work was not the same: config.cache." in said


def test_every_format_that_can_be_asked_for_has_a_renderer_and_no_other_has_one():
    from harness.compare import answer

    assert set(FORMATS) == set(answer._RENDERERS)


def test_junit_skips_what_was_not_tested(tmp_path):
    a, b = side(tmp_path / "a", A[:1]), side(tmp_path / "b", A, day=25)
    out = tmp_path / "out.xml"
    assert compare(a, b, "--format", "junit", "--output", out) == 0
    suite = ElementTree.parse(out).getroot().find("testsuite")
    assert suite.get("skipped") == "4"
    assert "A side has one run" in suite.find("system-out").text


def test_junit_has_the_doubts_of_each_side(tmp_path):
    unknown = {"target": {"byte_source": "none"}}
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25, **unknown)
    out = tmp_path / "out.xml"
    assert compare(a, b, "--format", "junit", "--output", out) == 0
    said = ElementTree.parse(out).getroot().find("testsuite/system-out").text
    assert "B: 4 of 4 runs without a verdict" in said


def test_an_output_that_cannot_be_written_is_said_and_nothing_is_left(tmp_path, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25)
    for where in (tmp_path / "none" / "out", tmp_path / "a"):
        assert compare(a, b, "--output", where) == 7
        assert "cannot write" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_an_output_is_written_and_text_is_shown(tmp_path, capsys):
    a, b = side(tmp_path / "a", A), side(tmp_path / "b", A, day=25)
    assert compare(a, b, "--format", "json", "--output", tmp_path / "out.json") == 0
    assert json.loads((tmp_path / "out.json").read_text())["regression_limit"] is None
    assert "No significant difference" in capsys.readouterr().out
    assert compare(a, b, "--output", "/dev/null") == 0


def test_schema_is_told_apart_from_a_broken_file(tmp_path):
    path = put(tmp_path, result())
    path.write_text('{"schema_version": 9}')
    with pytest.raises(NotComparableError):
        read_runs(path)
