"""bert's loader `tfdata` in the image: TensorFlow reads in the ranks, known by its bytes alone."""

import re

import numpy as np
import pytest

from dsgen.write import generate
from harness.worker.loading.tfrecords import CHUNK_BYTES
from harness.worker.record import Phase
from tests.property.strategies import data_set
from tests.unit.bert_run import bert_spec
from tests.unit.worker_run import load, load_json

pytestmark = pytest.mark.engine

# What Python and TensorFlow read of themselves in a window, as modules that are imported late.
OWN_BYTES = 2_000_000


@pytest.fixture
def run(engine, job, tmp_path):
    """Train in a container over a small data set, and return the job's end and the spec."""

    def train(change=lambda _: None, **changes):
        place = tmp_path / "data"
        layout = data_set("bert", 3_000_000, min_files=30).layout()
        generate(layout, place / "set", processes=1, emit=lambda _: None)
        change(place / "set")
        values = {"loader": "tfdata", "accelerators": 2, "batch_size": 6, "prefetch_batches": 8}
        spec = bert_spec(place, place / "set", **(values | changes))
        (place / "spec.json").write_text(spec.to_json())
        arguments = ("-m", "harness.worker", str(place / "spec.json"))
        return engine.run(job("", arguments=arguments), print), spec

    return train


@pytest.mark.parametrize("steps", [0, 30])
def test_tf_data_trains_and_its_bytes_are_the_kernels(run, steps):
    ended, spec = run(steps=steps, eval_from=1)
    assert ended.code == 0, ended.tail
    summary = load_json(spec, "worker.json")
    assert summary["bytes"] == "inferred"
    assert summary["self_check"] == {"checked_windows": 0, "mismatches": 0}
    assert summary["steps_per_epoch"] == steps or 90 < summary["steps_per_epoch"] <= 1_203 // 12
    files = load_json(spec, "trace/files.json").values()
    shards = [sum(facts["size_bytes"] for facts in list(files)[rank:30:2]) for rank in range(2)]
    for rank in range(2):
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        assert not len(rows)
        train, evaluation = load(spec, f"steps/windows-{rank:05d}.npy")
        assert (train["phase"], evaluation["phase"]) == (Phase.TRAIN, Phase.EVAL)
        assert train["samples"] == summary["steps_per_epoch"] * 6
        assert train["rchar"] == train["row_bytes"] + train["other_read_bytes"]
        # A pass reads all files of the rank; so few steps do, too, for they hold a thousand back.
        assert shards[rank] <= train["row_bytes"] <= 2 * shards[rank] + OWN_BYTES
        assert evaluation["samples"] == 100
        assert CHUNK_BYTES <= evaluation["row_bytes"] <= CHUNK_BYTES + OWN_BYTES
        steps_rows = load(spec, f"steps/rank-{rank:05d}.npy")
        waited = steps_rows["load_end_ns"] - steps_rows["load_start_ns"]
        kinds = [name for name in steps_rows.dtype.names if name.startswith("wait_")]
        told = sum(steps_rows[name].sum() for name in kinds)
        assert told == pytest.approx(waited.sum(), rel=0.01)
        assert np.all(steps_rows["bytes"] == 0)


def test_a_record_that_tf_data_refuses_ends_the_run(run):
    def flip(directory):
        path = directory / "part-00003-of-00500"
        content = bytearray(path.read_bytes())
        content[5_000] ^= 1
        path.write_bytes(content)

    ended, _ = run(flip, steps=60)
    assert ended.code == 6, ended.tail
    place = re.compile(
        r"record [23] at byte [2-4],\d{3}: another CRC of its data: .*part-00003-of-00500"
    )
    assert any(place.search(line) for line in ended.tail), ended.tail
