"""dlrm npz: whole days at their boundaries, rows from memory between them, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgen.described import described
from dsgen.errors import DataSetError, UsageError
from dsgen.manifest import read_manifest
from harness.worker.record import FileClass, Op, Phase
from harness.worker.recording.io import DataCalls, TracedFile
from harness.worker.workloads.dlrm import plan_dlrm
from harness.worker.workloads.dlrm_npz import ARRAYS, Day, DaysReading
from tests.unit.dlrm_sets import days_of, dlrm_spec, make_days
from tests.unit.worker_run import describe, load, load_json, run_worker

DAYS = [300, 170, 64, 500, 77]
TRAIN = sum(DAYS[:-1])


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_days(tmp_path_factory.mktemp("set") / "data", DAYS)


@pytest.fixture
def own(tmp_path, data_dir):
    """Return a copy that a test may damage."""
    return shutil.copytree(data_dir, tmp_path / "own")


def reading(tmp_path, data_dir, **changes):
    return plan_dlrm(dlrm_spec(tmp_path, data_dir, **changes), read_manifest(data_dir))


def read_all(planned, phase=Phase.TRAIN, passes=1):
    """Return each batch as the reader delivers it, and the days it opened for it."""
    calls = DataCalls(rank=0, loader=0, rows=5000, marks=5000)
    slots = planned.slots(1)
    reader = planned.reader(calls, slots)
    calls.phase = phase
    batches = planned.train(1, 0) if phase is Phase.TRAIN else planned.evaluation(1, 0)
    read = []
    for _ in range(passes):
        for index in range(len(batches)):
            before = calls.row_count
            reader.read(batches[index], 0)
            rows = calls.rows(before)
            opened = rows["file"][rows["op"] == Op.OPEN].tolist()
            assert len(rows) == 0 or opened, "calls without a day"
            read.append((dict(slots[0]), opened))
        reader.end()
    return read


def joined(batches):
    return {name: np.concatenate([batch[name] for batch, _ in batches]) for name in ARRAYS}


@pytest.mark.parametrize("batch_size", [1, 64, 100, 299, 300, 301, 1000, TRAIN])
def test_batches_are_the_rows_of_the_days_in_order(tmp_path, data_dir, batch_size):
    read = read_all(reading(tmp_path, data_dir, batch_size=batch_size))
    sizes = [len(batch["y"]) for batch, _ in read]
    assert sizes[:-1] == [batch_size] * (len(read) - 1)
    assert sum(sizes) == TRAIN
    expected = joined([(day, None) for day in days_of(DAYS)[:-1]])
    for name, rows in joined(read).items():
        assert np.array_equal(rows, expected[name])


def test_only_steps_at_a_days_boundary_read_and_each_loads_the_days_it_lacks(tmp_path, data_dir):
    read = read_all(reading(tmp_path, data_dir, batch_size=100), passes=2)
    opened = {step: days for step, (_, days) in enumerate(read, 1) if days}
    # Days end with rows 300, 470, 534 and 1034: batches 4, 5 and 6 begin or hold the next ones. The
    # second epoch begins with the first day again.
    assert opened == {1: [0], 4: [1], 5: [2], 6: [3], 12: [0], 15: [1], 16: [2], 17: [3]}


def test_a_test_pass_loads_the_last_day_anew_and_takes_its_first_half(tmp_path, data_dir):
    read = read_all(reading(tmp_path, data_dir), Phase.EVAL, passes=2)
    assert [days for _, days in read] == [[4], [4]]
    last = days_of(DAYS)[-1]
    for batch, _ in read:
        assert {name: len(rows) for name, rows in batch.items()} == dict.fromkeys(ARRAYS, 39)
        for name in ARRAYS:
            assert np.array_equal(batch[name], last[name][:39])


@given(
    st.lists(st.integers(1, 200), min_size=2, max_size=9),
    st.integers(1, 50),
    st.integers(1, 4),
    st.data(),
)
def test_each_row_of_the_training_days_is_in_one_batch(days, batch_size, accelerators, data):
    file = TracedFile(id=0, path="/", size_bytes=0, file_class=FileClass.DAY, role="train")
    train, test = [Day(file=file, rows=rows) for rows in days[:-1]], Day(file=file, rows=days[-1])

    def order(**changes):
        spec = dlrm_spec(
            Path("/"), Path("/"), batch_size=batch_size, accelerators=accelerators, **changes
        )
        planned = DaysReading(
            spec=spec, train_days=tuple(train), test_day=test, rows_file=file, counts_file=file
        )
        batches = planned.train(1, 0)
        assert len(batches) == planned.steps_per_epoch
        return [list(batches[index].samples) for index in range(len(batches))]

    read = order()
    assert [row for batch in read for row in batch] == list(range(sum(days[:-1])))
    assert {len(batch) for batch in read[:-1]} <= {batch_size * accelerators}
    steps = data.draw(st.integers(1, len(read)))
    assert order(steps=steps) == read[:steps]


@pytest.mark.parametrize(
    ("name", "row", "column", "value", "message"),
    [
        ("y", 7, None, 2, "y is 2.0, no whole number from 0 to 1"),
        ("y", 3, None, 0.5, "y is 0.5, no whole number from 0 to 1"),
        ("X_cat", 5, 0, 1.5, "X_cat 0 is 1.5, no whole number from 0 to 9"),
        ("X_int", 0, 0, -1, "X_int 0 is -1.0"),
        ("X_int", 169, 12, np.nan, "X_int 12 is nan"),
        ("X_cat", 60, 0, 10, "X_cat 0 is 10.0, no whole number from 0 to 9"),
        ("X_cat", 168, 25, 35, "X_cat 25 is 35.0, no whole number from 0 to 34"),
    ],
)
def test_a_value_that_training_cannot_take_is_named(
    tmp_path, own, name, row, column, value, message
):
    arrays = days_of(DAYS)[1]
    arrays[name][row if column is None else (row, column)] = value
    path = own / "day_1_reordered.npz"
    np.savez_compressed(path, **arrays)
    describe(own, {path.name: path.stat().st_size})
    with pytest.raises(DataSetError) as caught:
        read_all(reading(tmp_path, own, batch_size=50))
    assert message in str(caught.value)
    number = {"y": 0, "X_int": 1, "X_cat": 14}[name] + (column or 0)
    assert f"{path}, row {row}, column {number};" in str(caught.value)


def test_a_day_that_was_cut_is_refused_with_its_name(tmp_path, own):
    path = own / "day_2_reordered.npz"
    content = path.read_bytes()
    for length in (0, 3, 1000, len(content) - 30, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DataSetError, match="were to be") as caught:
            read_all(reading(tmp_path, own))
        describe(own, {path.name: length})
        with pytest.raises(DataSetError, match="no archive of X_int, X_cat and y") as caught:
            read_all(reading(tmp_path, own))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        describe(own, {path.name: len(content)})


def test_a_flipped_byte_is_noticed(tmp_path, own):
    path = own / "day_3_reordered.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataSetError, match="no archive of") as caught:
        read_all(reading(tmp_path, own))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"X_int": np.zeros((170, 13), np.float32)},
        {"X_cat": np.zeros((169, 26))},
        {"X_cat": np.zeros((170, 25))},
        {"y": np.zeros((170, 1))},
        {"y": None},
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, own, change):
    path = own / "day_1_reordered.npz"
    arrays = days_of(DAYS)[1] | change
    kept = {name: array for name, array in arrays.items() if array is not None}
    np.savez_compressed(path, **kept)
    describe(own, {path.name: path.stat().st_size})
    with pytest.raises(DataSetError, match="no archive of") as caught:
        read_all(reading(tmp_path, own))
    assert str(path) in str(caught.value)


def test_counts_of_other_rows_are_refused(tmp_path, own):
    path = own / "day_day_count.npz"
    np.savez(path, total_per_file=np.array([*DAYS[:-1], 78]))
    with pytest.raises(DataSetError, match="other rows in it than in the 5 days"):
        read_all(reading(tmp_path, own))


def test_what_a_day_needs_beside_it_is_missed(tmp_path, own):
    (own / "manifest.json").unlink()
    planned = plan_dlrm(dlrm_spec(tmp_path, own), described(own, "dlrm"))
    assert len(read_all(planned)) == -(-TRAIN // 64)
    (own / "day_day_count.npz").unlink()
    with pytest.raises(DataSetError, match="no counts") as caught:
        plan_dlrm(dlrm_spec(tmp_path, own), described(own, "dlrm"))
    assert "day_day_count.npz" in str(caught.value)


def test_a_day_that_is_missing_is_named(tmp_path, own):
    (own / "manifest.json").unlink()
    (own / "day_2_reordered.npz").unlink()
    with pytest.raises(DataSetError, match="4 days, and no day 2 among them"):
        plan_dlrm(dlrm_spec(tmp_path, own), described(own, "dlrm"))


def test_days_are_in_the_order_of_their_numbers(tmp_path):
    data_dir = make_days(tmp_path / "data", [10 + day for day in range(12)])
    planned = reading(tmp_path, data_dir, batch_size=10)
    assert [day.rows for day in planned.train_days] == list(range(10, 21))
    assert planned.test_day.rows == 21


def test_what_does_not_suit_days_is_refused(tmp_path, data_dir):
    with pytest.raises(UsageError, match="--loader-workers 2"):
        reading(tmp_path, data_dir, loader_workers=2)
    with pytest.raises(UsageError, match="--shuffle batches"):
        reading(tmp_path, data_dir, shuffle="batches")
    with pytest.raises(DataSetError, match=r"1,034 training rows, .* takes 1,035"):
        reading(tmp_path, data_dir, accelerators=1, batch_size=TRAIN + 1)
    with pytest.raises(DataSetError, match="17 steps in the data set, 18 of an epoch"):
        reading(tmp_path, data_dir, steps=18)
    one = make_days(tmp_path / "one", [100])
    with pytest.raises(DataSetError, match="1 days, of which the last one is for tests"):
        reading(tmp_path, one)


def test_a_run_has_room_for_all_its_calls(tmp_path, data_dir):
    spec = dlrm_spec(
        tmp_path, data_dir, accelerators=3, batch_size=20, epochs=3, eval_from=1, cache="cold"
    )
    done = run_worker(tmp_path, spec)
    assert (done.returncode, done.stderr) == (0, "")
    windows = [load(spec, f"steps/windows-{rank:05d}.npy") for rank in range(3)]
    size_bytes = [path.stat().st_size for path in sorted(data_dir.glob("day_?_*.npz"))]
    for own, rank in zip(windows, range(3), strict=True):
        assert own["samples"].tolist() == ([TRAIN, 39] * 3 if rank == 0 else [0] * 6)
        for window in own:
            assert window["rchar"] == window["row_bytes"] + window["other_read_bytes"]
    # Every byte of the days, and the ends of the archives more than once.
    train = windows[0][windows[0]["phase"] == Phase.TRAIN]["row_bytes"]
    assert set(train.tolist()) == {train[0]}
    assert sum(size_bytes[:-1]) < train[0] < sum(size_bytes[:-1]) + 4 * 40_000
    assert load_json(spec, "worker.json")["samples_dropped_per_epoch"] == 0


def test_planned_calls_are_enough_and_not_many_times_too_many(tmp_path):
    from dsgen.choices import Wanted
    from dsgen.workloads import plan
    from dsgen.write import generate

    for compression in ("deflate", "stored"):
        wanted = Wanted(format="npz", compression=compression)
        directory = tmp_path / compression
        layout = plan("dlrm", size_bytes=20_000_000, seed=1, wanted=wanted)
        generate(layout, directory, processes=2, emit=lambda _: None)
        planned = reading(tmp_path, directory, batch_size=5000)
        calls = DataCalls(rank=0, loader=0, rows=20_000, marks=20_000)
        reader = planned.reader(calls, planned.slots(1))
        assert calls.row_count <= planned.opening_calls
        opened, batches = calls.row_count, planned.train(1, 0)
        for index in range(len(batches)):
            reader.read(batches[index], 0)
        made = calls.row_count - opened
        assert made <= sum(day.calls for day in planned.train_days) < 4 * made
        assert planned.calls(Phase.TRAIN, len(batches)) >= made
