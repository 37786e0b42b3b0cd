"""imseg: who reads which case, what is refused, and which crop is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dsgen.errors import DataSetError
from dsgen.manifest import read_manifest
from harness.worker.recording.io import DataCalls
from harness.worker.workload import Batch
from harness.worker.workloads.imseg import plan_imseg
from tests.unit.worker_run import describe, make_data_set, make_spec


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_data_set(tmp_path_factory.mktemp("set") / "data", train=13, evaluation=3, side=12)


def reading(tmp_path, data_dir, **changes):
    return plan_imseg(make_spec(tmp_path, data_dir, **changes), read_manifest(data_dir))


def cases(batches):
    return [sample.case.x.path for batch in batches for sample in batch.samples]


def reader(planned):
    calls = DataCalls(rank=0, loader=0, rows=1000, marks=1000)
    slots = planned.slots(2)
    return planned.reader(calls, slots), slots


def test_training_and_evaluation_never_share_a_case(tmp_path, data_dir):
    planned = reading(tmp_path, data_dir)
    train, evaluation = cases(planned.train(1, 0)), cases(planned.evaluation(1, 0))
    assert len(train) == 13
    assert len(evaluation) == 3
    assert not set(train) & set(evaluation)


def test_ranks_read_disjoint_cases_in_whole_steps(tmp_path, data_dir):
    planned = reading(tmp_path, data_dir, accelerators=3, batch_size=2)
    assert planned.steps_per_epoch == 2
    read = [cases(planned.train(1, rank)) for rank in range(3)]
    assert [len(own) for own in read] == [4, 4, 4]
    assert len(set().union(*read)) == 12


def test_steps_bound_an_epoch_to_its_first_ones(tmp_path, data_dir):
    shape = {"accelerators": 3, "batch_size": 2}
    all_steps, one = (reading(tmp_path, data_dir, steps=steps, **shape) for steps in (0, 1))
    assert (one.steps_per_epoch, one.epoch_samples) == (1, 6)
    for rank in range(3):
        assert list(one.train(2, rank)) == list(all_steps.train(2, rank))[:1]
    with pytest.raises(DataSetError, match="2 steps in the data set, 3 of an epoch"):
        reading(tmp_path, data_dir, steps=3, **shape)


def test_evaluation_parts_differ_by_one_case_at_most(tmp_path, data_dir):
    planned = reading(tmp_path, data_dir, accelerators=2)
    parts = [cases(planned.evaluation(1, rank)) for rank in range(2)]
    assert sorted(map(len, parts)) == [1, 2]
    assert len(set().union(*parts)) == 3


def test_too_few_cases_for_a_step_are_refused_with_the_figures(tmp_path, data_dir):
    message = "13 training cases, and a step of 7 accelerators x batch 2 takes 14"
    with pytest.raises(DataSetError, match=message):
        reading(tmp_path, data_dir, accelerators=7, batch_size=2)


def test_fewer_evaluation_cases_than_ranks_are_refused_when_they_are_read(tmp_path, data_dir):
    with pytest.raises(DataSetError, match="3 evaluation cases for 4 accelerators"):
        reading(tmp_path, data_dir, accelerators=4, eval_from=1)
    assert reading(tmp_path, data_dir, accelerators=4).steps_per_epoch == 3
    assert reading(tmp_path, data_dir, accelerators=4, eval_from=2).steps_per_epoch == 3


def test_files_that_are_no_pairs_are_refused(tmp_path, data_dir):
    manifest = read_manifest(data_dir)
    alone = replace(manifest, files=manifest.files[1:])
    with pytest.raises(DataSetError, match="not pairs"):
        plan_imseg(make_spec(tmp_path, data_dir), alone)


def test_the_data_set_of_another_workload_is_refused(tmp_path, data_dir):
    document = json.loads((data_dir / "manifest.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text(json.dumps(document | {"workload": "bert"}))
    with pytest.raises(DataSetError, match="a data set of bert, not imseg"):
        plan_imseg(make_spec(tmp_path, other), read_manifest(other))


@pytest.mark.parametrize("buffer", ["fresh", "reuse"])
def test_a_crop_is_one_place_of_image_and_label(tmp_path, buffer):
    data_dir = make_data_set(tmp_path / "data", train=2, side=150)
    planned = reading(tmp_path, data_dir, buffer=buffer)
    read, slots = reader(planned)
    [first, second] = planned.train(1, 0)
    read.read(first, 0)
    read.read(second, 1)
    for batch, slot in ((first, 0), (second, 1)):
        sample = batch.samples[0]
        image, label = np.load(sample.case.x.path)[0], np.load(sample.case.y.path)[0]
        z, y, x = (
            word % (length - 127) for word, length in zip(sample.corner, image.shape, strict=True)
        )
        place = np.s_[z : z + 128, y : y + 128, x : x + 128]
        assert np.array_equal(slots.x[slot, 0], image[place])
        assert np.array_equal(slots.y[slot, 0], label[place])


def test_crops_repeat_with_the_seed_and_move_with_the_epoch(tmp_path, data_dir):
    def corners(epoch, **changes):
        planned = reading(tmp_path, data_dir, **changes)
        return {
            sample.case.x.path: sample.corner
            for batch in planned.train(epoch, 0)
            for sample in batch.samples
        }

    assert corners(1) == corners(1)
    assert corners(1) != corners(2)
    assert corners(1) != corners(1, seed=2)


def test_evaluation_keeps_no_crop(tmp_path, data_dir):
    planned = reading(tmp_path, data_dir)
    read, slots = reader(planned)
    slots.x[:] = 7
    read.read(planned.evaluation(1, 0)[0], 0)
    assert (slots.x == 7).all()


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((1, 12, 12, 15), np.float64), "float64"),
        (np.zeros((12, 12, 15), np.float32), r"\(12, 12, 15\)"),
        (np.zeros((1, 12, 12, 16), np.float32), "differ"),
    ],
    ids=["dtype", "dimensions", "label"],
)
def test_a_volume_of_another_kind_is_named(tmp_path, volume, message):
    data_dir = make_data_set(tmp_path / "data", train=1, side=12)
    path = data_dir / "case_00000_x.npy"
    np.save(path, volume)
    describe(data_dir, {path.name: path.stat().st_size})
    planned = reading(tmp_path, data_dir)
    read, _ = reader(planned)
    with pytest.raises(DataSetError, match=message) as caught:
        read.read(Batch(step=1, samples=planned.train(1, 0)[0].samples), 0)
    assert str(path) in str(caught.value)


def test_memory_grows_with_the_largest_volume_and_the_batch(tmp_path, data_dir):
    fresh = reading(tmp_path, data_dir, buffer="fresh", batch_size=3)
    assert (fresh.reader_bytes, fresh.slot_bytes) == (0, 3 * 5 * 128**3)
    largest = sum(
        max(path.stat().st_size for path in data_dir.glob(f"*_{kind}.npy")) for kind in "xy"
    )
    assert reading(tmp_path, data_dir).reader_bytes == largest
