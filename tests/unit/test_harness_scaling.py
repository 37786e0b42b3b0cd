"""`harness scale`, and training on what it makes: names, echo, refusals, and the user's bytes."""

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dsgen import clone
from dsgen.choices import Wanted
from dsgen.errors import UsageError
from dsgen.input import find_input
from dsgen.manifest import read_manifest
from dsgen.workloads import plan
from dsgen.write import generate
from tests.unit.own_data import snapshot, write_cases
from tests.unit.test_harness_refusals import harness, refused
from tests.unit.test_own_data import result_of, train


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("own") / "mine", 6)


def scale(mine, root, *more, size="1MB"):
    return harness(
        *("scale", "imseg", "--input", mine, "--data", root / "data", "--size", size),
        *("--results", root / "results", "--engine", "local", "--processes", 1, *more),
    )


@pytest.fixture(scope="module")
def scaled(mine, tmp_path_factory):
    """Return the root of a scaling, and how it ended."""
    root = tmp_path_factory.mktemp("scaled")
    return root, scale(mine, root)


def directory_of(done):
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


def test_what_is_scaled_holds_the_input_and_says_so(mine, scaled):
    root, done = scaled
    directory = directory_of(done)
    manifest = read_manifest(directory)
    assert manifest.parameters.origin == "copy"
    assert manifest.parameters.source_crc32c == find_input(mine, "imseg").source.crc32c
    name = f"imseg-npy-1MB-copy-of-{manifest.parameters.source_crc32c}"
    assert directory == root / "data" / name
    assert manifest.data_bytes >= 1_000_000
    for path in mine.iterdir():
        assert (directory / path.name).read_bytes() == path.read_bytes()
    assert harness("verify", directory).returncode == 0
    assert (root / "results" / "imseg" / "logs" / f"{name}-scale.log").is_file()


def test_the_echo_names_input_size_and_place_before_the_first_byte(mine, scaled):
    _, done = scaled
    said = done.stderr[: done.stderr.index("scale ")]
    taken = sum(path.stat().st_size for path in mine.iterdir())
    assert "target  " in said
    assert "size    1 MB = 1,000,000 bytes" in said
    assert f"input   {mine}: imseg npy, {taken:,} bytes in 12 files" in said
    assert f"data    {directory_of(done)}: by copy" in said
    files = len(read_manifest(directory_of(done)).files)
    assert f"copy: {files} files" in said


def test_the_same_command_finds_it_complete(mine, scaled):
    root, first = scaled
    before = snapshot(directory_of(first))
    again = scale(mine, root)
    assert directory_of(again) == directory_of(first)
    assert "nothing to write" in again.stderr
    assert snapshot(directory_of(first)) == before


def test_a_dry_run_says_the_layout_and_writes_nothing(mine, scaled, tmp_path):
    done = scale(mine, tmp_path, "--dry-run")
    assert done.returncode == 0
    manifest = read_manifest(directory_of(scaled[1]))
    line = f"layout  {len(manifest.files)} files, {manifest.data_bytes:,} bytes, and 0 beside"
    assert line in done.stderr.splitlines()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--mode", "augment", "--seed", 7), r"imseg-npy-1MB-augment-of-[0-9a-f]{8}-s7"),
        (("--mode", "clone", "--seed", 7), r"imseg-npy-1MB-clone-of-[0-9a-f]{8}"),
        (("--seed", 7), r"imseg-npy-1MB-copy-of-[0-9a-f]{8}"),
        (("--size", "1000001"), r"imseg-npy-1000001B-copy-of-[0-9a-f]{8}"),
    ],
)
def test_what_determines_the_bytes_is_in_the_name(words, name, mine, tmp_path):
    done = scale(mine, tmp_path, "--dry-run", *words)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("data    "))
    assert re.fullmatch(rf"data    {tmp_path}/data/{name}: by \w+", line)


def test_another_listing_is_another_name(mine, tmp_path):
    other = write_cases(tmp_path / "other", 6)
    said = [scale(path, tmp_path, "--dry-run").stderr for path in (mine, other)]
    names = {re.search(r"copy-of-(\w+)", text)[1] for text in said}
    assert len(names) == 2  # the files have other times


@pytest.mark.parametrize(
    ("workload", "format_", "name"),
    [
        ("bert", "tfrecord", ""),
        ("dlrm", "text", "train.txt"),
        ("dlrm", "npz", ""),
        ("dlrm", "bin", "preprocessed.bin"),
    ],
)
def test_every_workload_and_format_is_scaled_a_file_alone_as_well(
    workload, format_, name, tmp_path
):
    wanted = Wanted(format=format_ if workload == "dlrm" else None)
    layout = plan(workload, size_bytes=3_000_000, seed=1, wanted=wanted)
    generate(layout, tmp_path / "mine", processes=1, emit=lambda _: None)
    words = ("--data", tmp_path / "data", "--results", tmp_path / "results", "--engine", "local")
    words = (workload, "--input", tmp_path / "mine" / name, "--size", "8MB", *words)
    dry = harness("scale", *words, "--dry-run")
    assert f"input   {tmp_path / 'mine' / name}: {workload} {format_}, " in dry.stderr
    directory = directory_of(harness("scale", *words))
    manifest = read_manifest(directory)
    assert directory.name.startswith(f"{workload}-{format_}-8MB-copy-of-")
    assert 8_000_000 <= manifest.data_bytes < 9_000_000
    line = f"layout  {len(manifest.files)} files, {manifest.data_bytes:,} bytes, "
    assert f"{line}and {manifest.sidecar_bytes:,} beside" in dry.stderr


@pytest.mark.parametrize("below", ["", "data", "a/b"])
def test_an_output_in_the_input_is_refused(below, tmp_path):
    mine = write_cases(tmp_path / "mine", 2)
    before = snapshot(mine)
    done = scale(mine, tmp_path, "--data", mine / below)
    assert refused(done, 2, "the output lies in the input", "apart")
    assert "engine  " not in done.stderr
    assert snapshot(mine) == before


def test_an_output_in_the_input_behind_a_link_is_refused(tmp_path):
    mine = write_cases(tmp_path / "mine", 2)
    (tmp_path / "data").symlink_to(mine)
    assert refused(scale(mine, tmp_path), 2, "the output lies in the input")


def test_an_input_in_the_output_is_refused(mine, tmp_path):
    done = scale(mine, tmp_path, "--dry-run")
    name = re.search(r"imseg-npy-1MB-copy-of-\w+", done.stderr)[0]
    inside = tmp_path / "data" / name / "mine"
    inside.parent.mkdir(parents=True)
    inside.mkdir()
    for path in mine.iterdir():
        (inside / path.name).write_bytes(path.read_bytes())
        status = path.stat()
        os.utime(inside / path.name, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert refused(scale(inside, tmp_path), 2, "the output holds the input")


def test_an_input_that_is_not_there(tmp_path):
    done = scale(tmp_path / "nowhere", tmp_path)
    assert refused(done, 6, "cannot read (No such file or directory)", "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_an_input_of_another_workload(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.txt").write_text("mine")
    assert refused(scale(tmp_path / "mine", tmp_path), 6, "no files of imseg")


def test_an_input_with_a_name_that_no_manifest_could_have(tmp_path):
    mine = write_cases(tmp_path / "mine", 1)
    for path in list(mine.iterdir()):
        path.rename(mine / os.fsdecode(b"nu\xff" + os.fsencode(path.name)))
    assert refused(scale(mine, tmp_path), 6, "no manifest could have", "rename")


@pytest.mark.parametrize("text", ["~nobody-at-all/mine", "two\nlines"])
def test_an_input_that_is_no_path(text, tmp_path):
    assert refused(scale(text, tmp_path), 2, "--input")


def test_a_mode_that_is_none(mine, tmp_path):
    assert refused(scale(mine, tmp_path, "--mode", "double"), 2, "double", "clone")


def test_an_input_is_needed(tmp_path):
    assert refused(harness("scale", "imseg", "--data", tmp_path), 2, "--input")


def test_too_little_space(mine, tmp_path):
    assert refused(scale(mine, tmp_path, size="5000TB"), 7, "too little space")
    assert list(tmp_path.iterdir()) == []


def test_a_clone_where_no_blocks_can_be_shared_is_refused_by_the_job():
    with TemporaryDirectory(dir="/dev/shm") as memory:
        mine = write_cases(Path(memory) / "mine", 1)
        done = scale(mine, Path(memory), "--mode", "clone")
        assert refused(done, 2, "this file system cannot share blocks", "--mode copy")


def test_a_kernel_that_shares_no_blocks_across_mounts_is_named(mine, tmp_path, monkeypatch):
    def across(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(clone, "_ficlonerange", across)
    found = find_input(mine, "imseg")
    with pytest.raises(UsageError, match="across mounts") as caught:
        clone.check_cloneable(found.root, found.source, tmp_path)
    assert "--mode copy" in caught.value.then


def test_training_over_what_was_scaled_tells_where_it_is_from(scaled, tmp_path):
    directory = directory_of(scaled[1])
    before = snapshot(directory)
    done = train(directory, tmp_path)
    result, _ = result_of(done)
    assert f"data    {directory}: " in done.stderr
    assert "DATA itself is the data set: there is no imseg-npy-2GB-small-s1 in it" in done.stderr
    manifest = read_manifest(directory)
    facts = result["dataset"]
    assert (facts["origin"], facts["source_crc32c"]) == ("copy", directory.name.split("-")[-1])
    assert facts["manifest_crc32c"] == manifest.crc32c
    assert facts["allocation"].keys() == {"holes_bytes", "shared_bytes"}
    steps = manifest.samples_train // 2
    assert result["coverage"]["steps_per_epoch"] == steps
    assert f"1 epochs of {steps} steps" in done.stderr
    assert snapshot(directory) == before
    assert not any("shares blocks" in text for text in result["warnings"])
