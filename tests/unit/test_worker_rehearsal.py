"""Runs over the same few batches, and runs that are made slow on purpose."""

import numpy as np
import pytest

from harness.worker.order import in_turn, typical
from harness.worker.spec import Planted, Rehearsal, StepTime
from tests.unit.worker_run import load, load_json, make_data_set, make_spec, run_worker

pytestmark = pytest.mark.alone


@pytest.fixture
def data(tmp_path):
    return make_data_set(tmp_path / "data", train=6)


def ran(tmp_path, data, **changes):
    values = {"accelerators": 2, "step_time": StepTime(mean_s=0.005, sd_s=0.0), **changes}
    spec = make_spec(tmp_path, data, **values)
    done = run_worker(tmp_path, spec)
    assert done.returncode == 0, done.stderr
    return spec


def test_a_rehearsal_reads_the_same_files_in_every_epoch_and_declares_no_time_at_first(
    tmp_path, data
):
    # Seven steps of two ranks, of three samples: more than the data set has.
    rehearsal = Rehearsal(idle_epochs=2, samples=3)
    spec = ran(tmp_path, data, epochs=3, steps=7, rehearsal=rehearsal)
    read = []
    for epoch in (1, 2, 3):
        files = set()
        for rank in range(2):
            rows = load(spec, f"trace/rank-{rank:05d}.npy")
            files |= set(rows["file"][rows["epoch"] == epoch].tolist())
            steps = load(spec, f"steps/rank-{rank:05d}.npy")
            own = steps[(steps["epoch"] == epoch) & (steps["step"] > 0)]
            assert len(own) == 7
            assert (own["declared_ns"] == (0 if epoch < 3 else 5_000_000)).all()
        read.append(files)
    assert read[0] == read[1] == read[2]
    assert len(read[0]) == 2 * 3


def test_samples_of_typical_sizes_are_taken_in_turn_by_all_ranks():
    pool = typical([1, 10, 11, 12, 100], 3)
    assert sorted(pool.tolist()) == [1, 2, 3]
    ranks = [in_turn(pool, rank=rank, ranks=2, batch_size=2, steps=2) for rank in range(2)]
    by_step = np.stack(ranks, axis=1).ravel()
    assert by_step.tolist() == [pool[place % 3] for place in range(8)]


def test_what_is_planted_stands_in_the_account_of_the_run(tmp_path, data):
    planted = Planted(burn_s=0.01, slow_rank=1, slow_read_s=0.002)
    spec = ran(tmp_path, data, planted=planted)
    assert load_json(spec, "worker.json")["planted"] == {
        "read_bytes_per_s": None,
        "slow_rank": 1,
        "slow_read_s": 0.002,
        "burn_s": 0.01,
    }
    steps = [load(spec, f"steps/rank-{rank:05d}.npy")[1:] for rank in range(2)]
    for own in steps:  # one sample a step
        assert (own["wait_decode_cpu_ns"] >= 10_000_000).all()
    # A pair of files takes eight reads.
    assert (steps[1]["wait_storage_ns"] >= 8 * 2_000_000 * 0.9).all()


def test_reads_of_all_ranks_together_are_held_to_a_bandwidth(tmp_path, data):
    spec = ran(tmp_path, data, planted=Planted(read_bytes_per_s=2_000_000))
    windows = [load(spec, f"steps/windows-{rank:05d}.npy") for rank in range(2)]
    read_bytes = sum(int(own["row_bytes"].sum()) for own in windows)
    took_s = float((windows[0]["end_ns"] - windows[0]["start_ns"]).sum()) / 1e9
    assert read_bytes / took_s <= 2_000_000
    assert read_bytes > 100_000


def test_a_run_without_plants_says_none_and_looks_at_the_machine_once_an_epoch(tmp_path, data):
    spec = ran(tmp_path, data, epochs=2)
    account = load_json(spec, "worker.json")
    assert account["planted"] is None
    assert [one["epoch"] for one in account["machine"]] == [1, 2]
    for one in account["machine"]:
        assert one["elapsed_ns"] > 0
        assert one["idle_ns"] is None or one["idle_ns"] >= 0
        assert set(one["pressure_ns"]) == {"cpu", "io", "memory"}
