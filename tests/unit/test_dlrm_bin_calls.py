"""dlrm bin: the reader makes the calls of the reference, seen by strace, and rows are the calls."""

import pytest

from harness.worker.spec import StepTime
from tests.unit.dlrm_sets import dlrm_spec, make_rows
from tests.unit.traced_calls import as_the_reference, strace
from tests.unit.worker_run import calls_of_rank, command

pytestmark = pytest.mark.strace


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    # The last batch is short for all batch sizes below; so is the second test batch.
    return make_rows(tmp_path_factory.mktemp("set") / "data", train=3_333, test=20_000)


@pytest.mark.parametrize("shuffle", ["none", "batches"])
@pytest.mark.parametrize(
    ("accelerators", "batch_size"),
    # Whole blocks of 4 KiB, as the reference's; others, for which Python reads a block more.
    [(2, 64), (2, 128), (1, 100), (3, 7)],
)
def test_a_training_makes_the_calls_of_the_reference(
    tmp_path, data_dir, shuffle, accelerators, batch_size
):
    spec = dlrm_spec(
        tmp_path,
        data_dir,
        accelerator="emulated",
        gpus=False,
        accelerators=accelerators,
        batch_size=batch_size,
        shuffle=shuffle,
        epochs=2,
        eval_from=1,
        step_time=StepTime(mean_s=0.0, sd_s=0.0),
    )
    made = as_the_reference(tmp_path, spec, "bin")
    batch_rows = accelerators * batch_size
    if 160 * batch_rows % 4096 == 0:
        rows = str(data_dir / "preprocessed_train.bin")
        reads = [call for call in made if call.name == "read" and call.path == rows]
        full = [call for call in reads if call.returned == 160 * batch_rows]
        # One read a batch, but for the two of the last one.
        assert len(full) == 2 * (3_333 // batch_rows)
        assert len(reads) == len(full) + 2 * 2


def test_loader_workers_have_files_of_their_own_and_read_every_batch_once(tmp_path, data_dir):
    spec = dlrm_spec(tmp_path, data_dir, accelerators=2, loader_workers=3)
    threads = strace(tmp_path / "ours", command(tmp_path, spec))
    made = [call for calls in threads for call in calls]
    rows = str(data_dir / "preprocessed_train.bin")
    of_rows = [call for call in made if call.path == rows]
    assert sum(call.returned for call in of_rows if call.name == "read") == 160 * 3_333
    assert sum(call.name == "open" for call in of_rows) == 3
    assert sorted(made) == sorted(calls_of_rank(spec, 0))
