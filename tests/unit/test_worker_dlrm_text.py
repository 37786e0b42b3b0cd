"""dlrm text: two passes over all lines, with Python's calls; what is refused."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsgen.described import described
from dsgen.errors import DataSetError, UsageError
from dsgen.manifest import read_manifest
from harness.worker.record import Op, Phase
from harness.worker.recording.io import DataCalls
from harness.worker.workloads.dlrm import plan_dlrm
from harness.worker.workloads.dlrm_rows import RowBatches
from harness.worker.workloads.dlrm_text import LineBatches
from tests.unit.dlrm_sets import dlrm_spec, make_text
from tests.unit.traced_calls import as_the_reference
from tests.unit.worker_run import describe, load, load_json, run_worker

LINES = 1_000


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_text(tmp_path_factory.mktemp("set") / "data", LINES)


@pytest.fixture
def own(tmp_path, data_dir):
    """Return a copy that a test may damage."""
    return shutil.copytree(data_dir, tmp_path / "own")


def reading(tmp_path, data_dir, **changes):
    return plan_dlrm(dlrm_spec(tmp_path, data_dir, **changes), read_manifest(data_dir))


def read_all(planned, epochs=1):
    """Read all batches, and return the calls."""
    calls = DataCalls(rank=0, loader=0, rows=2000, marks=2000)
    reader = planned.reader(calls, planned.slots(1))
    for epoch in range(1, epochs + 1):
        batches = planned.train(epoch, 0)
        for index in range(len(batches)):
            reader.read(batches[index], 0)
    return calls.rows()


@given(st.integers(1, 500), st.integers(1, 60))
def test_each_line_is_read_once_a_pass_and_in_order(lines, batch_rows):
    once = RowBatches(order=range(-(-lines // batch_rows)), batch_rows=batch_rows, rows=lines)
    batches = LineBatches(once=once, steps=2 * len(once))
    read = [line for index in range(len(batches)) for line in batches[index].samples]
    assert read == list(range(lines)) * 2
    assert [batches[index].step for index in range(len(batches))] == [*range(1, 2 * len(once) + 1)]


@pytest.mark.parametrize("batch_size", [7, 64, 500, 999, 1000])
def test_an_epoch_reads_the_file_twice(tmp_path, data_dir, batch_size):
    planned = reading(tmp_path, data_dir, batch_size=batch_size)
    assert planned.steps_per_epoch == 2 * -(-LINES // batch_size)
    rows = read_all(planned, epochs=2)
    assert len(rows) <= 2 * planned.calls(Phase.TRAIN, planned.steps_per_epoch)
    size_bytes = (data_dir / "train.txt").stat().st_size
    assert rows["returned"][rows["op"] == Op.READ].sum() == 4 * size_bytes
    assert (rows["op"] == Op.OPEN).sum() == (rows["op"] == Op.CLOSE).sum() == 4


def test_fewer_steps_end_an_epoch_and_the_next_one_begins_anew(tmp_path, data_dir):
    planned = reading(tmp_path, data_dir, batch_size=100, steps=3)
    rows = read_all(planned, epochs=2)
    assert planned.epoch_samples == 300
    assert (rows["op"] == Op.OPEN).sum() == 2
    offsets = rows["offset"][rows["op"] == Op.READ].tolist()
    assert offsets == [8192 * number for number in range(len(offsets) // 2)] * 2


@pytest.mark.strace
def test_a_training_makes_the_calls_of_the_reference(tmp_path, data_dir):
    spec = dlrm_spec(tmp_path, data_dir, accelerators=2, batch_size=50)
    made = as_the_reference(tmp_path, spec, "text")
    assert sum(call.name == "open" for call in made) == 2


def test_nothing_is_declared_evaluated_or_saved(tmp_path, data_dir):
    spec = dlrm_spec(
        tmp_path,
        data_dir,
        accelerators=3,
        batch_size=30,
        epochs=2,
        checkpoint_dir=str(tmp_path / "saved"),
        checkpoint_bytes=1000,
    )
    (tmp_path / "saved").mkdir()
    done = run_worker(tmp_path, spec)
    assert (done.returncode, done.stderr) == (0, "")
    for rank in range(3):
        steps = load(spec, f"steps/rank-{rank:05d}.npy")
        assert len(steps) == 2 * (1 + 2 * 12)
        assert not steps["declared_ns"].any()
        windows = load(spec, f"steps/windows-{rank:05d}.npy")
        assert windows["phase"].tolist() == [Phase.TRAIN] * 2
        assert windows["samples"].tolist() == [0 if rank else 2 * LINES] * 2
    assert list((tmp_path / "saved").iterdir()) == []
    assert load_json(spec, "worker.json")["samples_dropped_per_epoch"] == 0


@pytest.mark.parametrize(("kept", "message"), [(LINES - 1, "fewer"), (LINES + 1, "more")])
def test_another_number_of_lines_than_its_manifest_says_is_refused(tmp_path, own, kept, message):
    path = own / "train.txt"
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    # The same bytes: a line end less, or one more.
    changed = "".join(lines[:-2]) + lines[-2].replace("\n", " ") + lines[-1]
    if kept > LINES:
        changed = text.replace("7", "\n", 1)
    path.write_text(changed)
    assert len(changed) == len(text)
    with pytest.raises(DataSetError, match=f"{message} than the 1,000 lines") as caught:
        read_all(reading(tmp_path, own))
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path, own):
    path = own / "train.txt"
    content = bytearray(path.read_bytes())
    content[5000] = 255
    path.write_bytes(content)
    with pytest.raises(DataSetError, match="no text") as caught:
        read_all(reading(tmp_path, own))
    assert str(path) in str(caught.value)


def test_a_file_that_was_cut_is_refused(tmp_path, own):
    path = own / "train.txt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataSetError, match="were to be"):
        read_all(reading(tmp_path, own))
    describe(own, {path.name: path.stat().st_size})
    # The last line may end without a line end.
    assert len(read_all(reading(tmp_path, own)))


def test_what_does_not_suit_text_is_refused(tmp_path, data_dir):
    with pytest.raises(UsageError, match="--loader-workers 1"):
        reading(tmp_path, data_dir, loader_workers=1)
    with pytest.raises(UsageError, match="--eval-from 1"):
        reading(tmp_path, data_dir, eval_from=1)
    with pytest.raises(UsageError, match="--shuffle batches"):
        reading(tmp_path, data_dir, shuffle="batches")
    with pytest.raises(DataSetError, match=r"1,000 training rows, .* takes 1,001"):
        reading(tmp_path, data_dir, batch_size=1_001)
    with pytest.raises(DataSetError, match="32 steps in the data set, 33 of an epoch"):
        reading(tmp_path, data_dir, steps=33)


def test_lines_that_nobody_counted_are_refused(tmp_path):
    data_dir = tmp_path / "mine"
    data_dir.mkdir()
    fields = "\t".join(["0", *["1"] * 13, *["0a"] * 26])
    (data_dir / "train.txt").write_text(f"{fields}\n" * 100)
    with pytest.raises(DataSetError, match=r"nobody counted its lines: .*train\.txt; `scale`"):
        plan_dlrm(dlrm_spec(tmp_path, data_dir), described(data_dir, "dlrm"))
