"""Law 3 for dlrm: what numpy and the reference's readers make of each format."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dsgen.workloads import dlrm_npz, dlrm_npz_parts
from dsgen.workloads.dlrm_columns import categories, day_rows
from dsgen.write import generate
from tests.property.strategies import data_set

GOLDEN = Path(__file__).parent.parent / "golden"
COUNTS = np.array(categories())
ENTROPIES = pytest.mark.parametrize("entropy", ["natural", "incompressible"])


def made(tmp_path, size_bytes, **wanted):
    generate(
        data_set("dlrm", size_bytes, **wanted).layout(),
        tmp_path / "set",
        processes=2,
        emit=lambda _: None,
    )
    return tmp_path / "set"


def test_the_originals_facts_are_the_published_ones():
    assert len(day_rows()) == 24
    assert sum(day_rows()[:23]) * 160 == 671_231_630_720
    assert COUNTS.sum() == 53_566_692


@ENTROPIES
def test_bin_is_rows_that_the_reference_seeks_in(entropy, tmp_path):
    # Batches by seek and read, as its CriteoBinDataset takes them.
    directory = made(tmp_path, 100_000_000, format="bin", entropy=entropy)
    counts = np.load(directory / "day_fea_count.npz")["counts"]
    assert (counts == COUNTS).all()
    batch = 4096 * 160
    for name, size_bytes in (
        ("preprocessed_train.bin", 100_000_000),
        ("preprocessed_test.bin", None),
    ):
        path = directory / name
        size_bytes = size_bytes or round(625_000 * 89_137_319 / 4_195_197_692) * 160
        assert path.stat().st_size == size_bytes
        with path.open("rb") as stream:
            for index in range(-(-size_bytes // batch)):
                stream.seek(index * batch)
                rows = np.frombuffer(stream.read(batch), dtype=np.int32).reshape(-1, 40)
                assert set(np.unique(rows[:, 0])) <= {0, 1}
                assert rows.min() >= 0, "torch.log(X_int + 1)"
                assert (rows[:, 14:] < counts).all()


def test_no_category_reaches_its_count_whatever_is_drawn():
    from dsgen.workloads import dlrm_columns

    class Extremes:
        """Words that are all ones, the largest that can be drawn."""

        def random_raw(self, count):
            return np.full(count, 2**64 - 1, dtype=np.uint64)

    for natural in (True, False):
        rows = dlrm_columns.draw(Extremes(), 3, slice(0, 40), natural=natural)
        assert (rows[:, 14:] < COUNTS).all()
        assert (rows[:, 14:] > 0.999 * COUNTS - 2).all(), "the largest that can be drawn"
        assert (rows[:, 0] == 1).all()


def test_categories_follow_a_power_law():
    from dsgen.seed import segment_words
    from dsgen.workloads.dlrm_columns import CATEGORIES, draw

    ids = draw(segment_words("test", 1, 0, 0), 2**18, CATEGORIES, natural=True)
    for column in (0, 9, 10, 22):
        # P(id < x) = (x / n)^(1/8)
        for share in (0.5, 0.1, 0.01, 1e-4):
            below = (ids[:, column] < share * COUNTS[column]).mean()
            assert below == pytest.approx(share**0.125, abs=0.01)


@pytest.mark.parametrize("compression", ["deflate", "stored"])
@ENTROPIES
def test_npz_has_the_arrays_of_the_reference(compression, entropy, tmp_path):
    directory = made(tmp_path, 20_000_000, format="npz", compression=compression, entropy=entropy)
    per_day = np.load(directory / "day_day_count.npz")["total_per_file"]
    counts = np.load(directory / "day_fea_count.npz")["counts"]
    assert len(per_day) == 24
    assert (counts == COUNTS).all()
    for day, rows in enumerate(per_day):
        path = directory / f"day_{day}_reordered.npz"
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["X_cat.npy", "X_int.npy", "y.npy"]
        with np.load(path) as arrays:
            x_int, x_cat, y = arrays["X_int"], arrays["X_cat"], arrays["y"]
        assert {one.dtype for one in (x_int, x_cat, y)} == {np.dtype(np.float64)}
        assert (x_int.shape, x_cat.shape, y.shape) == ((rows, 13), (rows, 26), (rows,))
        assert (x_cat >= 0).all()
        assert (x_cat < counts).all()
        assert (x_int >= 0).all()
        assert set(np.unique(y)) <= {0, 1}
        assert (x_cat == np.floor(x_cat)).all()
        assert x_cat.any(axis=1).mean() > 0.99, "no zeros in the place of rows"


def test_rows_a_day_are_in_the_originals_proportions():
    layout = data_set("dlrm", 10**9, format="npz").layout()
    rows = np.array([file.samples for file in layout.files if file.role == "train"])
    expected = rows.sum() * np.array(day_rows()) / sum(day_rows())
    assert abs(rows - expected).max() <= 1


@ENTROPIES
def test_deflated_size_is_within_a_quarter_of_numpys(entropy, tmp_path):
    directory = made(tmp_path, 60_000_000, format="npz", entropy=entropy)
    path = directory / "day_0_reordered.npz"
    theirs = io.BytesIO()
    np.savez_compressed(theirs, **np.load(path))
    assert 0.75 < path.stat().st_size / len(theirs.getvalue()) < 1.25


def test_numpys_own_archive_holds_the_same_arrays(tmp_path):
    # Written by numpy once: tests/golden/dlrm.py.
    directory = made(tmp_path, 1_000_000, format="npz")
    with (
        np.load(directory / "day_0_reordered.npz") as mine,
        np.load(GOLDEN / "dlrm_day.npz") as theirs,
    ):
        assert set(mine) == set(theirs)
        for name in theirs:
            assert mine[name].dtype == theirs[name].dtype
            assert np.array_equal(mine[name], theirs[name]), name


def test_rows_that_do_not_fit_become_zeros_and_the_archive_stays_sound(tmp_path, monkeypatch):
    # Twice as much as was planned for.
    tight = [
        dlrm_npz_parts.Array(
            name=array.name,
            columns=array.columns,
            piece_rows=2**9,
            chunk_rows=2**12,
            deflated={"natural": array.deflated["natural"] // 2},
        )
        for array in dlrm_npz_parts.ARRAYS
    ]
    monkeypatch.setattr(dlrm_npz_parts, "ARRAYS", tuple(tight))
    monkeypatch.setattr(dlrm_npz, "ARRAYS", tuple(tight))
    dlrm_npz_parts.parts_of.cache_clear()
    from dsgen.workloads import layout_of

    layout_of.cache_clear()
    try:
        directory = made(tmp_path, 20_000_000, format="npz")
        with np.load(directory / "day_3_reordered.npz") as arrays:
            filled = arrays["X_cat"].any(axis=1).mean()
            assert 0.3 < filled < 0.9
            assert len(arrays["X_int"]) == len(arrays["y"]) == len(arrays["X_cat"])
    finally:
        dlrm_npz_parts.parts_of.cache_clear()
        layout_of.cache_clear()


@ENTROPIES
def test_text_is_lines_of_40_fields(entropy, tmp_path):
    directory = made(tmp_path, 30_000_000, format="text", entropy=entropy)
    path = directory / "train.txt"
    assert 30_000_000 <= path.stat().st_size < 30_000_340
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert len(lines) > 100_000
    missing_integers = missing_categories = 0
    seen = set()
    for line in lines:
        label, *fields = line.split(b"\t")
        assert len(fields) == 39
        assert label in (b"0", b"1")
        for text in fields[:13]:
            missing_integers += not text
            # As it is written, without a zero in front.
            assert not text or str(int(text)).encode() == text
        for text in fields[13:]:
            missing_categories += not text
            assert not text or (len(text) == 8 and int(text, 16) >= 0)
        seen.add(line)
    assert len(seen) > 0.999 * len(lines)
    mean = path.stat().st_size / len(lines)
    assert 235 <= mean <= 250
    assert missing_integers / len(lines) / 13 == pytest.approx(0.206, abs=0.01)
    assert missing_categories / len(lines) / 26 == pytest.approx(0.109, abs=0.01)


def test_text_lines_are_counted_without_being_written(tmp_path):
    layout = data_set("dlrm", 70_000_001, format="text").layout()
    generate(layout, tmp_path / "set", processes=2, emit=lambda _: None)
    text = (tmp_path / "set" / "train.txt").read_bytes()
    assert text.count(b"\n") == layout.files[0].samples
    assert len(text) == layout.files[0].bytes
    assert text.endswith(b"\n")


def test_no_column_of_the_text_has_a_period():
    from dsgen.workloads.dlrm_text import _strata

    for block in range(10):
        columns = _strata(1, 0, block).astype(float)
        assert (np.sort(columns, axis=0) == np.arange(4096)[:, None]).all()
        spectrum = np.abs(np.fft.rfft(columns - columns.mean(axis=0), axis=0)) ** 2
        repeats = np.fft.irfft(spectrum, axis=0)
        # Of 2,047 lags of a true random order the strongest is 0.08 at most, seen in 6,700 orders.
        assert (repeats[1:2048].max(axis=0) / repeats[0]).max() < 0.12
