"""dlrm npz: days are read with the calls of np.load, seen by strace, and rows are the calls."""

import pytest

from dsgen.choices import Wanted
from dsgen.workloads import plan
from dsgen.write import generate
from harness.worker.spec import StepTime
from tests.unit.dlrm_sets import dlrm_spec, make_days
from tests.unit.traced_calls import as_the_reference

pytestmark = pytest.mark.strace


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
    made = as_the_reference(tmp_path, spec, "npz")
    assert sum(call.name == "open" for call in made) == 2 + 2 * days
