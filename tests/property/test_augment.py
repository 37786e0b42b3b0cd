"""Scaling by new samples: none equals another, the first turn is the input, loaders accept all."""

import hashlib
import itertools
import operator
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dsgen import tfrecord
from dsgen.directory import OWN_NAMES
from dsgen.errors import DataSetError
from dsgen.journal import JOURNAL_NAME, begin_journal
from dsgen.manifest import MANIFEST_NAME, read_manifest
from dsgen.plans import planned
from dsgen.scale import Scaled, scale_into
from dsgen.segments import blocks_of
from dsgen.source import SOURCE_NAME, read_source
from dsgen.verify import verify
from dsgen.workloads import bert_augment, dlrm_measure
from dsgen.workloads.dlrm_shuffle import BLOCK_ROWS, part_at
from dsgen.write import generate
from tests.property.strategies import data_set
from tests.property.tfrecords import masked_crc, parsed, records
from tests.waiting import wait_for_file

SEED = 3
NAME = operator.attrgetter("name")


@dataclass(frozen=True, kw_only=True)
class Case:
    """An input and how far it is scaled; large ones have several segments a file."""

    name: str
    workload: str
    make: Callable[[Path], None]
    size_bytes: int


def volumes(directory, shapes):
    draw = np.random.default_rng(1)
    for number, shape in enumerate(shapes):
        x = draw.uniform(-2.3, 2.6, shape).astype("<f4")
        np.save(directory / f"case_{number:05d}_x.npy", x)
        np.save(directory / f"case_{number:05d}_y.npy", draw.integers(0, 3, shape, dtype="u1"))


def small_volumes(directory):
    # More than a MiB a plane, planes of which many are a MiB, and an axis of one voxel.
    volumes(directory, [(1, 3, 600, 700), (1, 40, 30, 50), (1, 1, 20, 30)])


def large_volume(directory):
    volumes(directory, [(1, 100, 420, 421)])


def drawn(directory, data_set):
    """Generate a data set and leave nothing of what makes it ours."""
    generate(data_set.layout(), directory, processes=2, emit=lambda _: None)
    for name in OWN_NAMES:
        (directory / name).unlink(missing_ok=True)


def rows(directory):
    drawn(directory, data_set("dlrm", 20_000_000, format="bin"))


def text(directory):
    drawn(directory, data_set("dlrm", 20_000_000, format="text"))


def text_without_end(directory):
    text(directory)
    with (directory / "train.txt").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.truncate()


def parts(directory):
    # Two files and the one to evaluate on.
    drawn(directory, data_set("bert", 20_000_000, min_files=2))


def large_part(directory):
    drawn(directory, data_set("bert", 80_000_000))


def days(compression, size_bytes):
    def make(directory):
        wanted = data_set("dlrm", size_bytes, format="npz", compression=compression)
        drawn(directory, wanted)
        for day in range(3, 24):
            (directory / f"day_{day}_reordered.npz").unlink()

    return make


CASES = [
    Case(name="imseg", workload="imseg", make=small_volumes, size_bytes=120_000_000),
    Case(name="imseg-large", workload="imseg", make=large_volume, size_bytes=250_000_000),
    Case(name="bert", workload="bert", make=parts, size_bytes=75_000_001),
    Case(name="bert-large", workload="bert", make=large_part, size_bytes=239_000_000),
    Case(name="bin", workload="dlrm", make=rows, size_bytes=150_000_000),
    Case(name="text", workload="dlrm", make=text, size_bytes=150_000_000),
    Case(name="text-without-end", workload="dlrm", make=text_without_end, size_bytes=70_000_000),
    Case(name="npz", workload="dlrm", make=days("deflate", 20_000_000), size_bytes=9_000_000),
    Case(
        name="npz-stored", workload="dlrm", make=days("stored", 40_000_000), size_bytes=20_000_000
    ),
    Case(
        name="npz-large", workload="dlrm", make=days("stored", 720_000_000), size_bytes=240_000_000
    ),
]
EVERY = pytest.mark.parametrize("case", CASES, ids=NAME)


def scaled(case, input_, output, *, mode="augment", seed=SEED, processes=2, size_bytes=None):
    scale_into(
        case.workload,
        input_,
        output,
        size_bytes=size_bytes or case.size_bytes,
        mode=mode,
        seed=seed,
        processes=processes,
        emit=lambda _: None,
    )
    return output


def command(case, input_, output):
    words = ["--input", str(input_), "--output", str(output), "--size", str(case.size_bytes)]
    words += ["--mode", "augment", "--seed", str(SEED), "--processes", "2", "--events"]
    return [sys.executable, "-m", "dsgen", "scale", case.workload, *words]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """From a case to its input and its output, made once."""
    known = {}

    def make(case):
        if case.name not in known:
            place = tmp_path_factory.mktemp(case.name)
            (place / "input").mkdir()
            case.make(place / "input")
            known[case.name] = place / "input", scaled(case, place / "input", place / "output")
        return known[case.name]

    return make


def hashes(directory):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if path.is_file() and path.name not in OWN_NAMES
    }


def named(name):
    return next(case for case in CASES if case.name == name)


@EVERY
@pytest.mark.parametrize("processes", [1, 7])
def test_the_number_of_processes_changes_no_byte(case, processes, made, tmp_path):
    input_, output = made(case)
    other = scaled(case, input_, tmp_path / "other", processes=processes)
    assert hashes(other) == hashes(output)
    assert (other / MANIFEST_NAME).read_bytes() == (output / MANIFEST_NAME).read_bytes()


# Mirrors come first, whatever the seed.
@pytest.mark.parametrize("case", [one for one in CASES if one.name != "imseg-large"], ids=NAME)
def test_another_seed_gives_other_samples(case, made, tmp_path):
    input_, output = made(case)
    other = scaled(case, input_, tmp_path / "other", seed=SEED + 1)
    assert hashes(other) != hashes(output)


@EVERY
def test_a_segment_does_not_depend_on_those_before_it(case, made):
    input_, output = made(case)
    layout = planned(read_manifest(output).parameters, output)
    content = Scaled(root=input_, source=read_source(output))
    for file in layout.files:
        for number in {file.segment_count // 2, file.segment_count - 1}:
            segment = file.segment(number)
            blocks = blocks_of(content, layout, file, number, {})
            alone = b"".join(block.tobytes() for block in blocks)
            with (output / file.path).open("rb") as stream:
                stream.seek(segment.offset_bytes)
                on_disk = stream.read(segment.bytes)
            assert alone == on_disk, file.path


@EVERY
def test_resume_after_kill_gives_the_same_bytes(case, made, tmp_path):
    input_, output = made(case)
    expected, draw, killed = hashes(output), random.Random(1), 0
    for moment in range(4):
        directory = tmp_path / f"killed-{moment}"
        arguments = command(case, input_, directory)
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, start_new_session=True)
        wait_for_file(directory / JOURNAL_NAME, child)
        time.sleep(draw.uniform(0.01, 0.3))
        os.killpg(child.pid, signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        child.stdout.close()
        subprocess.run(arguments, check=True, stdout=subprocess.PIPE)
        assert hashes(directory) == expected
        for path in directory.iterdir():
            path.unlink()
    assert killed >= 2, "the kills came too late to mean anything"


@EVERY
def test_damage_is_found_and_repaired_to_the_same_bytes(case, made, tmp_path):
    input_, output = made(case)
    other = scaled(case, input_, tmp_path / "other")
    last = [file for file in read_manifest(other).files if file.role == "train"][-1]
    with (other / last.path).open("r+b") as stream:
        stream.seek(last.bytes // 2)
        byte = stream.read(1)
        stream.seek(last.bytes // 2)
        stream.write(bytes([byte[0] ^ 1]))
    assert len(verify(other, processes=2, emit=lambda _: None)) == 1
    scaled(case, input_, other)
    assert hashes(other) == hashes(output)


def pairs(directory):
    """Return (x, y) of every case, by the case's number."""
    paths = sorted(directory.glob("case_*_x.npy"))
    return {
        int(path.name[5:10]): (np.load(path), np.load(str(path).replace("_x.npy", "_y.npy")))
        for path in paths
    }


@pytest.mark.parametrize("case", [named("imseg"), named("imseg-large")], ids=NAME)
def test_imseg_first_cases_are_the_inputs_and_no_two_are_equal(case, made, tmp_path):
    input_, output = made(case)
    for path in input_.iterdir():
        assert (output / path.name).read_bytes() == path.read_bytes()
    paths = list(output.glob("*_x.npy"))
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) == len(paths)
    copies = scaled(case, input_, tmp_path / "copies", mode="copy")
    sizes = {path.name: path.stat().st_size for path in output.glob("*.npy")}
    assert sizes == {path.name: path.stat().st_size for path in copies.glob("*.npy")}


def test_imseg_cases_are_mirrored_alike_and_weaker_once_all_ways_are_used(made):
    input_, output = made(named("imseg"))
    originals, everything = pairs(input_), pairs(output)
    new = [pair for number, pair in everything.items() if number not in originals]
    factors = set()
    for place, (x, y) in enumerate(new, len(originals)):
        copy, key = divmod(place, len(originals))
        of_x, of_y = originals[key]
        wide = [axis for axis in (1, 2, 3) if x.shape[axis] > 1]
        axes = tuple(axis for rank, axis in enumerate(wide) if copy >> rank & 1)
        group = copy >> len(wide)
        factor = np.float32(1)
        if group:
            at = np.unravel_index(np.argmax(np.abs(of_x)), of_x.shape)
            factor = np.abs(x).max() / np.abs(of_x[at])
            assert 0.8 < factor < 1
            factors.add((key, group, round(float(factor), 5)))
        assert (y == np.flip(of_y, axes)).all()
        assert np.allclose(x, np.flip(of_x, axes) * factor, rtol=1e-6)
        assert group or (x == np.flip(of_x, axes)).all()
        assert of_x.min() <= x.min()
        assert x.max() <= of_x.max()
    assert len(factors) > 2
    assert len({(key, factor) for key, _, factor in factors}) == len(factors)


def test_imseg_headers_of_any_length_are_kept(tmp_path):
    (tmp_path / "input").mkdir()
    volume = np.arange(24, dtype="<f4").reshape(1, 2, 3, 4)
    for kind, array in (("x", volume), ("y", volume.astype("u1"))):
        text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': (1, 2, 3, 4)}}"
        header = text.ljust(500).encode()
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        (tmp_path / "input" / f"case_00000_{kind}.npy").write_bytes(start + array.tobytes())
    case = Case(name="header", workload="imseg", make=small_volumes, size_bytes=10_000)
    output = scaled(case, tmp_path / "input", tmp_path / "output")
    files = sorted(output.glob("*_x.npy"))
    assert len(files) == 9
    assert {path.read_bytes()[:510] for path in files} == {files[0].read_bytes()[:510]}
    assert (np.load(files[7]) == volume[:, ::-1, ::-1, ::-1]).all()


def test_imseg_volumes_that_no_mirror_changes_are_refused(tmp_path):
    (tmp_path / "input").mkdir()
    for kind, dtype in (("x", "<f4"), ("y", "u1")):
        np.save(tmp_path / "input" / f"case_00000_{kind}.npy", np.ones((1, 2, 3, 4), dtype))
    case = Case(name="even", workload="imseg", make=small_volumes, size_bytes=3_000)
    with pytest.raises(DataSetError, match=r"a mirrored volume equals case_00000_x.npy"):
        scaled(case, tmp_path / "input", tmp_path / "output")


def contents(path):
    return list(records(path.read_bytes()))


@pytest.mark.parametrize("case", [named("bert"), named("bert-large")], ids=NAME)
def test_bert_first_files_are_the_inputs_and_no_two_records_are_equal(case, made, tmp_path):
    input_, output = made(case)
    evaluation = contents(output / "eval_10k")
    assert evaluation == contents(input_ / "eval_10k")
    files = sorted(output.glob("part-*"))
    for path, of in zip(files, sorted(input_.glob("part-*")), strict=False):
        assert path.read_bytes() == of.read_bytes()
    everything = [record for path in files for record in contents(path)]
    assert len({*everything, *evaluation}) == len(everything) + len(evaluation)
    manifest = read_manifest(output)
    assert sum(file.samples for file in manifest.files if file.role == "train") == len(everything)
    copies = scaled(case, input_, tmp_path / "copies", mode="copy")
    expected = {(file.path, file.bytes, file.samples) for file in read_manifest(copies).files}
    assert {(file.path, file.bytes, file.samples) for file in manifest.files} == expected


def test_bert_words_move_between_separators_and_nothing_else_changes(made):
    input_, output = made(named("bert"))
    sources, files = sorted(input_.glob("part-*")), sorted(output.glob("part-*"))
    assert len(files) == 8
    moved = total = 0
    for number, path in enumerate(files[2:], 2):
        for new, old in zip(contents(path), contents(sources[number % 2]), strict=False):
            assert len(new) == len(old)
            new, old = parsed(new), parsed(old)
            assert new.keys() == old.keys()
            for name in new.keys() - {"input_ids"}:
                assert (new[name] == old[name]).all()
            used = int(old["input_mask"].sum())
            before, after = old["input_ids"], new["input_ids"]
            fixed = (before == 102) | ~np.isin(np.arange(512), np.arange(1, used - 1))
            assert (after[fixed] == before[fixed]).all()
            assert (np.sort(after) == np.sort(before)).all()
            moved, total = moved + (after != before).sum(), total + (~fixed).sum()
    assert moved > 0.9 * total


def example(ids, mask, *, rest=b""):
    listed = [
        tfrecord.feature(name, "int64", b"".join(map(tfrecord.varint, values)))
        for name, values in (("input_ids", ids), ("input_mask", mask))
    ]
    names = ("masked_lm_ids", "masked_lm_positions", "next_sentence_labels", "segment_ids")
    others = [tfrecord.feature(name, "int64", b"\x01") for name in names]
    weights = tfrecord.feature("masked_lm_weights", "float", bytes(4))
    return tfrecord.example([*listed, *others, weights]) + rest


def framed(contents_):
    return b"".join(
        tfrecord.frame_header(len(one)) + one + masked_crc(one).to_bytes(4, "little")
        for one in contents_
    )


def scaled_records(tmp_path, contents_, size_bytes):
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "part-00000-of-00001").write_bytes(framed(contents_))
    return scaled(named("bert"), tmp_path / "input", tmp_path / "output", size_bytes=size_bytes)


def test_bert_records_of_few_words_differ_until_their_orders_are_used_up(tmp_path):
    # 60 ways to arrange these five words; none to tell one or two equal ones apart.
    words = [101, 2000, 20000, 102, 2000, 7, 3000, 102]
    few = [example([*words, 0, 0], [1] * 8 + [0] * 2)]
    few += [example([101, 5, 102, 0], [1, 1, 1, 0]), example([101, 102, 0], [1, 1, 0])]
    few += [example([101, 5, 102, 5, 102], [1] * 5), example([9], [0])]
    size_bytes = len(framed(few))
    output = scaled_records(tmp_path, few, 60 * size_bytes)
    found = [contents(path) for path in sorted(output.glob("part-*"))]
    assert len(found) == 60
    assert len({one[0] for one in found}) == 60
    for one in found:
        ids = [parsed(one[0])["input_ids"].tolist()]
        assert (ids[0][0], ids[0][3], ids[0][7:]) == (101, 102, [102, 0, 0])
        assert sorted(ids[0]) == sorted([*words, 0, 0])
        assert one[1:] == few[1:]


def test_bert_records_longer_than_a_batch_are_shuffled(tmp_path):
    draw = np.random.default_rng(1)
    ids = [101, *draw.integers(1000, 30_000, 1_200_000).tolist(), 102]
    several = [example(draw.integers(200, 300, 40), [1] * 40), example(ids, [1] * len(ids))]
    output = scaled_records(tmp_path, several, 2 * len(framed(several)))
    first, second = (contents(path) for path in sorted(output.glob("part-*")))
    assert first == several
    assert len({*first, *second}) == 4
    assert sorted(parsed(second[1])["input_ids"]) == sorted(ids)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (example([101, 200, 300, 400, 102], [1] * 6), "another number of input_ids"),
        (example([101, 200, 102], [1] * 3, rest=b"\x08\x01"), "not an Example"),
        (example([101, 200, 102], []), "lacks input_mask"),
        (tfrecord.example([tfrecord.feature("input_mask", "int64", b"\1")]), "lacks input_ids"),
        (b"", "not an Example"),
    ],
)
def test_bert_records_that_are_none_are_refused(bad, what, tmp_path):
    good = example(list(range(101, 131)), [1] * 30)
    with pytest.raises(DataSetError, match=what):
        scaled_records(tmp_path, [good, bad, good], 2_000)


def test_bert_varints_without_an_end_are_refused():
    endless = [tfrecord.feature("input_mask", "int64", b"\1" * 9)]
    endless += [tfrecord.feature("input_ids", "int64", b"\xff" * 9)]
    record = tfrecord.example(endless)
    data = np.frombuffer(tfrecord.frame_header(len(record)) + record + bytes(4), np.uint8).copy()
    places = np.array([0, len(data)])
    data[-4:] = bert_augment._footers(data, places)[0]
    with pytest.raises(ValueError, match="no varints"):
        bert_augment._shuffle(data, 0, places, np.uint64(1), 1)


def test_bert_damage_is_not_given_a_new_crc(made, tmp_path):
    (tmp_path / "input").mkdir()
    data = bytearray((made(named("bert"))[0] / "part-00000-of-00500").read_bytes())
    data[-100] ^= 1
    (tmp_path / "input" / "part-00000-of-00500").write_bytes(data)
    with pytest.raises(DataSetError, match=r"another CRC of its data: the record at byte [0-9,]+"):
        scaled(named("bert"), tmp_path / "input", tmp_path / "output")


def test_parts_are_about_equal_and_cover_all():
    for total, at_most in ((16_385, 16_384), (125_000, BLOCK_ROWS), (7, 1), (5, 9)):
        parts = sorted({part_at(total, at_most, place) for place in range(total)})
        assert [number for number, _, _ in parts] == list(range(len(parts)))
        assert all(one[2] == other[1] for one, other in itertools.pairwise(parts))
        sizes = [end - first for _, first, end in parts]
        assert (sum(sizes), parts[0][1]) == (total, 0)
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= at_most


def row_table(path):
    return np.fromfile(path, dtype="<i4").reshape(-1, 40)


def check_shuffled(made_rows, of):
    """Check that in every whole turn each column of each block has its values, in another order."""
    for turn in range(len(made_rows) // len(of)):
        for first, end in {part_at(len(of), BLOCK_ROWS, row)[1:] for row in range(len(of))}:
            block = made_rows[turn * len(of) :][first:end]
            assert (np.sort(block, axis=0) == np.sort(of[first:end], axis=0)).all()
            assert ((block != of[first:end]).any(axis=0) | (np.ptp(block, axis=0) == 0)).all()
            for one, other in ((0, 1), (13, 14), (20, 30), (38, 39)):
                both = [np.unique(t[:, [one, other]], axis=0) for t in (block, of[first:end])]
                assert len(both[0]) == 1 or not np.array_equal(*both), "columns move on their own"


def test_bin_first_turn_is_the_inputs_and_no_two_rows_are_equal(made):
    input_, output = made(named("bin"))
    everything = []
    for name in ("preprocessed.bin", "preprocessed_test.bin"):
        of, new = row_table(input_ / name), row_table(output / name)
        assert (new[: len(of)] == of).all()
        everything.append(new)
    assert len(everything[0]) == 937_500
    assert len(everything[1]) == 2656 * 937_500 // 125_000
    joined = np.concatenate(everything)
    assert len({row.tobytes() for row in joined}) == len(joined)
    counts = np.load(output / "day_fea_count.npz")["counts"]
    assert (counts == np.load(input_ / "day_fea_count.npz")["counts"]).all()
    assert (joined[:, 14:] < counts).all()


@pytest.mark.parametrize("name", ["preprocessed.bin", "preprocessed_test.bin"])
def test_bin_columns_are_shuffled_within_blocks(name, made):
    input_, output = made(named("bin"))
    of = row_table(input_ / name)
    check_shuffled(row_table(output / name)[len(of) :][: 2 * len(of)], of)


def test_bin_without_test_rows_gets_new_ones(made, tmp_path):
    (tmp_path / "input").mkdir()
    for name in ("preprocessed.bin", "day_fea_count.npz"):
        shutil.copy(made(named("bin"))[0] / name, tmp_path / "input")
    output = scaled(named("bin"), tmp_path / "input", tmp_path / "output", size_bytes=30_000_000)
    tests = row_table(output / "preprocessed_test.bin")
    everything = np.concatenate([row_table(output / "preprocessed.bin"), tests])
    assert len(tests) > 3000
    assert len({row.tobytes() for row in everything}) == len(everything)


def test_bin_of_too_few_rows_is_refused(made, tmp_path):
    (tmp_path / "input").mkdir()
    shutil.copy(made(named("bin"))[0] / "day_fea_count.npz", tmp_path / "input")
    data = (made(named("bin"))[0] / "preprocessed.bin").read_bytes()[: 15 * 160]
    (tmp_path / "input" / "preprocessed.bin").write_bytes(data)
    with pytest.raises(DataSetError, match="15 rows, where 16 are needed to make new ones"):
        scaled(named("bin"), tmp_path / "input", tmp_path / "output", size_bytes=10_000)


def lines(path):
    """Return the lines of a log; the last one may lack its end."""
    return path.read_bytes().removesuffix(b"\n").split(b"\n")


@pytest.mark.parametrize("case", [named("text"), named("text-without-end")], ids=NAME)
def test_text_first_turn_is_the_inputs_and_no_two_lines_are_equal(case, made):
    input_, output = made(case)
    of, new = lines(input_ / "train.txt"), lines(output / "train.txt")
    assert new[: len(of)] == of
    assert (output / "train.txt").read_bytes().endswith(b"\n")
    assert all(len(line.split(b"\t")) == 40 for line in new)
    (counted,) = [file.samples for file in read_manifest(output).files]
    assert len(set(new)) == len(new) == counted
    size_bytes = (output / "train.txt").stat().st_size
    assert case.size_bytes <= size_bytes < case.size_bytes + 400


@pytest.mark.parametrize("case", [named("text"), named("text-without-end")], ids=NAME)
def test_text_columns_are_shuffled_within_blocks(case, made):
    input_, output = made(case)
    of, new = lines(input_ / "train.txt"), lines(output / "train.txt")
    turn_bytes = sum(len(line) + 1 for line in of)
    begins = np.cumsum([0, *(len(line) + 1 for line in of)])[:-1]
    blocks = [part_at(turn_bytes, 2**20, int(at))[0] for at in begins]
    second = new[len(of) : 2 * len(of)]
    assert len(set(blocks)) == 20
    for block in set(blocks):
        chosen = slice(blocks.index(block), blocks.index(block) + blocks.count(block))
        before, after = ([line.split(b"\t") for line in t[chosen]] for t in (of, second))
        assert sum(map(len, of[chosen])) == sum(map(len, second[chosen]))
        for one, other in zip(zip(*before, strict=True), zip(*after, strict=True), strict=True):
            assert sorted(one) == sorted(other)
            assert one != other


@pytest.mark.parametrize("more", range(0, 700, 61))
def test_text_ends_with_the_line_that_reaches_the_size(more, made, tmp_path):
    input_, _ = made(named("text-without-end"))
    turn_bytes = (input_ / "train.txt").stat().st_size + 1
    for size_bytes in (turn_bytes - 300 + more, 2 * turn_bytes - 300 + more):
        directory = tmp_path / f"{size_bytes}"
        scaled(named("text"), input_, directory, size_bytes=size_bytes)
        written = (directory / "train.txt").read_bytes()
        last = written.removesuffix(b"\n").rpartition(b"\n")[2]
        assert len(written) - len(last) - 1 < size_bytes <= len(written)
        assert len(last.split(b"\t")) == 40


def test_text_with_a_line_that_is_no_click_is_refused(made, tmp_path):
    (tmp_path / "input").mkdir()
    data = (made(named("text"))[0] / "train.txt").read_bytes()
    middle = data.index(b"\t", 10_000_000)
    path = tmp_path / "input" / "train.txt"
    path.write_bytes(data[:middle] + b"\t" + data[middle:])
    with pytest.raises(DataSetError, match=r"from byte [0-9,]+ on has other than 40 fields"):
        scaled(named("text"), tmp_path / "input", tmp_path / "output", size_bytes=50_000_000)


DAYS = [one for one in CASES if one.name.startswith("npz")]


def day(path):
    """Return the 40 columns of a day, as text has them."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with np.load(path) as arrays:
        return np.concatenate([arrays["y"][:, None], arrays["X_int"], arrays["X_cat"]], axis=1)


@pytest.mark.parametrize("case", DAYS, ids=NAME)
def test_npz_first_days_are_the_inputs_and_no_two_rows_are_equal(case, made):
    input_, output = made(case)
    for number in range(3):
        name = f"day_{number}_reordered.npz"
        assert (output / name).read_bytes() == (input_ / name).read_bytes()
    per_day = np.load(output / "day_day_count.npz")["total_per_file"]
    every = [day(output / f"day_{number}_reordered.npz") for number in range(len(per_day))]
    assert [len(rows) for rows in every] == per_day.tolist()
    assert [len(rows) for rows in every[3:6]] == [len(rows) for rows in every[:3]]
    joined = np.concatenate(every)
    assert len({row.tobytes() for row in joined}) == len(joined)
    size_bytes = sum(path.stat().st_size for path in output.glob("day_*_reordered.npz"))
    assert case.size_bytes <= size_bytes < 1.01 * case.size_bytes


@pytest.mark.parametrize("case", DAYS, ids=NAME)
def test_npz_columns_are_shuffled_within_pieces(case, made):
    input_, output = made(case)
    made_again = read_source(output).days
    assert [one.index for one in made_again] == list(range(3, len(made_again) + 3))
    for one in made_again:
        of = day(input_ / f"day_{one.index % 3}_reordered.npz")
        new = day(output / f"day_{one.index}_reordered.npz")
        assert len(new) == one.rows
        bounds = {part_at(len(of), one.piece_rows, row)[1:] for row in range(one.rows)}
        for first, end in bounds:
            assert end <= one.rows, "cut where a piece ends"
            before, after = of[first:end], new[first:end]
            assert (np.sort(before, axis=0) == np.sort(after, axis=0)).all()
            changed = (before != after).any(axis=0)
            assert (changed | (np.ptp(before, axis=0) == 0)).mean() > 0.9


def test_npz_days_are_measured_once_however_often_the_command_is_repeated(
    made, tmp_path, monkeypatch
):
    input_, output = made(named("npz"))
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(output / SOURCE_NAME, unfinished)
    begin_journal(unfinished, read_manifest(output).parameters, []).__exit__()
    monkeypatch.setattr(dlrm_measure, "made_days", None)
    for directory in (output, unfinished):
        assert hashes(scaled(named("npz"), input_, directory)) == hashes(output)
    (output / SOURCE_NAME).rename(tmp_path / "listing")
    with pytest.raises(TypeError, match="not callable"):
        scaled(named("npz"), input_, output)
    (tmp_path / "listing").rename(output / SOURCE_NAME)


def test_npz_in_one_turn_is_that_of_copies(made, tmp_path):
    input_, _ = made(named("npz"))
    both = [
        scaled(named("npz"), input_, tmp_path / mode, mode=mode, size_bytes=2_000_000)
        for mode in ("copy", "augment")
    ]
    assert hashes(both[0]) == hashes(both[1])


def test_npz_of_too_few_rows_is_refused(made, tmp_path):
    input_ = tmp_path / "input"
    input_.mkdir()
    shutil.copy(made(named("npz"))[0] / "day_fea_count.npz", input_)
    arrays = {"X_cat": np.ones((15, 26)), "X_int": np.ones((15, 13)), "y": np.ones(15)}
    np.savez(input_ / "day_0_reordered.npz", **arrays)
    with pytest.raises(DataSetError, match="15 rows, where 16 are needed to make new ones"):
        scaled(named("npz"), input_, tmp_path / "output", size_bytes=20_000)
