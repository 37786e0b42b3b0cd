"""dlrm bin: the reader makes the calls of the reference, seen by strace, and rows are the calls."""

import json
import sys

import pytest

from dsgen.manifest import read_manifest
from harness.worker.spec import StepTime
from harness.worker.training import plan
from tests.reference.calls import compare
from tests.unit.dlrm_sets import dlrm_spec, make_rows
from tests.unit.traced_calls import strace
from tests.unit.worker_run import calls_of_rank, command

pytestmark = pytest.mark.strace

# From the facts: both data sets take the size, open, and load the counts; a batch is a seek to its
# number times its bytes, and a read of them.
REFERENCE = """
import json, os, sys
import numpy

class Rows:
    def __init__(self, directory, name, batch_bytes):
        path = directory + "/" + name
        os.path.getsize(path)
        self.batch_bytes = batch_bytes
        self.file = open(path, "rb")
        with numpy.load(directory + "/day_fea_count.npz") as data:
            self.counts = data["counts"]

    def __getitem__(self, index):
        self.file.seek(index * self.batch_bytes, 0)
        return numpy.frombuffer(self.file.read(self.batch_bytes), dtype=numpy.int32)

directory, batch_rows, phases = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
sets = {
    "train": Rows(directory, "preprocessed_train.bin", 160 * batch_rows),
    "test": Rows(directory, "preprocessed_test.bin", 160 * 16384),
}
for name, order in phases:
    for index in order:
        sets[name][index]
sys.stdout.flush()
os._exit(0)
"""


def phases_of(spec, data_dir):
    """Return which batches are read of which file."""
    reading = plan(spec, read_manifest(data_dir))
    phases = []
    for epoch in range(1, spec.epochs + 1):
        phases.append(("train", [int(number) for number in reading.train(epoch, 0).order]))
        phases.append(("test", list(reading.evaluation(epoch, 0).order)))
    return phases


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
    [made] = strace(tmp_path / "ours", command(tmp_path, spec))
    batch_rows, phases = accelerators * batch_size, json.dumps(phases_of(spec, data_dir))
    arguments = [str(data_dir), str(batch_rows), phases]
    [expected] = strace(tmp_path / "theirs", [sys.executable, "-c", REFERENCE, *arguments])
    assert compare(expected, made) == ""
    assert compare(made, calls_of_rank(spec, 0)) == ""
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
