"""The day that is cut has the first rows that reach the size, however it is measured."""

import pytest

from dsgen.workloads import dlrm_measure, dlrm_source
from tests.property.inputs import Example
from tests.property.strategies import data_set


@pytest.fixture(scope="module", params=["deflate", "stored"])
def source(request, tmp_path_factory):
    """Return the directory of some days, and their listing."""
    root = tmp_path_factory.mktemp("days")
    wanted = data_set("dlrm", 3_000_000, format="npz", compression=request.param)
    Example(name="npz", data_set=wanted, size_bytes=0).make(root)
    names = [path.name for path in root.glob("day_*_reordered.npz")]
    return root, dlrm_source.inspect(root, names, "npz")


def cut(source, size_bytes, processes):
    root, listing = source
    return dlrm_measure._cut_day(root, listing, size_bytes, processes)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.98, 0.9999, 1.0])
def test_a_cut_day_is_that_of_all_pieces(source, share):
    root, listing = source
    of = listing.files[0]
    left = round(of.bytes * share)
    size_bytes = sum(file.bytes for file in listing.files) + left
    every = dlrm_measure._cut_pieces(root, of, listing, size_bytes, of.samples, 1)
    assert sum(rows for rows, _ in every) == of.samples
    wanted = dlrm_measure._until(left, len(listing.files), every, size_bytes, listing)
    found = cut(source, size_bytes, 1)
    assert found == cut(source, size_bytes, 3)
    assert found == (() if wanted.rows == of.samples else (wanted,))


def test_rows_that_take_more_in_the_source_than_here_are_measured_to_the_end(source, monkeypatch):
    """As if the source had been deflated so badly that five times as many rows reach the size."""
    _, listing = source
    monkeypatch.setattr(dlrm_measure, "_MARGIN", 0.2)
    of = listing.files[0]
    size_bytes = sum(file.bytes for file in listing.files) + of.bytes // 2
    (day,) = cut(source, size_bytes, 2)
    assert of.samples * 0.3 < day.rows < of.samples * 0.9
    assert dlrm_measure._bytes(day, listing) >= of.bytes // 2
