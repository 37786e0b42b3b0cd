"""Scaled data sets: every sample is one of the input's, sizes and counts exact, resumable."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import time
import zipfile

import numpy as np
import pytest

from dsgen.journal import JOURNAL_NAME
from dsgen.manifest import MANIFEST_NAME, read_manifest
from dsgen.source import SOURCE_NAME
from dsgen.verify import verify
from dsgen.workloads.imseg import originals
from tests.property.inputs import EXAMPLES, make_all, scaled, words
from tests.property.tfrecords import records

MOMENTS = 6
EVALUATION = {case.case for case in originals() if case.role == "eval"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Return name -> directory of an input, each made once."""
    root = tmp_path_factory.mktemp("inputs")
    make_all(root)
    return root


@pytest.fixture(scope="module")
def outputs(inputs, tmp_path_factory):
    """Return name -> directory of the scaled input, each made once."""
    root = tmp_path_factory.mktemp("outputs")
    for example in EXAMPLES:
        source, output = inputs / example.name, root / example.name
        done = scaled(example.workload, source, output, example.size_bytes)
        assert done.returncode == 0, done.stderr
    return root


def example_called(name):
    return next(one for one in EXAMPLES if one.name == name)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_it_is_complete_and_says_where_it_comes_from(example, outputs):
    directory = outputs / example.name
    assert verify(directory, processes=2, emit=lambda _: None) == []
    manifest = read_manifest(directory)
    assert manifest.parameters.origin == "copy"
    assert len(manifest.parameters.source_crc32c) == 8
    assert manifest.allocation.holes_bytes == 0
    assert manifest.allocation.shared_bytes == 0
    assert manifest.data_bytes >= example.size_bytes


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
@pytest.mark.parametrize("processes", [1, 7])
def test_any_number_of_processes_makes_the_same(example, processes, inputs, outputs, tmp_path):
    source, output = inputs / example.name, tmp_path / "set"
    done = scaled(
        example.workload, source, output, example.size_bytes, "--processes", str(processes)
    )
    assert done.returncode == 0, done.stderr
    expected = (outputs / example.name / MANIFEST_NAME).read_bytes()
    assert (output / MANIFEST_NAME).read_bytes() == expected


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_killed_and_resumed_is_the_same(example, inputs, outputs, tmp_path):
    draw = random.Random(2)
    killed = 0
    for moment in range(MOMENTS):
        output = tmp_path / f"killed-{moment}"
        command = words(
            example.workload, inputs / example.name, output, example.size_bytes, "--events"
        )
        child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        for _ in range(draw.randrange(4, 7)):  # three notices come first
            child.stdout.readline()
        time.sleep(draw.uniform(0, 0.02))
        os.killpg(child.pid, signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        child.stdout.close()
        subprocess.run(command, check=True, stdout=subprocess.PIPE)
        names = {path.name for path in output.iterdir()}
        assert names == {path.name for path in (outputs / example.name).iterdir()}
        for path in (outputs / example.name).iterdir():
            assert (output / path.name).read_bytes() == path.read_bytes(), path.name
        shutil.rmtree(output)
    assert killed >= MOMENTS // 2, "the kills came too late to mean anything"


def test_volumes_are_copied_under_new_numbers(inputs, outputs):
    source, directory = inputs / "imseg", outputs / "imseg"
    given = sorted(path.name for path in source.iterdir())
    manifest = read_manifest(directory)
    for number, file in enumerate(manifest.files):
        of = given[number % len(given)]
        assert (directory / file.path).read_bytes() == (source / of).read_bytes()
    own, following = manifest.files[: len(given)], manifest.files[len(given) :]
    assert [file.path for file in own] == given
    numbers = [int(file.path.split("_")[-2]) for file in following[::2]]
    assert numbers == list(range(210, 210 + len(numbers)))
    assert all(file.role == "train" for file in following)
    last_pair = sum(file.bytes for file in manifest.files[-2:])
    size_bytes = example_called("imseg").size_bytes
    assert size_bytes <= manifest.data_bytes < size_bytes + last_pair


def small_cases(directory, numbers):
    """Write pairs of tiny volumes under these numbers, each with its number in it."""
    directory.mkdir()
    for number in numbers:
        volume = np.full((1, 4, 4, 4), number, "<f4")
        np.save(directory / f"case_{number:05d}_x.npy", volume)
        np.save(directory / f"case_{number:05d}_y.npy", volume.astype("u1"))


def test_many_small_files_killed_and_resumed_are_the_same(tmp_path):
    source, whole = tmp_path / "input", tmp_path / "whole"
    small_cases(source, range(200))
    size_bytes = 4 * sum(path.stat().st_size for path in source.iterdir())
    assert scaled("imseg", source, whole, size_bytes).returncode == 0
    draw, killed = random.Random(3), 0
    for moment in range(MOMENTS):
        output = tmp_path / f"killed-{moment}"
        command = words("imseg", source, output, size_bytes, "--events")
        child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        for _ in range(draw.randrange(4, 20)):  # three notices, then a line for up to 64 files
            child.stdout.readline()
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        killed += (output / JOURNAL_NAME).exists()
        subprocess.run(command, check=True, stdout=subprocess.PIPE)
        assert {path.name for path in output.iterdir()} == {path.name for path in whole.iterdir()}
        for path in whole.iterdir():
            assert (output / path.name).read_bytes() == path.read_bytes(), path.name
    assert killed >= MOMENTS // 2, "the kills came too late to mean anything"


def test_evaluation_cases_keep_their_numbers_and_copies_train(tmp_path):
    given = [*range(12), 209, 215]
    small_cases(tmp_path / "in", given)
    pair_bytes = 2 * 128 + 5 * 64
    done = scaled("imseg", tmp_path / "in", tmp_path / "out", 40 * pair_bytes)
    assert done.returncode == 0, done.stderr
    roles = {}
    for file in read_manifest(tmp_path / "out").files[::2]:
        number = int(file.path.split("_")[-2])
        roles[number] = file.role
        at = len(roles) - 1
        assert (np.load(tmp_path / "out" / file.path) == given[at % len(given)]).all()
    assert list(roles) == [*given, *range(216, 216 + 26)]
    evaluated = {number for number, role in roles.items() if role == "eval"}
    assert evaluated == EVALUATION & set(given) != set()


def test_records_are_copied_and_counted_and_the_last_file_ends_with_one(inputs, outputs):
    source, directory = inputs / "bert", outputs / "bert"
    parts = sorted(path for path in source.iterdir() if path.name != "eval_10k")
    whole = {part: list(records((part).read_bytes())) for part in parts}
    manifest = read_manifest(directory)
    trained = [file for file in manifest.files if file.role == "train"]
    for number, file in enumerate(trained):
        assert file.path == f"part-{number:05d}-of-00500"
        copied = list(records((directory / file.path).read_bytes()))
        given = whole[parts[number % len(parts)]]
        assert copied == given[: len(copied)]
        assert len(copied) == file.samples
        if file is not trained[-1]:
            assert len(copied) == len(given)
    size_bytes, last = example_called("bert").size_bytes, copied[-1]
    assert size_bytes <= manifest.data_bytes < size_bytes + len(last) + 16
    assert (directory / "eval_10k").read_bytes() == (source / "eval_10k").read_bytes()
    assert manifest.samples_eval == len(list(records((source / "eval_10k").read_bytes())))


def test_text_goes_on_at_its_beginning_up_to_a_line(inputs, outputs):
    given = (inputs / "text" / "train.txt").read_bytes()
    made = (outputs / "text" / "train.txt").read_bytes()
    turns = -(-len(made) // len(given))
    assert (given * turns).startswith(made)
    size_bytes = example_called("text").size_bytes
    lines = made.splitlines(keepends=True)
    assert made.endswith(b"\n")
    assert len(made) - len(lines[-1]) < size_bytes <= len(made)
    assert read_manifest(outputs / "text").samples_train == len(lines)


@pytest.mark.parametrize("size_bytes", [1, 100, 101, 102, 103, 250, 306, 307])
def test_text_without_a_last_line_end_gets_one_between_turns(size_bytes, tmp_path):
    source = tmp_path / "log.txt"
    lines = [b"\t".join([b"0"] * 14 + [letter] * 26) for letter in (b"a", b"bb")]
    source.write_bytes(b"\n".join(lines))
    done = scaled("dlrm", source, tmp_path / "out", size_bytes)
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "out" / "train.txt").read_bytes()
    expected = b""
    for line in itertools.cycle(lines):
        expected += line + b"\n"
        if len(expected) >= size_bytes:
            break
    assert made == expected


def test_rows_go_on_at_their_beginning_with_test_rows_in_proportion(inputs, outputs):
    manifest = read_manifest(outputs / "bin")
    shares = []
    for name in ("preprocessed.bin", "preprocessed_test.bin"):
        given = np.fromfile(inputs / "bin" / name, "<i4").reshape(-1, 40)
        made = np.fromfile(outputs / "bin" / name, "<i4").reshape(-1, 40)
        turns = -(-len(made) // len(given))
        assert (made == np.tile(given, (turns, 1))[: len(made)]).all()
        shares.append(len(made) / len(given))
    assert shares[1] == pytest.approx(shares[0], rel=1e-3)
    size_bytes = example_called("bin").size_bytes
    assert size_bytes <= manifest.data_bytes < size_bytes + 160
    with (
        np.load(outputs / "bin" / "day_fea_count.npz") as made,
        np.load(inputs / "bin" / "day_fea_count.npz") as given,
    ):
        assert (made["counts"] == given["counts"]).all()
    assert (outputs / "bin" / "preprocessed_train.bin").readlink().name == "preprocessed.bin"


def check_days(source, directory, size_bytes, most_above):
    """Compare whole days by their bytes, and the last one's rows with its source's."""
    manifest = read_manifest(directory)
    days = [file for file in manifest.files if file.role == "train"]
    given = sorted(
        source.glob("day_*_reordered.npz"), key=lambda path: int(path.name.split("_")[1])
    )
    for number, day in enumerate(days[:-1]):
        assert day.path == f"day_{number}_reordered.npz"
        assert (directory / day.path).read_bytes() == given[number % len(given)].read_bytes()
    last = given[(len(days) - 1) % len(given)]
    with np.load(directory / days[-1].path) as made, np.load(last) as whole:
        for name in ("X_cat", "X_int", "y"):
            rows = len(made[name])
            assert (made[name] == whole[name][:rows]).all()
            assert made[name].dtype == np.float64
            assert rows == days[-1].samples
    assert zipfile.ZipFile(directory / days[-1].path).testzip() is None
    with np.load(directory / "day_day_count.npz") as counts:
        assert counts["total_per_file"].tolist() == [day.samples for day in days]
    assert size_bytes <= manifest.data_bytes <= size_bytes * (1 + most_above)


def test_days_go_on_and_the_last_one_is_cut_at_a_row(inputs, outputs):
    size_bytes = example_called("npz").size_bytes
    check_days(inputs / "npz", outputs / "npz", size_bytes, 0.005)


def test_deflated_days_are_cut_as_well(tmp_path):
    rows = np.random.default_rng(1).integers(0, 1000, (60_000, 40)).astype(np.float64)
    (tmp_path / "in").mkdir()
    for day in range(2):
        arrays = {"X_cat": rows[:, 14:], "X_int": rows[:, 1:14], "y": rows[:, 0]}
        np.savez_compressed(tmp_path / "in" / f"day_{day}_reordered.npz", **arrays)
    np.savez(tmp_path / "in" / "day_fea_count.npz", counts=np.full(26, 1000))
    size_bytes = 3 * (tmp_path / "in" / "day_0_reordered.npz").stat().st_size + 1_234_567
    done = scaled("dlrm", tmp_path / "in", tmp_path / "out", size_bytes)
    assert done.returncode == 0, done.stderr
    check_days(tmp_path / "in", tmp_path / "out", size_bytes, 0.005)


def test_more_than_500_files_of_records_tell_their_number(inputs, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    record = (inputs / "bert" / "part-00000-of-00500").read_bytes()[:2500]
    length = int.from_bytes(record[:8], "little") + 16
    for part in range(2):
        (source / f"part-{part:05d}-of-00002").write_bytes(record[:length])
    size_bytes = 501 * length
    done = scaled("bert", source, tmp_path / "out", size_bytes)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "out").glob("part-*"))
    assert names == [f"part-{part:05d}-of-00501" for part in range(501)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_a_smaller_size_takes_the_beginning(example, inputs, tmp_path):
    done = scaled(example.workload, inputs / example.name, tmp_path / "out", 1_000_000)
    assert done.returncode == 0, done.stderr
    assert "only its beginning is taken" in done.stdout
    assert verify(tmp_path / "out", processes=1, emit=lambda _: None) == []


def test_again_recognises_and_repairs(inputs, tmp_path):
    arguments = ("imseg", inputs / "imseg", tmp_path / "out", 100_000_000)
    assert scaled(*arguments).returncode == 0
    assert "nothing to write" in scaled(*arguments).stdout
    path = next((tmp_path / "out").glob("*_x.npy"))
    whole = path.read_bytes()
    with path.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"damage")
    findings = verify(tmp_path / "out", processes=1, emit=lambda _: None)
    assert [finding.path for finding in findings] == [path.name]
    done = scaled(*arguments)
    assert "1 damaged segments were written again" in done.stdout, done.stderr
    assert path.read_bytes() == whole


def test_removing_leaves_the_input_alone(inputs, tmp_path):
    before = sorted(path.name for path in (inputs / "bin").iterdir())
    assert scaled("dlrm", inputs / "bin", tmp_path / "out", 50_000_000).returncode == 0
    assert (tmp_path / "out" / SOURCE_NAME).exists()
    command = words("dlrm", inputs / "bin", tmp_path / "out", 1)[:3]
    subprocess.run([*command, "remove", str(tmp_path / "out")], check=True, stdout=subprocess.PIPE)
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in (inputs / "bin").iterdir()) == before
