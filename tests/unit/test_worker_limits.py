"""What the machine allows: cores, memory, and room for rows."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from dsgen.manifest import read_manifest
from harness.worker import memory
from harness.worker.capacity import rooms_of_rank
from harness.worker.cores import usable_cores
from harness.worker.failure import MemoryShortError
from harness.worker.io import DataCalls
from harness.worker.memory import available_bytes
from harness.worker.record import ROW, Phase
from harness.worker.training import plan
from tests.unit.worker_run import load_json, make_data_set, make_spec, run_worker


def test_usable_cores_follow_the_affinity_mask():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.fixture
def groups(tmp_path):
    """Return a function that puts this process into a group, with files that set limits."""

    def make(line, files):
        (tmp_path / "self").mkdir(exist_ok=True)
        (tmp_path / "self" / "cgroup").write_text(f"{line}\n")
        (tmp_path / "meminfo").write_text("MemAvailable:    8000000 kB\n")
        for name, text in files.items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path, tmp_path / "groups"

    return make


V1 = {"cpu/a/b/cpu.cfs_period_us": 100000, "cpu/a/cpu.cfs_period_us": 100000}


@pytest.mark.parametrize(
    ("line", "files", "cores"),
    [
        ("0::/a/b", {"a/b/cpu.max": "max 100000"}, None),
        ("0::/a/b", {"a/b/cpu.max": "150000 100000", "cpu.max": "max 100000"}, 1),
        ("0::/a/b", {"a/b/cpu.max": "900000 100000", "a/cpu.max": "50000 100000"}, 1),
        ("1:cpu:/a/b", {"cpu/a/b/cpu.cfs_quota_us": -1, **V1}, None),
        ("1:cpu:/a/b", {"cpu/a/b/cpu.cfs_quota_us": 100000, **V1}, 1),
        ("1:cpu:/a/b", {"cpu/a/cpu.cfs_quota_us": 100000, **V1}, 1),
    ],
)
def test_the_tightest_quota_of_the_own_groups_counts_in_whole_cores(groups, line, files, cores):
    assert usable_cores(*groups(line, files)) == (cores or len(os.sched_getaffinity(0)))


def test_ranks_spin_only_with_a_core_each(tmp_path):
    data_dir = make_data_set(tmp_path / "data", train=2 * (usable_cores() + 1), side=16)
    for ranks, used in ((1, True), (usable_cores() + 1, False)):
        out_dir = str(tmp_path / f"out-{ranks}")
        spec = make_spec(tmp_path, data_dir, accelerators=ranks, out_dir=out_dir)
        assert run_worker(tmp_path, spec).returncode == 0
        spin = load_json(spec, "worker.json")["spin"]
        assert spin["used"] is used
        assert (spin["cpu_ns"] > 100_000) is used


@pytest.mark.parametrize(
    ("line", "files", "limit_bytes"),
    [
        ("0::/a/b", {"a/b/memory.max": "max"}, 8_192_000_000),
        ("0::/a/b", {"a/memory.max": 1_000_000, "memory.max": 2_000_000}, 1_000_000),
        ("4:memory:/a", {"memory/a/memory.limit_in_bytes": 3_000_000}, 3_000_000),
        ("4:memory:/a", {"memory/memory.limit_in_bytes": 4_000_000}, 4_000_000),
    ],
)
def test_the_tightest_memory_limit_of_the_own_groups_counts(groups, line, files, limit_bytes):
    assert available_bytes(*groups(line, files)) == limit_bytes


def test_many_processes_need_memory_of_their_own(tmp_path, monkeypatch):
    data_dir = make_data_set(tmp_path / "data", train=8, side=16)
    spec = make_spec(tmp_path, data_dir, accelerators=8)
    monkeypatch.setattr(memory, "available_bytes", lambda: 350_000_000)
    reading = plan(spec, read_manifest(data_dir))
    with pytest.raises(MemoryShortError, match=r"for 9 processes.*use fewer accelerators"):
        memory.check_memory(spec, reading, checkpoint_calls=0)


class FortyCalls:
    """A workload whose samples take 40 calls each; batches have two, in evaluation one."""

    readers = 1
    opening_calls = 7

    def __init__(self, steps):
        self.steps_per_epoch = steps

    def evaluation(self, _epoch, _rank):
        return range(3)

    def calls(self, phase, batches):
        return 40 * batches * (2 if phase is Phase.TRAIN else 1)


@pytest.mark.parametrize("workers", [1, 3, 4])
@pytest.mark.parametrize("batches", [1, 10, 11])
def test_readers_have_room_for_what_they_will_do(tmp_path, workers, batches):
    spec = make_spec(tmp_path, Path("/"), epochs=5, batch_size=2, eval_from=3, eval_every=2)
    spec = replace(spec, loader_workers=workers)
    _, *rooms = rooms_of_rank(spec, FortyCalls(batches), rank=0, checkpoint_calls=0)
    planned = 5 * batches * 2 * 40 + 2 * 3 * 40 + workers * 7
    assert planned < sum(rows for rows, _ in rooms) < 1.1 * planned + 65 * workers
    assert all(marks <= rows for rows, marks in rooms if rows > 1000)


def test_rows_have_the_layout_of_the_contract():
    calls = DataCalls(rank=5, loader=6, rows=3, marks=3)
    assert calls.rows().dtype == ROW
    assert len(calls._rows) == 3 * ROW.itemsize
