"""bert: what is planned and refused, what a damaged file is told as, and whole runs of ranks."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from dsgen.described import described
from dsgen.errors import DataSetError, UsageError
from dsgen.layout import COUNTED
from dsgen.write import generate
from harness.worker.loading.tfrecords import CHUNK_BYTES
from harness.worker.record import FileClass, Op, Phase
from harness.worker.spec import WorkerSpec
from harness.worker.workloads.bert_plan import plan_bert
from tests.property.strategies import data_set
from tests.unit.bert_run import (
    RECORD_BYTES,
    bert_spec,
    even_set,
    framed,
    manifest_of,
    planned,
    read_phase,
    record,
    write_set,
)
from tests.unit.worker_run import (
    describe,
    load,
    load_json,
    make_data_set,
    run_worker,
)

WAITS = ("wait_storage_ns", "wait_io_cpu_ns", "wait_decode_cpu_ns", "wait_runqueue_ns")
FILES, RECORDS, EVALUATION = 30, 240, 120
CHANGES = {
    "ranks": {},
    "inline": {"loader_workers": 0},
    "one-pipeline": {"pipelines": 1},
    "steps": {"steps": 40},
    "fresh": {"buffer": "fresh"},
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    place = tmp_path_factory.mktemp("set") / "data"
    return even_set(place, files=FILES, records=RECORDS, evaluation=EVALUATION)


def damaged(tmp_path, change):
    """Return what is raised when a file of two records, changed by `change`, is read."""
    data_dir = write_set(tmp_path / "set", [[RECORD_BYTES] * 2])
    path = data_dir / "part-00000-of-00500"
    content = change(bytearray(path.read_bytes()))
    path.write_bytes(content)
    describe(data_dir, {path.name: len(content)})
    with pytest.raises(DataSetError) as caught:
        read_phase(planned(tmp_path, data_dir))
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def flip(at):
    def change(content):
        content[at] ^= 1
        return content

    return change


FIRST = len(framed(record(0, 0)))


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (0, "record 1 at byte 0: no header with its CRC"),
        (8, "record 1 at byte 0: no header with its CRC"),
        (12 + 100, "record 1 at byte 0: another CRC of its data"),
        (FIRST - 1, "record 1 at byte 0: another CRC of its data"),
        (FIRST + 3, f"record 2 at byte {FIRST:,}: no header with its CRC"),
        (FIRST + 50, f"record 2 at byte {FIRST:,}: another CRC of its data"),
    ],
)
def test_a_flipped_bit_is_told_by_file_record_and_offset(tmp_path, at, words):
    assert words in damaged(tmp_path, flip(at))


@pytest.mark.parametrize("left", [1, 11, 12, 100, RECORD_BYTES + 15])
def test_a_record_that_is_cut_is_told(tmp_path, left):
    said = damaged(tmp_path, lambda content: content[: FIRST + left])
    assert f"record 2 at byte {FIRST:,}: " in said
    assert "truncated" in said or left < 12


def test_what_is_no_tfrecord_is_told(tmp_path):
    said = damaged(tmp_path, lambda content: b"no records at all" * len(content))
    assert "record 1 at byte 0: no header with its CRC" in said


def test_a_length_beyond_the_file_is_not_waited_for(tmp_path):
    long = framed(record(0, 0))[:4] + b"\xff" * 4
    intact = framed(b"")  # an intact header of another length
    said = damaged(tmp_path, lambda content: intact + long + content)
    assert f"record 2 at byte {len(intact)}" in said


def test_fewer_records_than_the_manifest_says_are_told(tmp_path):
    data_dir = write_set(tmp_path / "set", [[RECORD_BYTES] * 4])
    path = data_dir / "part-00000-of-00500"
    path.write_bytes(path.read_bytes()[: 2 * FIRST])
    with pytest.raises(DataSetError, match="fewer records than they should, found at step 3"):
        read_phase(planned(tmp_path, data_dir))


def test_a_file_that_went_away_is_told(tmp_path):
    data_dir = write_set(tmp_path / "set", [[RECORD_BYTES] * 4] * 3)
    reading = planned(tmp_path, data_dir)
    (data_dir / "part-00001-of-00500").unlink()
    with pytest.raises(DataSetError, match=r"cannot open \(No such file.*part-00001"):
        read_phase(reading)


def test_ranks_need_a_file_each(tmp_path, data_dir):
    message = f"{FILES} training files for {FILES + 1} pipelines.*--pipelines 1"
    with pytest.raises(DataSetError, match=message):
        planned(tmp_path, data_dir, accelerators=FILES + 1)
    one = planned(tmp_path, data_dir, accelerators=FILES + 1, pipelines=1)
    assert (one.readers, one.steps_per_epoch) == (1, FILES * RECORDS // (FILES + 1))


def test_a_step_needs_a_batch_in_every_rank(tmp_path):
    data_dir = write_set(tmp_path / "set", [[50] * 9, [50] * 5])
    assert planned(tmp_path, data_dir, accelerators=2, batch_size=5).steps_per_epoch == 1
    with pytest.raises(DataSetError, match=r"5 training records in the files.*takes 6"):
        planned(tmp_path, data_dir, accelerators=2, batch_size=6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipelines": 2, "accelerators": 3}, "2 pipelines for 3 accelerators.*--pipelines 1"),
        ({"loader": "tfdata", "loader_workers": 0}, "in the background.*--loader-workers 1"),
        ({"loader_workers": 2}, "2 loader workers.*--loader-workers 1"),
    ],
)
def test_a_pipeline_is_one_stream(tmp_path, data_dir, changes, message):
    with pytest.raises(UsageError, match=message):
        planned(tmp_path, data_dir, **changes)


def test_evaluation_needs_its_file_when_it_happens(tmp_path):
    data_dir = even_set(tmp_path / "set", files=2, records=9)
    assert planned(tmp_path, data_dir).evaluation(1, 0) == []
    with pytest.raises(DataSetError, match=r"no evaluation file.*--eval-from 0"):
        planned(tmp_path, data_dir, eval_from=1)


def test_the_data_set_of_another_workload_is_refused(tmp_path):
    data_dir = make_data_set(tmp_path / "imseg", train=2, side=12)
    with pytest.raises(DataSetError, match="a data set of imseg, not bert"):
        planned(tmp_path, data_dir)


def uncounted(data_dir):
    """Return the manifest as it is where nobody has counted the records."""
    manifest = manifest_of(data_dir)
    files = tuple(replace(file, samples=COUNTED) for file in manifest.files)
    return replace(manifest, files=files, samples_train=COUNTED, samples_eval=COUNTED)


def test_records_that_nobody_counted_are_counted_for_a_pass_and_not_for_steps(tmp_path, data_dir):
    manifest = uncounted(data_dir)
    counted = plan_bert(bert_spec(tmp_path, data_dir, eval_from=1), manifest)
    assert counted == planned(tmp_path, data_dir, eval_from=1)
    assert (counted.train_samples, counted.eval_records) == (FILES * RECORDS, 100)
    spec = bert_spec(tmp_path, data_dir, steps=9, accelerators=2)
    reading = plan_bert(spec, manifest)
    assert (reading.train_samples, reading.steps_per_epoch) == (None, 9)
    assert len(read_phase(reading).names) == 9


def test_a_file_that_cannot_be_counted_is_told(tmp_path):
    data_dir = write_set(tmp_path / "set", [[50] * 9])
    path = data_dir / "part-00000-of-00500"
    path.write_bytes(flip(66)(bytearray(path.read_bytes())))
    with pytest.raises(DataSetError, match=f"record 2: no record begins at byte 66.*{path.name}"):
        plan_bert(bert_spec(tmp_path, data_dir), uncounted(data_dir))


def test_files_without_a_manifest_are_described_and_read(tmp_path):
    directory = tmp_path / "mine"
    generate(data_set("bert", 1_000_000).layout(), directory, processes=1, emit=lambda _: None)
    records = manifest_of(directory).samples_train
    (directory / "manifest.json").unlink()
    reading = plan_bert(bert_spec(tmp_path, directory), described(directory, "bert"))
    batches = read_phase(reading).batches
    assert len(batches) == records == reading.steps_per_epoch


def full_spec(tmp_path, data_dir, **changes):
    """Return a spec that uses everything there is."""
    values = {
        "accelerators": 2,
        "batch_size": 15,
        "epochs": 2,
        "eval_from": 2,
        "prefetch_batches": 8,
        "checkpoint_dir": str(tmp_path / "ckpt"),
        "checkpoint_bytes": 10_000_000,
        "cache": "cold",
    }
    (tmp_path / "ckpt").mkdir()
    return bert_spec(tmp_path, data_dir, **(values | changes))


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run of two ranks over the whole data set, or for some steps."""

    spec: WorkerSpec
    readers: int
    steps: int


@pytest.fixture(scope="module", params=CHANGES.values(), ids=CHANGES)
def trained(tmp_path_factory, data_dir, request):
    tmp_path = tmp_path_factory.mktemp("trained")
    changes = request.param
    spec = full_spec(tmp_path, data_dir, **changes)
    done = run_worker(tmp_path, spec)
    assert (done.returncode, done.stderr) == (0, "")
    steps = changes.get("steps") or FILES * RECORDS // 2 // 15
    return Trained(spec=spec, readers=changes.get("pipelines") or 2, steps=steps)


def test_a_run_leaves_every_step_and_its_bytes_are_the_kernels(trained):
    spec = trained.spec
    for rank in range(2):
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        own = load(spec, f"steps/rank-{rank:05d}.npy")
        numbers = [(epoch, step) for epoch in (1, 2) for step in range(trained.steps + 1)]
        assert own[["epoch", "step"]].tolist() == numbers
        for window in load(spec, f"steps/windows-{rank:05d}.npy"):
            chosen = (rows["epoch"] == window["epoch"]) & (rows["phase"] == window["phase"])
            reads = rows[chosen & (rows["op"] == Op.PREAD)]
            assert window["row_bytes"] == reads["returned"].sum()
            assert window["rchar"] == window["row_bytes"] + window["other_read_bytes"]


def test_ranks_that_read_close_what_they_opened_and_steps_have_their_bytes(trained):
    spec = trained.spec
    for rank in range(2):
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        steps = load(spec, f"steps/rank-{rank:05d}.npy")
        data = rows[np.isin(rows["phase"], (Phase.TRAIN, Phase.EVAL))]
        assert (len(data) > 0) == (rank < trained.readers)
        assert set(data["class"]) <= {FileClass.RECORD}
        assert set(data["loader"]) <= {spec.loader_workers}
        opened, closed = (np.sort(data["file"][data["op"] == op]) for op in (Op.OPEN, Op.CLOSE))
        assert np.array_equal(opened, closed)
        preads = data[(data["phase"] == Phase.TRAIN) & (data["op"] == Op.PREAD)]
        assert steps["bytes"].sum() == preads["returned"].sum()
        assert (preads["returned"] <= CHUNK_BYTES).all()


def test_the_waits_for_batches_are_explained(trained):
    for rank in range(2):
        steps = load(trained.spec, f"steps/rank-{rank:05d}.npy")
        interval_ns = (steps["load_end_ns"] - steps["load_start_ns"]).sum()
        explained_ns = sum(int(steps[kind].sum()) for kind in WAITS)
        wall_ns = steps["barrier_end_ns"].max() - steps["barrier_end_ns"].min()
        assert abs(int(interval_ns) - explained_ns) < 0.005 * wall_ns
        assert min(steps[kind].min() for kind in WAITS) >= 0


def test_worker_json_says_what_was_read(trained):
    summary = load_json(trained.spec, "worker.json")
    assert summary["readers"] == trained.readers
    assert summary["self_check"] == {"checked_windows": 8, "mismatches": 0}
    assert summary["samples_used_per_epoch"] == trained.steps * 30
    assert summary["samples_dropped_per_epoch"] == FILES * RECORDS - trained.steps * 30
    windows = [load(trained.spec, f"steps/windows-{rank:05d}.npy") for rank in range(2)]
    evaluated = 200 if trained.readers == 2 else EVALUATION
    for phase, samples in ((Phase.TRAIN, trained.steps * 60), (Phase.EVAL, evaluated)):
        assert sum(own["samples"][own["phase"] == phase].sum() for own in windows) == samples


def test_every_rank_that_reads_leaves_a_checkpoint(trained):
    written = sorted(Path(trained.spec.checkpoint_dir).iterdir())
    names = [f"model.ckpt-{rank:05d}" for rank in range(trained.readers)]
    assert [path.name for path in written] == names
    for rank in range(trained.readers):
        rows = load(trained.spec, f"trace/rank-{rank:05d}.npy")
        sizes = rows["returned"][rows["op"] == Op.WRITE].tolist()
        assert sizes == [4096, 8_384_512, 4096, 10_000_000 - 8_388_608 - 4096]


def test_steps_beyond_the_data_set_are_no_dropped_samples(tmp_path, data_dir):
    spec = full_spec(tmp_path, data_dir, steps=300, epochs=1, eval_from=0, checkpoint_dir=None)
    assert run_worker(tmp_path, spec).returncode == 0
    summary = load_json(spec, "worker.json")
    assert (summary["samples_used_per_epoch"], summary["samples_dropped_per_epoch"]) == (9000, 0)


def test_a_damaged_record_ends_the_run_with_its_place(tmp_path):
    data_dir = even_set(tmp_path / "set", files=3, records=300)
    path = data_dir / "part-00001-of-00500"
    path.write_bytes(flip(5_000)(bytearray(path.read_bytes())))
    done = run_worker(tmp_path, bert_spec(tmp_path, data_dir, accelerators=3))
    assert done.returncode == 6
    assert done.stderr.count("\n") == 1
    assert f"record 2 at byte {FIRST:,}" in done.stderr
    assert str(path) in done.stderr
