"""Bad input of the generator: one line, its exit code, and nothing lost."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest

from dsgen import damage
from dsgen.choices import Wanted
from dsgen.errors import DataSetError, PathError
from dsgen.journal import JOURNAL_NAME, Journal, Written, begin_journal, read_journal
from dsgen.lock import hold_exclusive, hold_shared
from dsgen.manifest import MANIFEST_NAME, read_manifest
from dsgen.remove import remove
from dsgen.workloads import plan
from dsgen.write import generate

ROOT = Path(__file__).parents[2]
BIN = Wanted(format="bin")


def dsgen(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "dsgen", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def make(directory, *more, size="33MB", law="small"):
    return dsgen("generate", "imseg", "--output", directory, "--size", size, "--law", law, *more)


def refused(done, code, *words):
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]
    return True


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    directory = tmp_path_factory.mktemp("refusals") / "set"
    layout = plan("imseg", size_bytes=33_000_000, seed=1, wanted=Wanted(law="small"))
    generate(layout, directory, processes=2, emit=lambda _: None)
    return directory


@contextmanager
def small_disk(directory, options):
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def test_unknown_workload(tmp_path):
    assert refused(dsgen("generate", "resnet", "--output", tmp_path, "--size", "1GB"), 2, "resnet")


@pytest.mark.parametrize("size", ["16G", "-1", "many", "0", ""])
def test_size_that_is_none(size, tmp_path):
    assert refused(make(tmp_path / "set", size=size), 2, "--size")
    assert not (tmp_path / "set").exists()


def test_missing_size(tmp_path):
    assert refused(dsgen("generate", "imseg", "--output", tmp_path), 2, "--size")


def test_original_flags_refuse_alike(tmp_path):
    command = [sys.executable, ROOT / "data_generation.py", "--output_path", tmp_path / "set"]
    done = subprocess.run(
        [*command, "--desired_size", "16G", "--workload", "imseg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused(done, 2, "16G", "GB", "GiB")


def test_original_command_without_its_packages_says_what_to_install(tmp_path):
    command = [sys.executable, "-S", ROOT / "data_generation.py", "--output_path", tmp_path]
    done = subprocess.run(
        [*command, "--desired_size", "1", "--workload", "imseg"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert refused(done, 2, "not installed", "pip install .")


def test_unknown_law(tmp_path):
    assert refused(make(tmp_path / "set", law="normal"), 2, "normal", "kits19")


def test_zero_processes(tmp_path):
    assert refused(make(tmp_path / "set", "--processes", 0), 2, "--processes")


def test_output_is_a_file(tmp_path):
    (tmp_path / "set").write_text("mine")
    assert refused(make(tmp_path / "set"), 7, str(tmp_path / "set"))
    assert (tmp_path / "set").read_text() == "mine"


def test_foreign_files_are_named_and_left(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    assert refused(make(tmp_path), 7, "thesis.tex")
    assert {path.name for path in tmp_path.iterdir()} - {".feedrate.lock"} == {"thesis.tex"}


@pytest.mark.root
def test_too_little_space_is_said_before_the_first_byte(tmp_path):
    with small_disk(tmp_path / "disk", "size=60m") as disk:
        (disk / "mine").write_bytes(bytes(40 * 2**20))
        assert refused(make(disk / "set"), 7, "too little space", "free")
        assert {path.name for path in (disk / "set").iterdir()} <= {".feedrate.lock"}


def test_a_size_beyond_the_file_system_is_refused_before_it_is_planned(tmp_path):
    started = time.monotonic()
    assert refused(make(tmp_path / "set", size="900000TB"), 7, "too little space", "in all")
    assert time.monotonic() - started < 10
    assert not (tmp_path / "set").exists()


@pytest.mark.root
def test_too_few_inodes_are_said_before_the_first_byte(tmp_path):
    with small_disk(tmp_path / "disk", "size=400m,nr_inodes=4") as disk:
        assert refused(make(disk / "set"), 7, "too few inodes")


@pytest.mark.root
def test_a_disk_that_fills_during_generation_loses_nothing(tmp_path):
    with small_disk(tmp_path / "disk", "size=140m") as disk:
        command = [
            *(sys.executable, "-m", "dsgen", "generate", "imseg", "--output", str(disk / "set")),
            *("--size", "70MB", "--law", "small", "--processes", "1", "--events"),
        ]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in child.stdout:
            if '"progress"' in line:
                break
        hog = disk / "hog"
        with hog.open("wb") as stream:
            try:
                while True:
                    stream.write(bytes(2**20))
            except OSError:
                pass
        _, said = child.communicate(timeout=60)
        assert child.returncode == 7
        assert len(said.splitlines()) == 1
        assert "No space left" in said
        hog.unlink(missing_ok=True)
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
        assert dsgen("verify", disk / "set").returncode == 0


@pytest.mark.root
@pytest.mark.parametrize("beside_pages", range(6))
def test_a_disk_without_room_for_what_is_kept_beside_the_data(beside_pages, tmp_path):
    """Journal and manifest take some pages more, and each may be what finds none."""
    words = ("generate", "dlrm", "--format", "text", "--size", "10MB", "--output")
    assert dsgen(*words, tmp_path / "whole").returncode == 0
    data_pages = -(-(tmp_path / "whole" / "train.txt").stat().st_size // 4096)
    size_kib = (data_pages + beside_pages) * 4
    with small_disk(tmp_path / "disk", f"size={size_kib}k") as disk:
        done = dsgen(*words, disk)
        if done.returncode:
            last = done.stderr.splitlines()
            assert (done.returncode, len(last)) == (7, 1), done.stderr
            if "too little space: " not in last[0]:
                assert "cannot write (No space left on device): " in last[0]
                assert last[0].endswith("free space, then run the same command again to continue")
            subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
            assert dsgen(*words, disk).returncode == 0
        assert (disk / MANIFEST_NAME).read_bytes() == (
            tmp_path / "whole" / MANIFEST_NAME
        ).read_bytes()


def begun(directory, header=(), line=()):
    """Write a journal of two lines, with changes; return the layout that it is of."""
    layout = plan("imseg", size_bytes=1, seed=1, wanted=Wanted(law="small"))
    parameters = layout.parameters.as_json() | dict(header)
    written = {field.name: 0 for field in fields(Written)}
    written["bytes"] = layout.files[0].segment(0).bytes
    lines = (json.dumps(parameters), json.dumps(written | dict(line)))
    directory.mkdir(exist_ok=True)
    (directory / JOURNAL_NAME).write_text("".join(f"{one}\n" for one in lines))
    return layout


@pytest.mark.parametrize(
    "line",
    [
        {"file": 9},
        {"file": -1},
        {"file": "0"},
        {"file": True},
        {"segment": 99},
        {"segment": 0.0},
        {"bytes": 7},
        {"crc32c": "x"},
        {"crc32c": 2**32},
        {"sampled_bytes": None},
        {"sampled_blocks": float("inf")},
        {"digest": "x"},
        {"digest": 2**32},
        {"more": 1},
    ],
    ids=str,
)
def test_a_journal_of_what_no_generation_writes(line, tmp_path):
    layout = begun(tmp_path, line=line)
    words = r"malformed journal: .*; move its directory away and generate again"
    with pytest.raises(DataSetError, match=words):
        read_journal(tmp_path, layout)


@pytest.mark.parametrize("text", ["7", "[]", "null", "{}", "[" * 100_000], ids=len)
def test_a_journal_of_other_lines(text, tmp_path):
    (tmp_path / JOURNAL_NAME).write_text(f"{text}\n")
    for done in (dsgen("remove", tmp_path), make(tmp_path)):
        assert done.returncode == 6, done.stderr
        assert "Traceback" not in done.stderr
        assert "malformed journal" in done.stderr.splitlines()[-1]


def test_a_sound_journal_is_read_with_and_without_its_layout(tmp_path):
    layout = begun(tmp_path, line={"digest": None})
    assert read_journal(tmp_path, layout) == read_journal(tmp_path)
    assert read_journal(tmp_path)[0] == layout.parameters


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"seed": "1"}, "malformed journal"),
        ({"size_requested_bytes": 1.5}, "malformed journal"),
        ({"law": "a\nb"}, "malformed journal"),
        ({"format": ["npy"]}, "malformed journal"),
        ({"workload": "resnet"}, "journal of unknown workload 'resnet'"),
        ({"law": "normal"}, "journal of unknown law 'normal'"),
    ],
)
def test_a_journal_whose_files_cannot_be_known_is_not_removed(header, words, tmp_path):
    begun(tmp_path / "set", header)
    assert refused(dsgen("remove", tmp_path / "set"), 6, words, JOURNAL_NAME)
    assert (tmp_path / "set" / JOURNAL_NAME).exists()


def test_the_advice_for_a_malformed_journal_helps(tmp_path):
    begun(tmp_path / "set", line={"crc32c": "x"})
    done = make(tmp_path / "set", size="1")
    assert done.returncode == 6
    assert "malformed journal" in done.stderr
    (tmp_path / "set" / JOURNAL_NAME).unlink()
    assert make(tmp_path / "set", size="1").returncode == 0
    assert dsgen("verify", tmp_path / "set").returncode == 0


def test_a_journal_that_cannot_be_written_is_named(tmp_path):
    layout = plan("imseg", size_bytes=1, seed=1, wanted=Wanted(law="small"))
    written = Written(**{field.name: 0 for field in fields(Written)})
    full, words = Path("/dev/full"), r"\(No space left on device\): .*; free space, then run"
    with (
        Journal(tmp_path / "journal", full.open("w", encoding="utf-8")) as journal,
        pytest.raises(PathError, match=words),
    ):
        journal.add(written)
    (tmp_path / f"{JOURNAL_NAME}.partial").symlink_to(full)
    with pytest.raises(PathError, match=words):
        begin_journal(tmp_path, layout.parameters, [])


@pytest.mark.root
def test_not_writable(tmp_path):
    layout = plan("imseg", size_bytes=1, seed=1, wanted=Wanted(law="small"))
    (tmp_path / "shut").mkdir(mode=0o555)
    os.seteuid(65534)
    try:
        with pytest.raises(PathError, match="Permission denied") as caught:
            generate(layout, tmp_path / "shut" / "set", processes=1, emit=lambda _: None)
    finally:
        os.seteuid(0)
    assert caught.value.exit_code == 7


def test_locked_by_a_writer(data_set):
    with hold_exclusive(data_set):
        assert refused(make(data_set), 7, "another process")


def test_locked_by_readers(data_set):
    with hold_shared(data_set), hold_shared(data_set):
        assert refused(make(data_set), 7, "another process")


def test_other_parameters_are_refused_with_the_difference(data_set):
    before = (data_set / MANIFEST_NAME).read_bytes()
    assert refused(make(data_set, "--seed", 2), 6, "seed 1, not 2")
    assert refused(make(data_set, law="uniform"), 6, "law small, not uniform")
    assert refused(make(data_set, size="90MB"), 6, "33000000", "90000000")
    assert (data_set / MANIFEST_NAME).read_bytes() == before


def test_the_same_parameters_leave_it_alone(data_set):
    before = {path: path.stat().st_mtime_ns for path in data_set.iterdir()}
    done = make(data_set)
    assert done.returncode == 0
    assert "nothing to write" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in data_set.iterdir()} == before


def test_verify_and_remove_without_a_data_set(tmp_path):
    assert refused(dsgen("verify", tmp_path), 6, "no complete data set", str(tmp_path))
    assert refused(dsgen("remove", tmp_path), 6, "no data set", str(tmp_path))
    assert refused(dsgen("remove", tmp_path / "nowhere"), 6, "no data set")


def manifests():
    def other(**changes):
        return lambda document: document | changes

    yield "malformed", lambda _: "{"
    yield "a list", lambda _: []
    yield "empty", lambda _: {}
    yield "newer", other(schema_version=2)
    yield "no files", other(files=None)
    for path in ("../outside", "/etc/passwd", "a/../../b", ""):
        yield (
            f"path {path!r}",
            other(
                files=[
                    {
                        "path": path,
                        "role": "train",
                        "class": "x",
                        "bytes": 1,
                        "samples": 1,
                        "crc32c": 0,
                        "segments": [[1, 0]],
                    }
                ]
            ),
        )
    yield (
        "role",
        other(
            files=[
                {
                    "path": "a",
                    "role": "test",
                    "class": "x",
                    "bytes": 1,
                    "samples": 1,
                    "crc32c": 0,
                    "segments": [[1, 0]],
                }
            ]
        ),
    )


def contradictions():
    """Yield changes of a document that is sound but for them."""

    def of_file(**changes):
        return lambda document: document["files"][0].update(changes)

    def of_all(**changes):
        return lambda document: document.update(changes)

    yield "bytes", of_file(bytes=7)
    yield "no segments", of_file(segments=[])
    yield "crc32c", of_file(crc32c=7)
    yield "a crc32c of 33 bits", of_file(crc32c=2**32, segments=[[1, 2**32]])
    yield "negative", of_file(samples=-1)
    yield "infinite", of_file(bytes=float("inf"))
    yield "a fraction", of_file(samples=1.5)
    yield "true", of_file(samples=True)
    yield "two lines", of_file(path="a\nb")
    yield "a byte of zero", of_file(path="a\0b")
    yield "none", of_all(files=[])
    yield "data_bytes", of_all(data_bytes=1)
    yield "samples", of_all(samples={"train": 99, "eval": 0})
    yield "more asked for", of_all(size_requested_bytes=2**62)
    yield "option", of_all(options={"entropy": "natural", "speed": "high"})
    yield "ratio", of_all(entropy={"deflate1_64kib": float("nan"), "duplicate_4kib": 0})
    yield "twice", lambda document: document["files"].append(document["files"][-2])


CONTRADICTIONS = dict(contradictions())


@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_manifest_that_contradicts_itself(change, data_set, tmp_path):
    document = json.loads((data_set / MANIFEST_NAME).read_text())
    change(document)
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(document))
    with pytest.raises(DataSetError, match="malformed manifest"):
        read_manifest(tmp_path)


def test_a_manifest_nested_too_deeply(tmp_path):
    (tmp_path / MANIFEST_NAME).write_text("[" * 100_000)
    assert refused(dsgen("verify", tmp_path), 6, "malformed manifest")


def test_a_manifest_from_before_there_were_options_is_read(data_set, tmp_path):
    document = json.loads((data_set / MANIFEST_NAME).read_text())
    del document["options"], document["links"]
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(document))
    assert read_manifest(tmp_path).parameters == read_manifest(data_set).parameters


def without_a_file(document):
    gone = document["files"].pop(1)  # a label, which counts no samples
    document["data_bytes"] -= gone["bytes"]


def in_other_order(document):
    document["files"].reverse()


def with_another_split(document):
    document["data_bytes"] -= 1
    document["sidecar_bytes"] += 1
    document["size_requested_bytes"] -= 1000


def with_larger_files(document):
    document["files"][0] |= {"bytes": 2**60, "segments": [[2**60, 0]], "crc32c": 0}
    sizes = [file["bytes"] for file in document["files"]]
    document |= {"data_bytes": sum(sizes), "size_requested_bytes": 2**60}


@pytest.mark.parametrize(
    "change",
    [
        without_a_file,
        in_other_order,
        with_another_split,
        with_larger_files,
        lambda document: document["files"][0].update(path="train.txt"),
        lambda document: document["files"][0].update({"class": "y"}),
        lambda document: document.update(links=[{"path": "a", "target": "b"}]),
        lambda document: document.update(workload="resnet"),
        lambda document: document.update(workload="bert"),
        lambda document: document.update(law="normal"),
        lambda document: document["options"].update(min_files=9),
    ],
)
def test_a_manifest_of_other_files_than_its_parameters_give(change, data_set, tmp_path):
    shutil.copytree(data_set, tmp_path / "set")
    path = tmp_path / "set" / MANIFEST_NAME
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    words = ("manifest", str(path), "move its directory away")
    assert refused(dsgen("verify", tmp_path / "set"), 6, *words)


def test_a_manifest_of_another_format_version_is_compared_with_the_files_alone(data_set, tmp_path):
    shutil.copytree(data_set, tmp_path / "set")
    path = tmp_path / "set" / MANIFEST_NAME
    document = json.loads(path.read_text())
    document["generator"]["format_version"] += 1
    path.write_text(json.dumps(document | {"size_requested_bytes": 1}))
    assert dsgen("verify", tmp_path / "set").returncode == 0


MANIFESTS = dict(manifests())


@pytest.mark.parametrize("change", MANIFESTS.values(), ids=MANIFESTS)
@pytest.mark.parametrize("verb", ["verify", "remove"])
def test_a_manifest_that_cannot_be_trusted(verb, change, data_set, tmp_path):
    document = change(json.loads((data_set / MANIFEST_NAME).read_text()))
    text = document if isinstance(document, str) else json.dumps(document)
    (tmp_path / MANIFEST_NAME).write_text(text)
    assert refused(dsgen(verb, tmp_path), 6, MANIFEST_NAME)
    assert (tmp_path / MANIFEST_NAME).read_text() == text


@pytest.mark.parametrize("text", ["{", '{"schema_version": 2}'], ids=["malformed", "newer"])
def test_the_advice_for_a_manifest_that_cannot_be_trusted_helps(text, data_set, tmp_path):
    """What is of the data set cannot be known any more, so all of it stays."""
    directory = tmp_path / "set"
    shutil.copytree(data_set, directory)
    (directory / MANIFEST_NAME).write_text(text)
    assert refused(dsgen("remove", directory), 6, "move its directory away", "generate again")
    assert refused(make(directory), 6, "move its directory away")
    directory.rename(tmp_path / "away")
    assert make(directory).returncode == 0
    assert dsgen("verify", directory).returncode == 0
    assert dsgen("remove", directory).returncode == 0
    assert not directory.exists()


def test_remove_deletes_the_data_set_and_nothing_else(tmp_path):
    assert make(tmp_path / "set").returncode == 0
    (tmp_path / "set" / "notes.txt").write_text("mine")
    assert dsgen("remove", tmp_path / "set").returncode == 0
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["notes.txt"]


@pytest.mark.root
def test_remove_leaves_a_mount_point(tmp_path):
    with small_disk(tmp_path / "disk", "size=64m") as disk:
        assert make(disk).returncode == 0
        done = dsgen("remove", disk)
        assert (done.returncode, list(disk.iterdir())) == (0, [])
        assert f"{disk} is empty, and stays (Device or resource busy)" in done.stdout


def test_remove_names_a_directory_in_the_place_of_a_file(data_set, tmp_path):
    directory = tmp_path / "set"
    shutil.copytree(data_set, directory)
    path = directory / read_manifest(directory).files[1].path
    path.rename(tmp_path / "away")
    path.mkdir()
    assert refused(dsgen("remove", directory), 7, f"place of a file: {path}; move it away, then")
    path.rmdir()
    assert dsgen("remove", directory).returncode == 0
    assert not directory.exists()


def test_remove_takes_an_unfinished_data_set(tmp_path):
    command = [
        sys.executable,
        "-m",
        "dsgen",
        "generate",
        "imseg",
        "--output",
        str(tmp_path / "set"),
    ]
    child = subprocess.Popen([*command, "--size", "2GB", "--events"], stdout=subprocess.PIPE)
    for _ in range(4):
        child.stdout.readline()
    child.kill()
    child.wait()
    child.stdout.close()
    assert dsgen("remove", tmp_path / "set").returncode == 0
    assert not (tmp_path / "set").exists()


def test_a_size_below_one_sample_gives_one_with_a_notice(tmp_path):
    done = make(tmp_path / "set", size="1")
    assert done.returncode == 0
    assert "below that of the smallest data set" in done.stdout
    assert len(list((tmp_path / "set").glob("case_*"))) == 2


@pytest.mark.parametrize("name", [".feedrate-journal", ".feedrate-damage.json"])
def test_own_files_that_cannot_be_read(name, data_set, tmp_path):
    directory = tmp_path / "set"
    shutil.copytree(data_set, directory)
    (directory / name).mkdir()
    if name == ".feedrate-journal":
        (directory / MANIFEST_NAME).unlink()
        assert refused(dsgen("remove", directory), 6, "cannot read", name)
    done = make(directory)
    assert done.returncode == 6, done.stderr
    assert f"cannot read (Is a directory): {directory / name}" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        '[["../../x", 0]]',
        '[["FILE", 99]]',
        '[["FILE", -1]]',
        '[["FILE", 1e400]]',
        '[["FILE", 0.0]]',
        '[["FILE", false]]',
        '[["FILE", "0"]]',
        '[["FILE"]]',
        "[[[], 0]]",
        "[[0, 0]]",
        '{"ab": 0}',
        "7",
        "{",
        "\udcff",
        "[" * 100_000,
    ],
)
def test_a_list_of_damage_that_is_not_of_this_data_set(text, data_set, tmp_path):
    (tmp_path / MANIFEST_NAME).write_bytes((data_set / MANIFEST_NAME).read_bytes())
    text = text.replace("FILE", read_manifest(data_set).files[0].path)
    (tmp_path / damage.DAMAGE_NAME).write_text(text, errors="surrogateescape")
    with pytest.raises(DataSetError, match=r"malformed list of damage: .*; run verify again"):
        damage.read(tmp_path)


def test_the_advice_for_a_malformed_list_of_damage_helps(data_set, tmp_path):
    directory = tmp_path / "set"
    shutil.copytree(data_set, directory)
    (directory / damage.DAMAGE_NAME).write_text('[["../../x", 0]]')
    done = make(directory)
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 1)
    assert dsgen("verify", directory).returncode == 0
    assert make(directory).returncode == 0


def test_a_segment_that_is_marked_twice_is_written_once(data_set, tmp_path):
    (tmp_path / MANIFEST_NAME).write_bytes((data_set / MANIFEST_NAME).read_bytes())
    segment = (read_manifest(data_set).files[0].path, 0)
    damage.mark(tmp_path, [segment, segment])
    assert damage.read(tmp_path) == [segment]


@pytest.mark.parametrize("kind", ["lock", "directory"])
def test_what_others_may_not_read(kind, data_set, monkeypatch):
    """As root reads everything, the kernel's refusal is put in its place."""
    refusal = PermissionError(errno.EACCES, "Permission denied")

    def refuse(*_args, **_more):
        raise refusal

    if kind == "lock":
        monkeypatch.setattr(os, "open", refuse)
        with (
            pytest.raises(PathError, match="Permission denied"),
            hold_shared(data_set),
        ):
            pass
    else:
        monkeypatch.setattr(Path, "exists", refuse)
        with pytest.raises(PathError, match="cannot look into it"):
            remove(data_set, emit=lambda _: None)


def test_dlrm_without_a_format_names_the_three(tmp_path):
    done = dsgen("generate", "dlrm", "--output", tmp_path / "set", "--size", "1MB")
    assert refused(done, 2, "format is missing", "text, npz, bin")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("workload", "flags", "word"),
    [
        ("imseg", ("--format", "npz"), "unknown format 'npz'"),
        ("bert", ("--format", "text"), "unknown format 'text'"),
        ("dlrm", ("--format", "parquet"), "text, npz, bin"),
        ("bert", ("--entropy", "incompressible"), "bert has natural"),
        ("dlrm", ("--format", "bin", "--compression", "stored"), "dlrm bin has none"),
        ("dlrm", ("--format", "npz", "--compression", "zip"), "dlrm npz has deflate, stored"),
        ("imseg", ("--min-files", "8"), "fixed number of files"),
        ("bert", ("--min-files", "0"), "--min-files"),
    ],
)
def test_a_choice_that_the_workload_does_not_offer(workload, flags, word, tmp_path):
    done = dsgen("generate", workload, "--output", tmp_path / "set", "--size", "1MB", *flags)
    assert refused(done, 2, word)
    assert not (tmp_path / "set").exists()


def test_original_flags_ask_for_the_format(tmp_path):
    command = [sys.executable, ROOT / "data_generation.py", "--output_path", tmp_path / "set"]
    command += ["--desired_size", "1000000", "--workload", "dlrm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused(done, 2, "format is missing")
    done = subprocess.run([*command, "--data_format", "bin"], capture_output=True, check=False)
    assert done.returncode == 0
    assert (tmp_path / "set" / "preprocessed.bin").stat().st_size == 1_000_000


@pytest.mark.parametrize(
    ("flags", "difference"),
    [
        (("--entropy", "incompressible"), "entropy natural, not incompressible"),
        (("--seed", "2"), "seed 1, not 2"),
        (("--size", "2MB"), "size_requested_bytes 1000000, not 2000000"),
    ],
)
def test_other_parameters_are_refused_with_their_difference(flags, difference, tmp_path):
    words = ("generate", "dlrm", "--format", "bin", "--output", tmp_path / "set", "--size", "1MB")
    assert dsgen(*words).returncode == 0
    before = {path.name: path.lstat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    assert refused(dsgen(*words, *flags), 6, difference)
    after = {path.name: path.lstat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    assert after == before


def test_another_format_in_the_same_directory_is_refused(tmp_path):
    words = ("generate", "dlrm", "--output", tmp_path / "set", "--size", "1MB", "--format")
    assert dsgen(*words, "bin").returncode == 0
    assert refused(dsgen(*words, "text"), 6, "format bin, not text")


@pytest.mark.parametrize("name", ["../preprocessed.bin", "/etc/passwd"])
def test_a_link_that_leads_outside_is_refused(name, tmp_path):
    words = ("generate", "dlrm", "--format", "bin", "--output", tmp_path / "set", "--size", "1MB")
    assert dsgen(*words).returncode == 0
    path = tmp_path / "set" / MANIFEST_NAME
    document = json.loads(path.read_text())
    document["links"][0]["target"] = name
    path.write_text(json.dumps(document))
    assert refused(dsgen("verify", tmp_path / "set"), 6, "outside its directory")


def test_a_file_system_without_links_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    layout = plan("dlrm", size_bytes=1_000_000, seed=1, wanted=Wanted(format="bin"))
    with pytest.raises(PathError, match="has symbolic links"):
        generate(layout, tmp_path / "set", processes=1, emit=lambda _: None)
    monkeypatch.undo()
    generate(layout, tmp_path / "set", processes=1, emit=lambda _: None)
    assert (tmp_path / "set" / "preprocessed_train.bin").exists()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("imseg", "--law", "small"), "case_00001_x.npy"),
        (("bert",), "part-00000-of-00500"),
        (("dlrm", "--format", "text"), "train.txt"),
        (("dlrm", "--format", "text"), "train.txt.partial"),
        (("dlrm", "--format", "npz"), "day_7_reordered.npz"),
        (("dlrm", "--format", "bin"), "preprocessed.bin"),
        (("dlrm", "--format", "bin"), "preprocessed_train.bin"),
    ],
)
def test_a_users_file_of_the_same_name_is_not_overwritten(words, name, tmp_path):
    place = tmp_path / "set"
    place.mkdir()
    (place / name).write_text("the original")
    assert refused(dsgen("generate", *words, "--output", place, "--size", "1MB"), 7, name)
    assert (place / name).read_text() == "the original"
    assert refused(dsgen("remove", place), 6)
    assert (place / name).read_text() == "the original"


def test_a_users_file_beside_an_unfinished_set_is_neither_overwritten_nor_removed(tmp_path):
    words = ("generate", "dlrm", "--format", "bin", "--output", tmp_path, "--size", "1MB")
    assert dsgen(*words).returncode == 0
    journal = json.dumps(plan("dlrm", size_bytes=10**6, seed=1, wanted=BIN).parameters.as_json())
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / ".feedrate-journal").write_text(journal + "\n")
    (tmp_path / "preprocessed.bin").write_text("mine")
    assert refused(dsgen(*words), 7, "preprocessed.bin")
    assert dsgen("remove", tmp_path).returncode == 0
    assert (tmp_path / "preprocessed.bin").read_text() == "mine"


def test_remove_leaves_a_file_in_the_place_of_a_link(tmp_path):
    words = ("generate", "dlrm", "--format", "bin", "--output", tmp_path / "set", "--size", "1MB")
    assert dsgen(*words).returncode == 0
    link = tmp_path / "set" / "preprocessed_train.bin"
    link.unlink()
    link.write_text("mine")
    assert dsgen("remove", tmp_path / "set").returncode == 0
    assert [path.name for path in (tmp_path / "set").iterdir()] == [link.name]
    assert link.read_text() == "mine"


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_repair_does_not_write_through_what_is_no_file(kind, tmp_path):
    words = ("generate", "dlrm", "--format", "text", "--output", tmp_path / "set", "--size", "1MB")
    assert dsgen(*words).returncode == 0
    outside, data = tmp_path / "outside.txt", tmp_path / "set" / "train.txt"
    outside.write_text("precious")
    data.unlink()
    if kind == "link":
        data.symlink_to(outside)
    else:
        data.mkdir()
    assert refused(dsgen("verify", tmp_path / "set"), 6, "train.txt")
    assert refused(dsgen(*words), 6, "not a file", "move")
    assert outside.read_text() == "precious"
    data.unlink() if kind == "link" else data.rmdir()
    dsgen("verify", tmp_path / "set")
    assert dsgen(*words).returncode == 0
    assert dsgen("verify", tmp_path / "set").returncode == 0


def test_small_files_are_counted_in_whole_blocks(tmp_path):
    with small_disk(tmp_path / "disk", "size=25m"):
        words = ("generate", "bert", "--size", "20MB", "--min-files", "4000")
        done = dsgen(*words, "--output", tmp_path / "disk" / "set")
        assert refused(done, 7, "too little space")
        assert not list((tmp_path / "disk" / "set").glob("part-*"))
