"""Stand-ins of the originals: their names and sizes, as real bytes or as holes."""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsgen.choices import Wanted
from dsgen.content import Drawn
from dsgen.damage import DAMAGE_NAME
from dsgen.manifest import read_manifest
from dsgen.segments import blocks_of
from dsgen.stand_ins import STAND_INS, other_file_count
from dsgen.tfrecord import feature_names, read_record
from dsgen.verify import verify
from dsgen.workloads import plan
from dsgen.workloads.bert_records import (
    _FEWEST_FILLED,
    MEAN_BYTES,
    _longer,
    _shuffled,
    framed_blocks,
)
from dsgen.write import generate
from harness.config import resolve
from harness.dataset import planned
from harness.flags import add_flags

ROOT = Path(__file__).parents[2]
GIB = 2**30
FEATURES = {
    *("input_ids", "input_mask", "segment_ids", "next_sentence_labels"),
    *("masked_lm_ids", "masked_lm_positions", "masked_lm_weights"),
}


def quiet(_event):
    """Say nothing."""


def layout_of(workload, size_bytes=None, *, holes=False):
    stand_in = STAND_INS[workload]
    wanted = stand_in.filled(holes=holes)
    return plan(workload, size_bytes=size_bytes or stand_in.bytes, seed=1, wanted=wanted)


@pytest.mark.parametrize(
    ("workload", "law", "min_files", "said"),
    [
        ("bert", "documented", 0, "the original has 23 files at this size, not 31: --law original"),
        ("bert", "original", 0, "the original has 23 files at this size, not 22: --law original-m"),
        ("bert", "original-mean", 0, None),
        ("bert", "documented", 64, None),
        ("imseg", "kits19", 0, None),
    ],
)
def test_who_has_another_number_of_files_than_the_original_is_told(workload, law, min_files, said):
    wanted = Wanted(law=law, min_files=min_files)
    layout = plan(workload, size_bytes=16 * GIB, seed=1, wanted=wanted)
    line = other_file_count(layout)
    assert line is None if said is None else line.startswith(said)


@pytest.mark.parametrize("size", ["16GiB", "200GiB"])
@pytest.mark.parametrize("workload", ["bert", "dlrm"])
def test_what_is_generated_by_default_has_the_files_of_the_stand_in(workload, size, tmp_path):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    layout = planned(resolve(workload, parser.parse_args(["--size", size]), tmp_path))
    size_bytes = layout.parameters.size_requested_bytes
    original = plan(workload, size_bytes=size_bytes, seed=7, wanted=STAND_INS[workload].wanted)
    assert [(file.path, file.bytes) for file in layout.files] == [
        (file.path, file.bytes) for file in original.files
    ]


def test_generate_says_that_the_original_has_another_number_of_files(tmp_path):
    words = ("generate", "bert", "--output", tmp_path / "set", "--size", "16GiB")
    done = dsgen(*words, "--law", "documented", "--entropy", "holes")
    assert done.returncode == 0, done.stderr
    assert "the original has 23 files at this size, not 31" in done.stdout


def dsgen(*words):
    return subprocess.run(
        [sys.executable, "-m", "dsgen", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def allocated(directory):
    return sum(512 * path.stat().st_blocks for path in directory.iterdir())


@pytest.mark.parametrize("workload", STAND_INS)
def test_the_default_size_is_exactly_the_originals(workload):
    assert layout_of(workload).data_bytes == STAND_INS[workload].bytes


@pytest.mark.parametrize(
    ("workload", "smaller", "larger"),
    [
        ("imseg", "10 % of its size, its first cases, each whole", "2 times its size, its cases"),
        ("bert", "its first parts, the last one cut", "its parts again under new numbers"),
        ("dlrm", "fewer rows in both files", "more rows in both files"),
    ],
)
def test_what_there_is_of_the_original_is_said_as_it_is(workload, smaller, larger):
    stand_in = STAND_INS[workload]
    assert smaller in stand_in.sentence(stand_in.bytes // 10)
    assert "all of it" in stand_in.sentence(stand_in.bytes)
    assert larger in stand_in.sentence(2 * stand_in.bytes)


def test_bert_has_the_files_that_are_known_and_the_others_mean():
    sizes = {file.path: file.bytes for file in layout_of("bert").files}
    assert sizes.pop("part-00000-of-00500") == 514_241_279
    assert sizes.pop("part-00499-of-00500") == 898_392_312
    assert sizes.pop("eval_10k") == 25_382_591
    assert len(sizes) == 498
    assert max(sizes.values()) - min(sizes.values()) == 1


def test_dlrm_has_the_originals_rows():
    train, test, _ = layout_of("dlrm").files
    assert (train.samples, test.samples) == (4_195_197_692, 89_137_319)
    assert (train.bytes, test.bytes) == (671_231_630_720, 14_261_971_040)


@pytest.mark.parametrize("size_bytes", [16 * GIB, 200 * GIB])
def test_dlrm_rows_generated_under_any_seed_have_the_stand_ins_files(size_bytes):
    generated = plan("dlrm", size_bytes=size_bytes, seed=2, wanted=Wanted(format="bin"))
    assert generated.files == layout_of("dlrm", size_bytes).files


@pytest.mark.parametrize("size_bytes", [200 * GIB, 500 * GIB])
def test_imseg_is_cycled_as_for_the_published_runs(size_bytes):
    files = layout_of("imseg", size_bytes).files
    sizes = [file.bytes for file in files]
    assert sizes[420:] == (sizes[:420] * len(sizes))[420 : len(sizes)]
    assert sum(file.role == "eval" for file in files) == 2 * 42
    assert all(file.role == "train" for file in files[420:])


def test_bert_beyond_500_files_is_cycled():
    files = layout_of("bert", 500 * GIB).files
    parts = [file.bytes for file in files if file.role == "train"]
    assert parts[500:-1] == parts[: len(parts) - 501]
    assert parts[500] == 514_241_279


@pytest.mark.parametrize("index", [0, 1, 499, 500])
def test_the_last_record_of_a_part_completes_its_size(index):
    layout = layout_of("bert")
    file = layout.files[index]
    last = file.segment(file.segment_count - 1)
    content = b"".join(blocks_of(Drawn(), layout, file, last.index, {}))
    assert len(content) == last.bytes
    records = list(records_of(content))
    whole = (file.segment_count - 1) * file.segment(0).bytes // MEAN_BYTES
    assert whole + len(records) == file.samples
    assert all(feature_names(record) == FEATURES for record in records[:-1])
    assert "filler" in feature_names(records[-1]) - FEATURES


def records_of(content):
    class Stream:
        at = 0

        def read(self, size):
            start, self.at = self.at, self.at + size
            return content[start : self.at]

    stream = Stream()
    while stream.at < len(content):
        yield read_record(stream)


@pytest.mark.parametrize("law", ["documented", "original-mean"])
def test_frames_have_the_lengths_of_the_records(law):
    layout = plan("bert", size_bytes=2 * 10**9, seed=3, wanted=Wanted(law=law))
    for file in (layout.files[0], layout.files[-1]):
        for number in (0, file.segment_count - 1):
            segment = file.segment(number)
            framed = b"".join(framed_blocks(file, segment, 3))
            drawn = b"".join(blocks_of(Drawn(), layout, file, number, {}))
            assert list(map(len, records_of(framed))) == list(map(len, records_of(drawn)))
            assert len(framed) == segment.bytes


@pytest.mark.parametrize("more", [*range(_FEWEST_FILLED, 180), 16_384 - MEAN_BYTES, MEAN_BYTES])
def test_a_record_can_be_made_of_any_longer_size(more):
    row = _shuffled(np.random.SFC64(1), 1)
    assert len(row) == MEAN_BYTES
    longer = _longer(row, MEAN_BYTES + more)
    (record,) = records_of(longer.tobytes())
    assert len(longer) == MEAN_BYTES + more
    assert feature_names(record) >= FEATURES


@pytest.mark.parametrize("workload", STAND_INS)
def test_holes_take_no_place_and_verify(workload, tmp_path):
    directory = tmp_path / "set"
    size_bytes = {"imseg": 700_000_000, "bert": 250_000_000, "dlrm": 300_000_000}[workload]
    layout = layout_of(workload, size_bytes, holes=True)
    generate(layout, directory, processes=2, emit=quiet)
    manifest = read_manifest(directory)
    assert [(file.path, file.bytes) for file in manifest.files] == [
        (file.path, (directory / file.path).stat().st_size) for file in layout.files
    ]
    written_bytes = allocated(directory)
    # bert's first records of each file are real: of its one part, and of eval_10k.
    assert written_bytes < 1_000_000 + (2 * 33_600_000 if workload == "bert" else 0)
    assert manifest.allocation.holes_bytes > 0.7 * manifest.data_bytes
    assert verify(directory, processes=2, emit=quiet) == []


def test_holes_hold_arrays_that_numpy_loads(tmp_path):
    generate(layout_of("imseg", 1, holes=True), tmp_path / "set", processes=1, emit=quiet)
    x = np.load(tmp_path / "set" / "case_00000_x.npy")
    y = np.load(tmp_path / "set" / "case_00000_y.npy")
    assert (x.dtype, y.dtype, x.shape == y.shape) == (np.float32, np.uint8, True)
    assert not x.any()


def test_holes_of_bert_begin_as_its_records_do_and_stay_records(tmp_path):
    holes = layout_of("bert", 100_000_000, holes=True)
    generate(holes, tmp_path / "set", processes=2, emit=quiet)
    real = layout_of("bert", 100_000_000)
    first = next(iter(Drawn().blocks(real, real.files[0], 0, {})))
    content = (tmp_path / "set" / holes.files[0].path).read_bytes()
    assert content[: first.size] == first.tobytes()
    assert not any(content[first.size + 12 : 60_000_000])
    assert sum(1 for _ in records_of(content)) == holes.files[0].samples


def test_a_hole_that_was_written_to_is_made_again(tmp_path):
    directory = tmp_path / "set"
    layout = layout_of("imseg", 1, holes=True)
    generate(layout, directory, processes=1, emit=quiet)
    before = allocated(directory)
    path = directory / "case_00000_x.npy"
    with path.open("r+b") as stream:
        stream.seek(3_000_000)
        stream.write(b"no zeros" * 100_000)
    assert len(verify(directory, processes=1, emit=quiet)) == 1
    generate(layout, directory, processes=1, emit=quiet)
    assert not (directory / DAMAGE_NAME).exists()
    assert verify(directory, processes=1, emit=quiet) == []
    assert allocated(directory) - before < 2 * 4096  # blocks at the ends of what was written


def test_holes_and_bytes_of_one_size_are_different_data_sets(tmp_path):
    words = ("imseg", "--output", tmp_path / "set", "--size", "1B")
    assert dsgen("originals", *words, "--holes").returncode == 0
    done = dsgen("originals", *words)
    assert done.returncode == 6
    assert "entropy holes, not natural" in done.stderr


def test_holes_may_be_larger_than_the_disk(tmp_path):
    total_bytes = os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    layout = layout_of("dlrm", 2 * total_bytes, holes=True)
    small = replace(layout, files=layout.files[1:])  # its test rows are enough to see it
    assert all(not Drawn().takes_room(small, file) for file in small.files)
    done = dsgen("originals", "dlrm", "--output", tmp_path / "set", "--size", str(2 * total_bytes))
    assert done.returncode == 7
    assert "too little space" in done.stderr


def test_the_listing_says_what_is_the_originals_own(tmp_path):
    words = ("--output", tmp_path / "set", "--size", "1MB", "--holes")
    done = dsgen("originals", "bert", *words)
    assert done.returncode == 0, done.stderr
    assert "are not known one by one, and are their mean" in done.stdout
    document = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert (document["law"], document["options"]["entropy"]) == ("original-mean", "holes")


@pytest.mark.parametrize("format_", ["text", "npz"])
def test_formats_whose_sizes_are_not_known_have_no_holes(format_, tmp_path):
    words = ("--output", tmp_path / "set", "--size", "1MB", "--format", format_)
    done = dsgen("generate", "dlrm", *words, "--entropy", "holes")
    assert done.returncode == 2
    assert "unknown entropy 'holes'" in done.stderr
