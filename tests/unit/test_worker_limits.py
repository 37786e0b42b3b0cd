"""What the machine allows: cores, memory, and room for rows."""

import os
from pathlib import Path

import pytest

from harness.worker import memory
from harness.worker.capacity import rows_of_reader
from harness.worker.cores import quota_cores, usable_cores
from harness.worker.io import DataCalls
from harness.worker.record import ROW
from tests.unit.worker_run import load_json, make_data_set, make_spec, run_worker


def test_usable_cores_follow_the_affinity_mask():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", os.cpu_count()), ("-1 100000", os.cpu_count())]
)
def test_no_quota_allows_every_core(text, cores):
    assert quota_cores(text) == cores


def test_a_quota_counts_whole_cores():
    assert quota_cores("50000 100000") == 0
    assert quota_cores("350000 100000") == 3


def test_ranks_spin_only_with_a_core_each(tmp_path):
    data_dir = make_data_set(tmp_path / "data", train=2 * (usable_cores() + 1), side=16)
    for ranks, used in ((1, True), (usable_cores() + 1, False)):
        out_dir = str(tmp_path / f"out-{ranks}")
        spec = make_spec(tmp_path, data_dir, accelerators=ranks, out_dir=out_dir)
        assert run_worker(tmp_path, spec).returncode == 0
        spin = load_json(spec, "worker.json")["spin"]
        assert spin["used"] is used
        assert (spin["cpu_ns"] > 100_000) is used


def test_a_control_groups_limit_counts(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (limit,))
    free = memory.available_bytes()
    limit.write_text("max\n")
    assert memory.available_bytes() == pytest.approx(free, rel=0.5)
    limit.write_text("1000000\n")
    assert memory.available_bytes() == 1_000_000


@pytest.mark.parametrize("workers", [1, 3, 4])
@pytest.mark.parametrize("batches", [1, 10, 11])
def test_readers_have_room_for_what_they_will_do(tmp_path, workers, batches):
    spec = make_spec(tmp_path, Path("/"), epochs=5, batch_size=2, eval_from=3, eval_every=2)
    rooms = [
        rows_of_reader(
            spec,
            worker=worker,
            workers=workers,
            train_batches=batches,
            eval_batches=3,
            calls_per_sample=40,
        )
        for worker in range(workers)
    ]
    planned = 5 * batches * 2 * 40 + 2 * 3 * 40
    assert planned < sum(rows for rows, _ in rooms) < 1.1 * planned + 65 * workers
    assert all(marks <= rows for rows, marks in rooms if rows > 1000)


def test_rows_have_the_layout_of_the_contract():
    calls = DataCalls(rank=5, loader=6, rows=3, marks=3)
    assert calls.rows().dtype == ROW
    assert len(calls._rows) == 3 * ROW.itemsize
