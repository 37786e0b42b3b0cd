"""dlrm bin: what is read, what is refused, and that one rank's reading feeds them all."""

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from dsgen.described import described
from dsgen.errors import DataSetError
from dsgen.manifest import read_manifest
from harness.analysis.causes import find_causes
from harness.analysis.epoch import epochs_of
from harness.recordings import read_recording
from harness.worker.record import Op, Phase
from harness.worker.recording import io
from harness.worker.recording.io import DataCalls
from harness.worker.spec import StepTime
from harness.worker.training import run_training
from harness.worker.workloads.dlrm import plan_dlrm
from tests.unit.dlrm_sets import COUNTS, dlrm_spec, make_rows, rows_of
from tests.unit.worker_run import describe, load, load_json, run_worker

ROWS, TESTS = 1_000, 20_000


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("set") / "data", train=ROWS, test=TESTS)


@pytest.fixture
def own(tmp_path, data_dir):
    """Return a copy that a test may damage."""
    return shutil.copytree(data_dir, tmp_path / "own", symlinks=True)


def reading(tmp_path, data_dir, **changes):
    return plan_dlrm(dlrm_spec(tmp_path, data_dir, **changes), read_manifest(data_dir))


def read_all(planned, phase):
    """Return the rows of all batches of a phase as the reader delivers them."""
    calls = DataCalls(rank=0, loader=0, rows=1000, marks=1000)
    slots = planned.slots(2)
    reader = planned.reader(calls, slots)
    calls.phase = phase
    batches = planned.train(1, 0) if phase is Phase.TRAIN else planned.evaluation(1, 0)
    read = []
    for index in range(len(batches)):
        reader.read(batches[index], index % 2)
        read.append(slots[index % 2])
    return read


@pytest.mark.parametrize("batch_size", [64, 100, 999, 1000])
def test_batches_are_the_rows_of_the_file_and_the_last_one_is_short(tmp_path, data_dir, batch_size):
    read = read_all(reading(tmp_path, data_dir, batch_size=batch_size), Phase.TRAIN)
    assert [len(batch) for batch in read[:-1]] == [batch_size] * (len(read) - 1)
    assert len(read[-1]) == ROWS - batch_size * (len(read) - 1) > 0
    assert np.array_equal(np.concatenate(read), rows_of(ROWS))


def test_a_test_pass_is_batches_of_16384_rows_from_the_first_on(tmp_path, data_dir):
    read = read_all(reading(tmp_path, data_dir), Phase.EVAL)
    assert [len(batch) for batch in read] == [16_384, TESTS - 16_384]
    assert np.array_equal(np.concatenate(read), rows_of(TESTS, seed=2))


def test_a_test_pass_ends_after_2048_batches(tmp_path, data_dir):
    planned = reading(tmp_path, data_dir)
    longer = replace(planned.test_file, size_bytes=160 * 16_384 * 3_000)
    batches = replace(planned, test_file=longer).evaluation(7, 0)
    assert len(batches) == 2048
    assert batches[2047].samples == range(2047 * 16_384, 2048 * 16_384)


def test_the_file_is_opened_by_the_name_that_the_reference_opens(tmp_path, data_dir):
    names = [file.path.rpartition("/")[2] for file in reading(tmp_path, data_dir).files]
    assert names == ["preprocessed_train.bin", "preprocessed_test.bin", "day_fea_count.npz"]


def test_files_of_a_users_own_need_no_manifest(tmp_path, own):
    (own / "manifest.json").unlink()
    (own / "preprocessed_train.bin").unlink()
    planned = plan_dlrm(dlrm_spec(tmp_path, own), described(own, "dlrm"))
    assert np.array_equal(np.concatenate(read_all(planned, Phase.TRAIN)), rows_of(ROWS))
    assert {file.size_bytes for file in planned.files} == {
        path.stat().st_size for path in own.iterdir() if path.suffix in (".bin", ".npz")
    }


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 2, "y is 2, no whole number from 0 to 1"),
        (1, -1, "X_int 0 is -1, no whole number"),
        (13, -(2**31), "X_int 12 is -2147483648"),
        (14, 10, "X_cat 0 is 10, no whole number from 0 to 9"),
        (39, 35, "X_cat 25 is 35, no whole number from 0 to 34"),
        (39, -1, "X_cat 25 is -1"),
    ],
)
@pytest.mark.parametrize("row", [0, 777, ROWS - 1])
def test_a_value_that_training_cannot_take_is_named(tmp_path, own, row, column, value, message):
    rows = rows_of(ROWS)
    rows[row, column] = value
    rows.tofile(own / "preprocessed.bin")
    with pytest.raises(DataSetError) as caught:
        read_all(reading(tmp_path, own), Phase.TRAIN)
    assert message in str(caught.value)
    assert f"preprocessed_train.bin, row {row}, column {column};" in str(caught.value)


def test_the_largest_values_are_taken(tmp_path, own):
    rows = rows_of(ROWS)
    rows[:, 0], rows[:, 1:14], rows[:, 14:] = 1, 2**31 - 1, COUNTS - 1
    rows.tofile(own / "preprocessed.bin")
    assert np.array_equal(np.concatenate(read_all(reading(tmp_path, own), Phase.TRAIN)), rows)


def test_a_file_of_no_whole_rows_is_refused(tmp_path, own):
    describe(own, {"preprocessed.bin": 160 * ROWS + 1})
    with pytest.raises(DataSetError, match=r"160,001 bytes are no whole number of rows of 160"):
        reading(tmp_path, own)


def test_a_file_of_another_length_than_its_manifest_says_is_refused(tmp_path, own):
    rows_of(ROWS - 1).tofile(own / "preprocessed.bin")
    with pytest.raises(DataSetError, match=r"159,840 bytes where 160,000 were to be.*_train\.bin"):
        read_all(reading(tmp_path, own), Phase.TRAIN)


def test_a_file_that_is_cut_while_it_is_read_is_noticed(tmp_path, own):
    planned = reading(tmp_path, own)
    calls = DataCalls(rank=0, loader=0, rows=1000, marks=1000)
    reader = planned.reader(calls, planned.slots(1))
    batches = planned.train(1, 0)
    reader.read(batches[0], 0)
    rows_of(100).tofile(own / "preprocessed.bin")
    with pytest.raises(DataSetError, match="changed its length"):
        reader.read(batches[1], 0)


def test_fewer_rows_than_a_step_are_refused_with_the_figures(tmp_path, data_dir):
    message = "1,000 training rows, and a step of 2 accelerators x batch 501 takes 1,002"
    with pytest.raises(DataSetError, match=message):
        reading(tmp_path, data_dir, accelerators=2, batch_size=501)
    assert reading(tmp_path, data_dir, accelerators=2, batch_size=500).steps_per_epoch == 1


def test_more_steps_than_batches_are_refused(tmp_path, data_dir):
    assert reading(tmp_path, data_dir, steps=16).epoch_samples == ROWS
    with pytest.raises(DataSetError, match="16 steps in the data set, 17 of an epoch"):
        reading(tmp_path, data_dir, steps=17)


def test_evaluation_without_test_rows_is_refused(tmp_path):
    data_dir = make_rows(tmp_path / "data", train=100)
    with pytest.raises(DataSetError, match="no test rows"):
        reading(tmp_path, data_dir, eval_from=1)
    assert len(reading(tmp_path, data_dir).evaluation(1, 0)) == 0


def test_the_data_set_of_another_workload_is_refused(tmp_path, own):
    path = own / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"workload": "bert"}))
    with pytest.raises(DataSetError, match="a data set of bert, not dlrm"):
        reading(tmp_path, own)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot open"),
        (b"", "0 bytes where"),
        ({"counts": COUNTS[:25]}, "not 26 counts"),
        ({"counts": COUNTS - 10}, "not 26 counts"),
        ({"numbers": COUNTS}, "no counts in it"),
    ],
)
def test_counts_that_are_none_are_refused(tmp_path, own, content, message):
    path = own / "day_fea_count.npz"
    path.unlink()
    if isinstance(content, dict):
        np.savez(path, **content)
        describe(own, {path.name: path.stat().st_size})
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataSetError, match=message) as caught:
        read_all(reading(tmp_path, own), Phase.TRAIN)
    assert str(path) in str(caught.value)


def test_truncated_counts_are_refused(tmp_path, own):
    path = own / "day_fea_count.npz"
    content = path.read_bytes()
    for length in (10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        describe(own, {path.name: length})
        with pytest.raises(DataSetError, match="no counts in it"):
            read_all(reading(tmp_path, own), Phase.TRAIN)


KINDS = pytest.mark.parametrize("loader_workers", [0, 2])


def trained(tmp_path, data_dir, **changes):
    spec = dlrm_spec(
        tmp_path,
        data_dir,
        **(
            {
                "accelerators": 4,
                "batch_size": 32,  # together whole blocks: no byte is read twice
                "epochs": 2,
                "eval_from": 2,
                "evaluation_case_s": 0.001,
                "checkpoint_dir": str(tmp_path / "saved"),
                "checkpoint_bytes": 300_000,
                "step_time": StepTime(mean_s=0.005, sd_s=0.0005),
            }
            | changes
        ),
    )
    (tmp_path / "saved").mkdir()
    done = run_worker(tmp_path, spec)
    assert (done.returncode, done.stderr) == (0, "")
    return spec


@KINDS
def test_one_rank_reads_and_all_take_every_step(tmp_path, data_dir, loader_workers):
    spec = trained(tmp_path, data_dir, loader_workers=loader_workers)
    rows = [load(spec, f"trace/rank-{rank:05d}.npy") for rank in range(4)]
    assert [len(own) > 0 for own in rows] == [True, False, False, False]
    for phase, size_bytes in ((Phase.TRAIN, 160 * ROWS), (Phase.EVAL, 160 * TESTS)):
        reads = rows[0][(rows[0]["phase"] == phase) & (rows[0]["op"] == Op.READ)]
        for epoch in set(reads["epoch"].tolist()) - {0}:
            assert reads["returned"][reads["epoch"] == epoch].sum() == size_bytes
    steps = [load(spec, f"steps/rank-{rank:05d}.npy") for rank in range(4)]
    assert {len(own) for own in steps} == {2 * (1 + 8)}
    assert len({tuple(own["declared_ns"].tolist()) for own in steps}) == 1
    windows = [load(spec, f"steps/windows-{rank:05d}.npy") for rank in range(4)]
    assert [own["samples"].tolist() for own in windows] == [[ROWS, ROWS, TESTS, 0], *[[0] * 4] * 3]
    summary = load_json(spec, "worker.json")
    assert summary["samples_used_per_epoch"] == ROWS
    assert summary["samples_dropped_per_epoch"] == 0
    assert summary["self_check"] == {"checked_windows": 16, "mismatches": 0}
    assert (tmp_path / "saved" / "dlrm_checkpoint").stat().st_size == 300_000


@KINDS
def test_no_rank_computes_before_the_batch_is_there(tmp_path, data_dir, loader_workers):
    spec = trained(tmp_path, data_dir, loader_workers=loader_workers)
    steps = [load(spec, f"steps/rank-{rank:05d}.npy") for rank in range(4)]
    rows = load(spec, "trace/rank-00000.npy")
    for own in steps:
        for step in own[own["step"] > 0]:
            same = (rows["epoch"] == step["epoch"]) & (rows["step"] == step["step"])
            calls = rows[same & (rows["phase"] == Phase.TRAIN)]
            assert len(calls)
            assert calls["t1_ns"].max() <= step["load_end_ns"]


@KINDS
def test_every_ranks_wait_is_explained_to_the_end(tmp_path, data_dir, loader_workers):
    spec = trained(tmp_path, data_dir, loader_workers=loader_workers)
    for rank in range(4):
        steps = load(spec, f"steps/rank-{rank:05d}.npy")
        interval = steps["load_end_ns"] - steps["load_start_ns"]
        kinds = [steps[name] for name in steps.dtype.names if name.startswith("wait_")]
        assert min(kind.min() for kind in kinds) >= 0
        assert abs(interval.sum() - sum(kinds).sum()) < 0.005 * interval.sum() + 10 * len(steps)
        # Who reads spent some of it in reads, and so did those that waited meanwhile.
        assert steps["wait_io_cpu_ns"].sum() > 0


def test_a_bad_row_ends_all_ranks_with_its_line(tmp_path, own):
    rows = rows_of(ROWS)
    rows[500, 20] = 99
    rows.tofile(own / "preprocessed.bin")
    spec = dlrm_spec(tmp_path, own, accelerators=3, batch_size=30)
    done = run_worker(tmp_path, spec)
    assert done.returncode == 6
    [line] = done.stderr.splitlines()
    assert "X_cat 6 is 99, no whole number from 0 to 15" in line
    assert "row 500, column 20" in line


def test_the_reader_keeps_little_beside_its_batches(tmp_path):
    data_dir = make_rows(tmp_path / "data", train=100_000)
    spec = dlrm_spec(tmp_path, data_dir, batch_size=32_768, epochs=3)
    done = run_worker(tmp_path, spec)
    assert (done.returncode, done.stderr) == (0, "")
    planned = plan_dlrm(spec, read_manifest(data_dir))
    [rank] = load_json(spec, "worker.json")["ranks"]
    own_bytes = rank["peak_rss_bytes"] - planned.reader_bytes - planned.slot_bytes
    print(f"{own_bytes:,} bytes beside its buffers")
    assert own_bytes < 60_000_000


def test_slow_storage_is_blamed_though_most_ranks_read_nothing(tmp_path, data_dir, monkeypatch):
    read = io._read

    def slow(descriptor, address, size_bytes):
        time.sleep(0.02)
        return read(descriptor, address, size_bytes)

    monkeypatch.setattr(io, "_read", slow)
    spec = dlrm_spec(
        tmp_path,
        data_dir,
        accelerators=4,
        batch_size=32,
        epochs=2,
        step_time=StepTime(mean_s=0.01, sd_s=0),
    )
    run_training(spec, lambda _: None)
    recording = read_recording(tmp_path / "out")
    causes = find_causes(epochs_of(recording, warmup_epochs=0))
    # Eight reads of 20 ms an epoch, and one more behind the end; four accelerators wait for each.
    assert causes.storage_wait_ns > 0.9 * 2 * 9 * 4 * 20_000_000
    assert causes.share(causes.storage_wait_ns) > 0.5
    assert causes.share(causes.straggler_ns) < 0.5
