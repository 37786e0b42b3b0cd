"""Law 3 for bert: the features that training expects, framed and encoded as TensorFlow does."""

from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from dsgen.errors import UsageError
from dsgen.workloads import WORKLOADS, bert_records
from tests.property.strategies import data_set
from tests.property.tfrecords import FEATURES, parsed, records

GOLDEN = Path(__file__).parent.parent / "golden" / "bert.tfrecord"


def whole(layout, file):
    blocks = WORKLOADS["bert"].blocks
    segments = range(file.segment_count)
    return b"".join(b.tobytes() for s in segments for b in blocks(layout, file, s, {}))


@pytest.fixture(scope="module")
def part():
    layout = data_set("bert", 10_000_000).layout()
    return list(records(whole(layout, layout.files[0])))


@pytest.fixture(scope="module")
def examples(part):
    return [parsed(content) for content in part]


def test_tensorflow_writes_the_same_file():
    # Written by TensorFlow from the features of these records: tests/golden/bert.py.
    layout = data_set("bert", 50_000).layout()
    assert whole(layout, layout.files[0]) == GOLDEN.read_bytes()


def test_the_features_have_the_names_types_and_lengths_of_the_reference(examples):
    for features in examples:
        assert {name: len(values) for name, values in features.items()} == FEATURES
        assert features["masked_lm_weights"].dtype == np.dtype("<f4")


def test_tokens_are_two_sentences_between_separators(examples):
    for features in examples:
        mask, ids, segments = (features[n] for n in ("input_mask", "input_ids", "segment_ids"))
        tokens = mask.sum()
        assert (mask[:tokens] == 1).all()
        assert ids[0] == 101
        assert (ids[:tokens] == 102).sum() == 2
        assert ids[tokens - 1] == 102
        first = int(np.flatnonzero(ids == 102)[0])
        assert (
            segments == [0] * (first + 1) + [1] * (tokens - first - 1) + [0] * (512 - tokens)
        ).all()
        assert (ids[tokens:] == 0).all()
        assert ids.max() < 30_522
        words = np.delete(ids[:tokens], [0, first, tokens - 1])
        assert words.min() >= 1000


def test_masked_positions_are_sorted_distinct_and_name_their_words(examples):
    for features in examples:
        masks = int(features["masked_lm_weights"].sum())
        positions, ids = features["masked_lm_positions"], features["masked_lm_ids"]
        assert 1 <= masks <= 76
        assert (np.diff(positions[:masks]) > 0).all()
        assert positions[masks - 1] < features["input_mask"].sum()
        assert (ids[:masks] == features["input_ids"][positions[:masks]]).all()
        for padded in (positions, ids, features["masked_lm_weights"]):
            assert (padded[masks:] == 0).all()


def test_records_differ_in_length_as_the_originals_and_have_its_mean(part):
    sizes = np.array([len(content) + 16 for content in part])
    assert 2450 <= sizes.mean() <= 2550
    assert sizes.min() < 2250
    assert sizes.max() > 2750
    assert sizes.std() > 100


def test_labels_positions_and_words_are_no_constants(examples):
    labels = np.array([features["next_sentence_labels"][0] for features in examples])
    assert set(labels) == {0, 1}
    assert 0.4 < labels.mean() < 0.6
    assert len({tuple(features["input_ids"]) for features in examples}) == len(examples)
    ids = np.concatenate([f["input_ids"][: f["input_mask"].sum()] for f in examples])
    assert len(np.unique(ids)) > 10_000
    rare = (ids >= 16_384).mean()
    assert 0.02 < rare < 0.08


def test_every_skeleton_and_its_partner_have_twice_the_mean():
    sizes = [len(bert_records.skeleton(kind).row) for kind in range(221)]
    assert {one + other for one, other in zip(sizes, reversed(sizes), strict=True)} == {2 * 2496}
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("size_bytes", "wanted", "count", "last"),
    [
        (5 * 10**9, {}, 7, "part-00006-of-00500"),
        (400 * 10**9, {"law": "original"}, 512, "part-00511-of-00512"),
        (10**9, {"min_files": 200}, 200, "part-00199-of-00500"),
        (10**9, {"min_files": 600}, 600, "part-00599-of-00600"),
    ],
)
def test_names_count_as_the_reference_does(size_bytes, wanted, count, last):
    layout = data_set("bert", size_bytes, **wanted).layout()
    *parts, evaluation = layout.files
    assert (len(parts), parts[-1].path, evaluation.path) == (count, last, "eval_10k")
    assert all(file.samples > 0 for file in layout.files)


def test_full_files_have_as_many_instances_as_the_law_says():
    documented = data_set("bert", 50 * 10**9, law="documented").layout().files[:-2]
    assert all(195_754 <= file.samples <= 260_461 for file in documented)
    assert len({file.samples for file in documented}) == len(documented)
    original = data_set("bert", 50 * 10**9, law="original").layout().files[:-2]
    assert {file.samples for file in original} == {313_532}
    assert original[0].bytes == pytest.approx(782.9e6, rel=0.001)


@pytest.mark.parametrize(
    ("number", "last_bytes", "crc32c"),
    [(0, 2_879, 0x1F3C7C3F), (1, 3_240, 0x04401E56), (-1, 3_263, 0xA63ABD69)],
    ids=["part-00000", "part-00001", "eval_10k"],
)
def test_the_last_record_has_what_the_size_of_the_original_leaves(number, last_bytes, crc32c):
    layout = data_set("bert", 16 << 30).layout()
    file = layout.files[number]
    last = file.segment(file.segment_count - 1)
    blocks = WORKLOADS["bert"].blocks(layout, file, last.index, {})
    content = b"".join(block.tobytes() for block in blocks)
    *others, own = (16 + len(record) for record in records(content))
    assert (own, max(others)) == (last_bytes, 2_779)
    assert google_crc32c.value(content) == crc32c  # these bytes for ever


def test_more_files_than_records_are_refused():
    with pytest.raises(UsageError, match="200 files need as many records: 3 records"):
        data_set("bert", 5_000, min_files=200).layout()


@pytest.mark.parametrize(
    ("size_bytes", "law", "count"),
    [
        (10**10, "documented", 10_000),
        (10**10, "original-mean", 10_169),  # records of 2,496 bytes that have the original's bytes
        (100_000 * 2_496, "original-mean", 10_169),
        (100_000 * 2_496 - 2_496, "original-mean", 9_999),
        (10**7, "documented", 400),
        (10**7, "original-mean", 400),
        (1, "original-mean", 1),
    ],
)
def test_the_evaluation_file_is_the_originals_or_a_tenth_of_the_training(size_bytes, law, count):
    assert data_set("bert", size_bytes, law=law).layout().samples("eval") == count
