"""While a run goes on it tells the figures of its result, of the steps so far."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.cost import COST_LIMIT, cost_words, recording_cost
from harness.analysis.epoch import epochs_of
from harness.analysis.losses import compute_losses
from harness.analysis.metrics import compute_metrics
from harness.analysis.notices import notices_of
from harness.analysis.selfcheck import check_recording
from harness.progress import TrainEvent, train_pace
from harness.recordings import read_recording
from harness.worker.record import Op
from harness.worker.recording.cost import row_cost
from harness.worker.spec import StepTime
from harness.worker.training import run_training
from tests.unit.worker_run import load_json, make_data_set, make_spec


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("set") / "data"
    return make_data_set(directory, train=9, evaluation=3, side=16)


@pytest.fixture
def run(tmp_path, data_dir):
    """Return what runs a training, and returns its events and its recording."""

    def start(**changes):
        spec = make_spec(
            *(tmp_path, data_dir),
            **{"accelerators": 3, "epochs": 4, "step_time": StepTime(mean_s=0.004, sd_s=0.001)}
            | changes,
        )
        events = []
        run_training(spec, events.append)
        return events, read_recording(Path(spec.out_dir))

    return start


@pytest.mark.parametrize("loader_workers", [0, 2])
@pytest.mark.parametrize("warmup_epochs", [0, 2])
def test_the_last_figures_are_those_of_the_result(run, loader_workers, warmup_epochs):
    events, recording = run(loader_workers=loader_workers, warmup_epochs=warmup_epochs, eval_from=2)
    epochs = epochs_of(recording, warmup_epochs=warmup_epochs)
    metrics = compute_metrics(epochs, byte_source="none")
    assert metrics.au.value is not None
    assert events[-1]["au"] == metrics.au.value
    assert events[-1]["bytes_per_s"] == metrics.bandwidth_bytes_per_s.value
    assert events[-1]["waits"] is None


def test_without_a_measured_step_there_is_no_au(run):
    events, _ = run(epochs=1, warmup_epochs=1)
    assert events[-1]["au"] is None
    assert events[-1]["bytes_per_s"] is None


def event(**changes) -> TrainEvent:
    known = {"epoch": 1, "epochs": 2, "step": 5, "steps": 10, "phase": "train", "bytes": 10**9}
    return TrainEvent(**{**known, "elapsed_s": 10.0, "au": 0.8319, "bytes_per_s": 2e8, **changes})


def test_a_line_says_au_bandwidth_and_time_left():
    text = train_pace(event()).text()
    assert text == "train epoch 1/2 step 5/10 25 %, AU 83.1 %, 200 MB/s, 30 s left"


def test_a_line_of_a_run_that_hangs_says_what_it_waits_for_and_promises_nothing():
    text = train_pace(event(waits="rank 3 in read of case_00012_x.npy for 40 s")).text()
    assert text == (
        "train epoch 1/2 step 5/10 25 %, nothing moves: rank 3 in read of case_00012_x.npy for 40 s"
    )


def test_the_cost_of_recording_is_rows_times_what_a_row_takes(run):
    _, recording = run()
    said = recording.worker.recording
    assert said["row_ns"] > 0
    cost = recording_cost(recording)
    rows = sum(map(len, recording.rows))
    assert cost.rows == rows > 0
    assert cost.cpu_ns == sum(int(own["cpu_ns"].sum()) for own in recording.windows)
    ops = np.concatenate([own["op"] for own in recording.rows])
    brief = sum(int((ops == op).sum()) for op in (Op.LSEEK, Op.DUP, Op.IOCTL, Op.FCNTL))
    assert rows / 3 < brief < rows
    taken_ns = (
        (rows - brief) * said["row_ns"]
        + brief * said["brief_row_ns"]
        + said["looks"] * said["look_ns"]
    )
    assert cost.share == pytest.approx(taken_ns / cost.cpu_ns)
    assert f"{rows:,} rows" in cost_words(cost)


def test_recording_that_costs_much_is_told(run):
    # Files of some 30 kB: no data set has such, and their calls are all that reading them costs.
    _, recording = run()
    epochs = epochs_of(recording, warmup_epochs=0)
    assert recording_cost(recording).share > COST_LIMIT
    check = check_recording(recording, compute_losses(recording, epochs))
    assert any(
        "recording took" in notice
        for notice in notices_of(recording, epochs, check, few_steps=None)
    )


def test_what_a_row_takes_is_measured_again_and_again_much_alike():
    costs = sorted(row_cost().row_ns for _ in range(3))
    assert costs[0] > 100
    assert costs[-1] < 50 * costs[0]


def test_a_worker_of_an_earlier_version_told_nothing_of_its_cost(run, tmp_path):
    _, recording = run()
    assert load_json(make_spec(tmp_path, tmp_path), "worker.json")["recording"]["looks"] >= 0
    silent = replace(recording, worker=replace(recording.worker, recording=None))
    cost = recording_cost(silent)
    assert (cost.ns_per_row, cost.share) == (None, None)
    assert cost_words(cost).startswith("unknown")
