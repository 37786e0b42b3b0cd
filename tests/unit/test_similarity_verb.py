"""The verb: what stands in similarity.json and on the page, and what is refused in one line."""

import json
import re
from dataclasses import asdict

import numpy as np
import pytest

from dsgen.errors import ExitCode
from dsgen.workloads import WORKLOADS
from harness.commands import main
from harness.fidelity.run import CLASSES
from harness.similarity.components import CALL_COMPONENTS, TIME_COMPONENTS
from harness.similarity.document import CONTROL_BELOW
from harness.worker.record import FileClass
from tests.property.patterns import scaled_sizes, slowed, stream, volumes

SIZES = [number * 300_000 for number in range(4, 20)]
MEMORY = 10**12
SIDES = ("--original", "--generated", "--original", "--generated")


def write(directory, pattern, **result):
    """Write a pattern as a result would have it."""
    trace = directory / "trace"
    trace.mkdir(parents=True)
    for rank in np.unique(pattern.rows["rank"]):
        own = pattern.rows[pattern.rows["rank"] == rank]
        np.save(trace / f"rank-{rank:05d}.npy", own)
    files = {}
    for number, file in pattern.files.items():
        facts = asdict(file)
        files[str(number)] = facts | {"class": int(facts.pop("file_class"))}
    (trace / "files.json").write_text(json.dumps(files))
    facts = {"config": {"memory_bytes": MEMORY}, "dataset": {"allocation": {"holes_bytes": 0}}}
    (directory / "result.json").write_text(json.dumps(facts | result))
    return directory


@pytest.fixture
def runs(tmp_path):
    """Write runs of some seeds of each side, and return the words that name them."""

    def make(seeds=(1, 2, 3), sides=("reference", "original", "generated"), factor=1.0):
        words = []
        for offset, side in enumerate(sides):
            for seed in seeds:
                pattern = volumes(SIZES, seed=10 * offset + seed, ranks=2, batch_size=2)
                if side == "generated":
                    pattern = scaled_sizes(pattern, factor)
                words += [f"--{side}", str(write(tmp_path / f"{side}{seed}", pattern))]
        return words

    return make


@pytest.fixture
def similarity(tmp_path, capsys):
    """Run the verb; return its exit code, document, page, and what it said."""

    def run(*words, workload="imseg"):
        code = main(["similarity", workload, *words, "--output", str(tmp_path / "found")])
        said = capsys.readouterr()
        document = tmp_path / "found/similarity.json"
        if not document.exists():
            return code, None, "", said.err
        assert said.out.strip() == str(document)
        page = document.with_suffix(".html").read_text()
        return code, json.loads(document.read_text()), page, said.err

    return run


def test_three_numbers_with_their_floor_interval_and_statement(runs, similarity, tmp_path):
    control = write(tmp_path / "control", stream(size_bytes=10**8))
    code, document, page, said = similarity(*runs(), "--control", str(control))
    assert code is ExitCode.DONE
    assert document["headline"] == "both"
    for name in ("reader", "data", "both"):
        number = document[name]
        assert 0.8 < number["L"] <= 1
        assert 0.8 < number["T"] <= 1
        assert set(number["components"]) == {*CALL_COMPONENTS, *TIME_COMPONENTS}
        assert number["interval"] > 0
        assert number["pairs"] == 6
        assert number["holds"]
        assert number["holds_time"]
        assert number["interval_time"] > 0
        assert number["statement_time"].startswith("T ")
        assert number["statement_time"] in said
    assert document["floor"] == document["both"]["floor"]
    assert document["interval"] == document["both"]["interval"]
    assert "at the floor" in document["statement"]
    assert document["regime"] == "warm"
    assert document["labels"] == "recorded"
    assert document["notices"] == []
    assert document["components_used"] == [*CALL_COMPONENTS, *TIME_COMPONENTS]
    assert document["negative_control"]["L"] < CONTROL_BELOW
    assert document["negative_control"]["holds"]
    assert document["statement"] in said
    assert document["statement"] in page
    for figure in ("components", "size-calls", "file-bytes", "gaps", "misses", "sizes"):
        assert f'id="figure-{figure}"' in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_other_sizes_are_below_the_floor_and_the_exit_code_is_still_0(runs, similarity):
    code, document, page, _ = similarity(*runs(sides=("original", "generated"), factor=2))
    assert code is ExitCode.DONE
    assert document["headline"] == "data"
    assert document["reader"] is None
    assert document["holds"] is False
    assert "below the floor" in page


def test_slower_calls_are_below_the_floor_of_times_alone(tmp_path, similarity):
    words = []
    for side, slower in (("original", 1), ("generated", 3)):
        for seed in (1, 2, 3):
            pattern = volumes(SIZES, seed=seed, ranks=2, batch_size=2)
            words += [f"--{side}", str(write(tmp_path / f"{side}{seed}", slowed(pattern, slower)))]
    _, document, page, said = similarity(*words)
    assert document["holds"] is True
    assert document["data"]["holds_time"] is False
    assert document["data"]["statement_time"] in page
    assert "at the floor" in said
    assert "T 0." in said
    assert "is below the floor" in said


@pytest.mark.parametrize(("seeds", "word"), [((1,), "no floor"), ((1, 2), "an interval takes 3")])
def test_few_runs_state_less(runs, similarity, seeds, word):
    _, document, _, said = similarity(*runs(seeds=seeds, sides=("original", "generated")))
    assert document["holds"] is None
    assert word in document["statement"]
    assert "control none" in said


def test_every_workload_has_classes_of_its_own():
    assert set(CLASSES) == set(WORKLOADS)
    every = [own for classes in CLASSES.values() for own in classes]
    assert len(set(every)) == len(every)
    assert set(every) <= set(FileClass)


def refused(found, *parts):
    code, document, _, said = found
    assert document is None
    (line,) = said.strip().splitlines()
    for part in parts:
        assert part in line
    return code


def test_sides_that_cannot_be_held_against_one_another_are_refused(runs, similarity, tmp_path):
    words = runs(seeds=(1,))
    assert refused(similarity(*words[:2]), "nothing to compare") is ExitCode.USAGE
    more = [*words[:4], *words[2:4]]
    assert refused(similarity(*more), "1 of --reference, 2 of --original") is ExitCode.USAGE
    (tmp_path / "empty").mkdir()
    absent = [*words[:2], "--original", str(tmp_path / "empty")]
    assert refused(similarity(*absent), "no recording", "empty") is ExitCode.RESULT
    twice = [*words[:4], *words[:4]]
    assert refused(similarity(*twice), "one recording twice", "--reference") is ExitCode.USAGE
    pattern, facts = volumes(SIZES, ranks=2, batch_size=2), {"config": {"seed": 7}}
    seeds = [str(write(tmp_path / name, pattern, **facts)) for name in "abcd"]
    two = [word for pair in zip(SIDES, seeds, strict=True) for word in pair]
    assert refused(similarity(*two), "one seed twice: 7", "--original") is ExitCode.USAGE
    plan, planned = str(write(tmp_path / "plan", pattern)), json.dumps({"seed": 7})
    (tmp_path / "plan/config.json").write_text(planned)
    (tmp_path / "plan/result.json").unlink()
    two = [*two[:4], "--original", plan, "--generated", seeds[3]]
    assert refused(similarity(*two), "one seed twice: 7", "--original") is ExitCode.USAGE
    (tmp_path / "again").symlink_to(words[1])
    same = [*words[:2], "--original", str(tmp_path / "again")]
    said = "again: --reference and --original"
    assert refused(similarity(*same), "one recording twice", said) is ExitCode.USAGE
    other = [*words[:2], "--original", str(write(tmp_path / "other", stream()))]
    assert refused(similarity(*other), "not a recording of imseg", "record") is ExitCode.RESULT
    own = [*words[:4], "--control", words[1]]
    assert refused(similarity(*own), "control of imseg itself") is ExitCode.RESULT


def test_recordings_that_are_damaged_or_without_data_are_refused(runs, similarity, tmp_path):
    words = runs(seeds=(1,), sides=("original",))
    pattern = volumes(SIZES, ranks=2, batch_size=2)
    rows = pattern.rows.copy()
    rows["returned"] = 0
    place = tmp_path / "none"
    write(place, pattern.__class__(rows=rows, files=pattern.files))
    assert refused(similarity(*words, "--generated", str(place)), "no data was read", str(place))
    place = write(tmp_path / "lacking", pattern)
    table = json.loads((place / "trace/files.json").read_text())
    del table["3"]
    (place / "trace/files.json").write_text(json.dumps(table))
    assert refused(similarity(*words, "--generated", str(place)), "rows of 1 files", str(place))
    place = write(tmp_path / "cut", pattern)
    path = place / "trace/rank-00001.npy"
    path.write_bytes(path.read_bytes()[:500])
    assert refused(similarity(*words, "--generated", str(place)), "unreadable rows", path.name)
    place = write(tmp_path / "bare", pattern)
    for path in place.glob("trace/rank-*"):
        path.unlink()
    assert refused(similarity(*words, "--generated", str(place)), "no rows", "strace")


def spoiled(trace, name, damage):
    """Change one document of a recording, or its first rank's rows."""
    path = trace / name
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    elif name.endswith(".npy"):
        rows = np.load(path)
        rows[damage[0]][0] = damage[1]
        np.save(path, rows)
    else:
        document = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(damage(document)))


@pytest.mark.spoils
@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("files.json", lambda own: own | {"0": own["0"] | {"class": None}}, "malformed"),
        ("files.json", lambda own: own | {"0": own["0"] | {"size_bytes": 2**63}}, "a size of"),
        ("files.json", lambda own: own | {"0": own["0"] | {"size_bytes": -1}}, "a size of -1"),
        ("files.json", lambda own: own | {"0": own["0"] | {"size_bytes": "5"}}, "a size of '5'"),
        ("../result.json", lambda own: own | {"memory": {"limit_bytes": None}}, "malformed"),
        ("../result.json", b"[" * 100_000, "unreadable"),
        ("../worker.json", lambda _: {"ranks": [3]}, "malformed"),
        ("../worker.json", lambda _: {"ranks": [{"rows": 10**6}]}, "1,000,000 were written"),
        ("source.json", lambda _: {"dropped": {"other_files": "many"}}, "malformed"),
        ("rank-00000.npy", ("class", 99), "rows of no class"),
        ("rank-00000.npy", ("op", 99), "rows of no op"),
        ("rank-00000.npy", b"\x93NUMPY\x01\x00\xff\x7f{}", "unreadable rows"),
    ],
)
def test_documents_that_nobody_wrote_are_refused(runs, similarity, tmp_path, name, damage, said):
    words = runs(seeds=(1,), sides=("original",))
    place = write(tmp_path / "spoiled", volumes(SIZES, ranks=2, batch_size=2))
    spoiled(place / "trace", name, damage)
    found = similarity(*words, "--generated", str(place))
    assert refused(found, said, str(place)) is ExitCode.RESULT


def test_archives_and_names_that_are_too_long_are_refused(runs, similarity, tmp_path):
    words = runs(seeds=(1,), sides=("original",))
    place = write(tmp_path / "archive", volumes(SIZES, ranks=2, batch_size=2))
    with (place / "trace/rank-00000.npy").open("wb") as file:
        np.savez(file, rows=np.arange(3))
    found = similarity(*words, "--generated", str(place))
    assert refused(found, "rows of another kind", "rank-00000") is ExitCode.RESULT
    found = similarity(*words, "--generated", "n" * 300)
    assert refused(found, "cannot look into it (File name too long)") is ExitCode.RESULT


def test_runs_that_ended_early_and_other_regimes_are_told(runs, similarity, tmp_path):
    words = runs(seeds=(1,), sides=("original",))
    pattern = volumes(SIZES[:-4], ranks=2, batch_size=2)
    cold = {"config": {"memory_bytes": pattern.data_bytes // 2}, "status": "interrupted"}
    place = write(tmp_path / "cold", pattern, **cold)
    _, document, page, said = similarity(*words, "--generated", str(place))
    assert document["data"]["T"] is None
    assert "regimes differ: cold and warm" in said
    assert document["regime"] is None
    assert "the run is interrupted" in page
    assert "Different numbers of files read (train, x): original 16, generated 12." in page


@pytest.mark.spoils
def test_a_run_without_a_result_is_as_the_worker_left_it(runs, similarity, tmp_path):
    words = runs(seeds=(1,), sides=("original",))
    place = write(tmp_path / "killed", volumes(SIZES, ranks=2, batch_size=2))
    (place / "result.json").unlink()
    (place / "worker.json").write_text(json.dumps({"status": "interrupted"}))
    _, _, page, said = similarity(*words, "--generated", str(place))
    assert "the run is interrupted: its calls may not be all" in said
    assert "the run is interrupted" in page


def test_runs_of_other_regimes_are_compared_by_their_calls(runs, similarity, tmp_path):
    words = runs(sides=("original",))
    for seed in (1, 2, 3):
        pattern = volumes(SIZES, seed=seed, ranks=2, batch_size=2)
        cold = {"config": {"memory_bytes": pattern.data_bytes // 2}}
        words += ["--generated", str(write(tmp_path / f"cold{seed}", pattern, **cold))]
    code, document, _, said = similarity(*words)
    assert code is ExitCode.DONE
    assert document["data"]["T"] is None
    assert document["floor"]["T"] is None
    assert set(document["floor"]["components"]) == set(CALL_COMPONENTS)
    assert document["data"]["holds"]
    assert "regimes differ: cold and warm" in said


def test_memory_is_what_ranks_leave_and_a_block_left_out_is_no_hole(similarity, tmp_path):
    pattern = volumes(SIZES, ranks=2, batch_size=2)
    words = []
    for side, need_bytes in (("original", 0), ("generated", pattern.data_bytes)):
        memory = {"limit_bytes": 2 * pattern.data_bytes, "need_bytes": need_bytes}
        dataset = {"bytes": pattern.data_bytes, "allocation": {"holes_bytes": 4096}}
        place = write(tmp_path / side, pattern, memory=memory, dataset=dataset)
        words += [f"--{side}", str(place)]
    _, document, _, said = similarity(*words)
    assert [document["runs"][side][0]["regime"] for side in ("original", "generated")] == [
        "warm",
        "knee",
    ]
    assert "regimes differ: knee and warm" in said


def test_repeats_of_one_configuration_have_seeds_of_their_own(similarity, tmp_path):
    words = []
    for side in ("original", "generated"):
        for index in (1, 2):
            pattern = volumes(SIZES, seed=index, ranks=2, batch_size=2)
            repeat = {"config": {"seed": 7}, "repeat": {"seed": 6 + index}}
            words += [f"--{side}", str(write(tmp_path / f"{side}{index}", pattern, **repeat))]
    code, document, _, _ = similarity(*words)
    assert code is ExitCode.DONE
    assert document["data"]["pairs"] == 2


def test_an_output_that_cannot_be_written_is_told(runs, tmp_path):
    (tmp_path / "found").write_text("a file")
    code = main(["similarity", "imseg", *runs(seeds=(1,)), "--output", str(tmp_path / "found")])
    assert code is ExitCode.PATH


def test_seeds_in_another_order_are_refused(similarity, tmp_path):
    words = []
    for side, seeds in (("original", (1, 2, 3)), ("generated", (2, 3, 1))):
        for seed in seeds:
            pattern, facts = volumes(SIZES, seed=seed, ranks=2, batch_size=2), {"seed": seed}
            place = write(tmp_path / f"{side}{seed}", pattern, config=facts)
            words += [f"--{side}", str(place)]
    said = "seed 2 is run 2 of --original and 1 of --generated"
    assert refused(similarity(*words), said) is ExitCode.USAGE


def test_a_control_without_labels_leaves_the_others_theirs(runs, similarity, tmp_path):
    words = runs(sides=("original", "generated"))
    _, alone, _, _ = similarity(*words)
    control = write(tmp_path / "control", stream(size_bytes=10**8))
    (control / "trace/source.json").write_text(json.dumps({"labelled": False}))
    _, beside, _, _ = similarity(*words, "--control", str(control))
    assert beside["data"] == alone["data"]
    assert beside["labels"] == "recorded"
    assert beside["negative_control"]["holds"]
    assert list(beside["runs"]) == ["original", "generated", "control"]
