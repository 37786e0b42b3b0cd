"""Pages leave memory when asked, come back when asked, and nobody claims what it cannot know."""

import errno
import os
import time
from mmap import ACCESS_READ, mmap
from pathlib import Path

import pytest

from dsgen.errors import DataSetError
from harness.worker.host import residency
from harness.worker.host.counters import IoCounters
from harness.worker.host.residency import evict, expel, resident_fraction, warm
from tests.unit.worker_run import load_json, make_data_set, make_spec, run_worker, sync


@pytest.fixture
def paths(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}").write_bytes(bytes(3 << 20))
    sync(tmp_path)
    return [str(path) for path in tmp_path.iterdir()]


def evict_at_last(paths):
    """Evict again and again: pages that the kernel holds to move them stay for that moment."""
    for _ in range(20):
        evict(paths)
        time.sleep(0.005)


def test_evicted_files_are_not_resident_and_warm_ones_are(paths):
    warm(paths)
    assert resident_fraction(paths) == 1
    evict_at_last(paths)
    assert resident_fraction(paths) == 0


def test_a_part_counts_as_a_part(paths):
    warm(paths)
    evict_at_last(paths[:1])
    assert resident_fraction(paths) == 0.75


def test_a_probe_brings_in_no_more_than_its_page(paths):
    evict_at_last(paths)
    before = device_bytes()
    resident_fraction(paths)
    # A page each; read-ahead would have fetched hundreds of KiB.
    assert device_bytes() - before <= len(paths) * 16_384


def test_a_page_that_the_device_delivers_during_the_probe_was_not_resident(paths, monkeypatch):
    def wait(descriptor, pages, offset, _flags):
        return preadv(descriptor, pages, offset)

    preadv = os.preadv
    evict_at_last(paths)
    monkeypatch.setattr(os, "preadv", wait)
    assert resident_fraction(paths) == 0
    assert resident_fraction(paths) == 1


def test_pages_are_expelled_whoever_wrote_or_read_them(paths):
    for path in paths:
        with Path(path).open("r+b") as stream:  # dirty from here on
            stream.write(b"x" * (1 << 20))
    warm(paths)
    assert expel(paths) == 0


def test_pages_that_are_mapped_stay_and_are_told(paths):
    with (
        Path(paths[0]).open("rb") as stream,
        mmap(stream.fileno(), 0, access=ACCESS_READ) as mapped,
    ):
        assert sum(mapped[::4096]) == 0  # every page of it is touched
        assert expel(paths) == 0.25


def device_bytes():
    return IoCounters().snapshot().read_bytes


def test_a_file_system_that_cannot_say_says_nothing(paths, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "preadv", refuse)
    assert resident_fraction(paths) is None


def test_an_error_of_the_storage_is_no_answer(paths, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(OSError, match="Input/output"):
        resident_fraction(paths)


def test_large_files_are_probed_all_along(tmp_path, monkeypatch):
    monkeypatch.setattr(residency, "_PROBE_EVERY_BYTES", 1 << 20)
    offsets = []
    monkeypatch.setattr(os, "preadv", lambda _fd, _pages, offset, _flags: offsets.append(offset))
    (tmp_path / "file").write_bytes(bytes((2 << 20) + 10))
    assert resident_fraction([str(tmp_path / "file")]) == 1
    assert offsets == [1 << 19, 3 << 19, (2 << 20) + 5]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataSetError, match="absent"):
        evict([str(tmp_path / "absent")])


# Of the four pairs: a page that the kernel holds at that moment, to move it for one, stays.
TWO_FILES = 2 / 8


def evictions(tmp_path, cache):
    data_dir = make_data_set(tmp_path / "data", train=4, side=16)
    warm(str(path) for path in data_dir.glob("*.npy"))
    spec = make_spec(tmp_path, data_dir, epochs=3, cache=cache, accelerators=2)
    assert run_worker(tmp_path, spec).returncode == 0
    return [
        (one["epoch"], one["resident_fraction"])
        for one in load_json(spec, "worker.json")["evictions"]
    ]


def test_cold_evicts_before_every_epoch_and_probes_once(tmp_path):
    (first, resident), *later = evictions(tmp_path, "cold")
    assert first == 1
    assert resident <= TWO_FILES
    assert later == [(2, None), (3, None)]


def test_once_evicts_before_the_first_epoch(tmp_path):
    ((first, resident),) = evictions(tmp_path, "once")
    assert first == 1
    assert resident <= TWO_FILES


@pytest.mark.parametrize("cache", ["warm", "asis"])
def test_warm_and_asis_evict_nothing(tmp_path, cache):
    assert evictions(tmp_path, cache) == []
