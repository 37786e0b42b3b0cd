"""What the machine allows: cores, memory, and room for rows."""

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dsgen.manifest import read_manifest
from harness.worker import memory
from harness.worker.failure import CountersError, LimitError, MemoryShortError
from harness.worker.host.cgroup import own_limits
from harness.worker.host.cores import usable_cores
from harness.worker.host.counters import IoCounters
from harness.worker.memory import available_bytes, check_limit
from harness.worker.record import ROW, Phase
from harness.worker.recording.capacity import rooms_of_rank
from harness.worker.recording.io import DataCalls
from harness.worker.workloads import plan
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


# Recorded: Linux 6.18 with Docker 20.10, a container with --memory 300m in a hybrid system; its own
# group is the root of each tree, and the names are the host's.
CONTAINER_V1 = (
    "7:blkio:/docker/b339f396\n4:memory:/docker/b339f396\n1:cpu:/docker/b339f396\n"
    "0::/docker/b339f396"
)
FILES_V1 = {
    "memory/memory.limit_in_bytes": 314572800,
    "memory/memory.memsw.limit_in_bytes": 314572800,
    "cpu/cpu.cfs_quota_us": -1,
    "cpu/cpu.cfs_period_us": 100000,
}
# Composed from cgroups(7): the same container where version 2 is mounted alone.
FILES_V2 = {
    "cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc",
    "memory.max": 314572800,
    "memory.swap.max": 0,
    "cpu.max": "max 100000",
}


@pytest.mark.parametrize(
    ("line", "files", "version"),
    [(CONTAINER_V1, FILES_V1, "1"), ("0::/", FILES_V2, "2")],
    ids=["version 1", "version 2"],
)
@pytest.mark.parametrize(
    ("asked", "words"), [(314_572_800, None), (314_573_000, None), (300_000_000, "have 315 MB")]
)
def test_the_limit_of_a_container_is_found_in_force_or_refused(
    groups, line, files, version, asked, words
):
    limits = own_limits(*groups(line, files))
    assert (limits.version, limits.memory_bytes) == (version, 314_572_800)
    if words is None:
        check_limit(asked, limits)
    else:
        with pytest.raises(LimitError, match=f"limit of 300 MB is not in force.*{words}"):
            check_limit(asked, limits)


@pytest.mark.parametrize(
    ("line", "files", "words"),
    [
        ("nothing that a kernel writes", {}, "have a layout that is not known"),
        ("0::/", {}, "have a layout that is not known"),
        ("4:memory:/a", {"memory/memory.limit_in_bytes": 9223372036854771712}, "have no limit"),
        ("4:memory:/a", {}, r"\(version 1\) have no limit"),
        ("0::/", {**FILES_V2, "memory.max": "a lot"}, r"\(version 2\) have no limit"),
    ],
)
def test_a_limit_that_cannot_be_found_in_force_is_refused_in_one_line(groups, line, files, words):
    limits = own_limits(*groups(line, files))
    with pytest.raises(LimitError, match=words) as caught:
        check_limit(10**9, limits)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    check_limit(None, limits)


def test_a_run_whose_limit_does_not_hold_ends_before_its_first_read(tmp_path):
    data_dir = make_data_set(tmp_path / "data", train=2, side=16)
    spec = make_spec(tmp_path, data_dir, memory_bytes=4096)
    ended = run_worker(tmp_path, spec)
    assert ended.returncode == 3
    assert "the memory limit of 4.1 kB is not in force" in ended.stdout
    assert not list((tmp_path / "out").glob("*/*.npy"))


def test_a_run_tells_the_memory_that_it_found(tmp_path):
    data_dir = make_data_set(tmp_path / "data", train=2, side=16)
    spec = make_spec(tmp_path, data_dir)
    assert run_worker(tmp_path, spec).returncode == 0
    told = load_json(spec, "worker.json")["memory"]
    limits = own_limits()
    assert (told["limit_bytes"], told["group_version"]) == (limits.memory_bytes, limits.version)
    assert told["total_bytes"] == psutil.virtual_memory().total
    peaks = [rank["peak_rss_bytes"] for rank in load_json(spec, "worker.json")["ranks"]]
    assert told["need_bytes"] > 10_500_000  # the crops of a batch alone
    assert sum(peaks) < told["need_bytes"] + (64 << 20)  # code that all share counts in each


@pytest.mark.parametrize("text", ["", "wchar: 1\n", "rchar: many\n"])
def test_counters_that_cannot_be_read_are_told_in_one_line(tmp_path, text):
    path = tmp_path / "io"
    if text:
        path.write_text(text)
    with pytest.raises(CountersError, match=str(path)) as caught:
        IoCounters(str(path))
    assert caught.value.exit_code == 11
    assert "\n" not in str(caught.value)


def test_a_kernel_without_device_counters_leaves_them_unknown(tmp_path):
    path = tmp_path / "io"
    path.write_text("rchar: 5\nwchar: 0\nsyscr: 1\nsyscw: 0\n")
    assert IoCounters(str(path)).snapshot().read_bytes == -1


def test_many_processes_need_memory_of_their_own(tmp_path, monkeypatch):
    data_dir = make_data_set(tmp_path / "data", train=8, side=16)
    spec = make_spec(tmp_path, data_dir, accelerators=8)
    monkeypatch.setattr(memory, "available_bytes", lambda: 350_000_000)
    reading = plan(spec, read_manifest(data_dir))
    with pytest.raises(MemoryShortError, match=r"for 9 processes.*use fewer accelerators"):
        memory.check_memory(spec, reading, checkpoint=None)


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
    _, *rooms = rooms_of_rank(spec, FortyCalls(batches), rank=0, checkpoint=None)
    planned = 5 * batches * 2 * 40 + 2 * 3 * 40 + workers * 7
    assert planned < sum(rows for rows, _ in rooms) < 1.1 * planned + 65 * workers
    assert all(marks <= rows for rows, marks in rooms if rows > 1000)


def test_rows_have_the_layout_of_the_contract():
    calls = DataCalls(rank=5, loader=6, rows=3, marks=3)
    assert calls.rows().dtype == ROW
    assert len(calls._rows) == 3 * ROW.itemsize
