"""dlrm npz: days are read with the calls of np.load, seen by strace, and rows are the calls."""

import sys

import pytest

from dsgen.choices import Wanted
from dsgen.workloads import plan
from dsgen.write import generate
from harness.worker.spec import StepTime
from tests.reference.calls import compare
from tests.unit.dlrm_sets import dlrm_spec, make_days
from tests.unit.traced_calls import strace
from tests.unit.worker_run import calls_of_rank, command

pytestmark = pytest.mark.strace

# From the facts: both files of counts, then each day when it is due, three arrays in this order.
REFERENCE = """
import os, sys
import numpy

directory, days, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for name, array in (("day_day_count", "total_per_file"), ("day_fea_count", "counts")):
    with numpy.load(f"{directory}/{name}.npz") as data:
        data[array]

def load(day):
    with numpy.load(f"{directory}/day_{day}_reordered.npz") as data:
        return data["X_int"], data["X_cat"], data["y"]

for epoch in range(epochs):
    for day in range(days - 1):
        load(day)
    load(days - 1)
os._exit(0)
"""


@pytest.mark.parametrize("compression", ["deflate", "stored"])
@pytest.mark.parametrize("made_by", ["numpy", "dsgen"])
def test_a_training_makes_the_calls_of_the_reference(tmp_path, compression, made_by):
    data_dir, days = tmp_path / "data", 4
    if made_by == "numpy":
        # Archives smaller and larger than a block, and than what numpy inflates at a time.
        make_days(data_dir, [20, 300, 9_000, 1_500], compression=compression)
    else:
        wanted = Wanted(format="npz", compression=compression)
        layout = plan("dlrm", size_bytes=20_000_000, seed=1, wanted=wanted)
        generate(layout, data_dir, processes=2, emit=lambda _: None)
        days = 24
    spec = dlrm_spec(
        tmp_path,
        data_dir,
        accelerator="emulated",
        gpus=False,
        accelerators=2,
        batch_size=500,
        epochs=2,
        eval_from=1,
        step_time=StepTime(mean_s=0.0, sd_s=0.0),
    )
    [made] = strace(tmp_path / "ours", command(tmp_path, spec))
    arguments = [str(data_dir), str(days), "2"]
    [expected] = strace(tmp_path / "theirs", [sys.executable, "-c", REFERENCE, *arguments])
    assert compare(expected, made) == ""
    assert compare(made, calls_of_rank(spec, 0)) == ""
    assert sum(call.name == "open" for call in made) == 2 + 2 * days
