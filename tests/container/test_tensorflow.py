"""Real steps in the real image: what was read is trained on, counted to the byte, and learnt."""

import json
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from dsgen.errors import ExitCode
from dsgen.tfrecord import frame_header, masked, read_record
from dsgen.write import generate
from harness.engine import Mount
from tests.property.strategies import data_set
from tests.unit.test_harness_refusals import harness
from tests.unit.test_own_data import result_of
from tests.unit.worker_run import load, load_json, make_data_set, make_spec

pytestmark = pytest.mark.engine

RANKS = 2
GOLDEN = Path(__file__).parents[1] / "golden"

# Trains each model on one batch again and again, and prints the loss of every step.
REPEAT = """
import json, sys
import numpy as np
from types import SimpleNamespace
from harness.worker.accelerators.computing import start_tensorflow

workload, batch_size, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
spec = SimpleNamespace(workload=workload, batch_size=batch_size, seed=1, data_dir="")
accelerator = start_tensorflow(spec, gpu=None, threads=1)
random = np.random.default_rng(1)
if workload == "imseg":
    labels = np.zeros((batch_size, 128, 128, 128), np.uint8)
    labels[:, 40:80, 30:90, 50:70], labels[:, 50:60, 40:60, 55:65] = 1, 2
    noise = random.standard_normal(labels.shape, np.float32)
    batch = noise + labels, labels
elif workload == "dlrm":
    batch = random.integers(0, 10**6, (batch_size, 40), np.int32)
    batch[:, 0] %= 2
    batch[:, 1:14] %= 10
else:
    batch = [bytes.fromhex(word) for word in sys.argv[4:]]
losses = []
for _ in range(steps):
    accelerator.run(0, 0, batch)
    losses.append(accelerator.facts.last_loss)
print(json.dumps({"losses": losses, "parameters": accelerator.facts.parameters}))
"""


def records(count):
    """Return records as the generator writes them."""
    with (GOLDEN / "bert.tfrecord").open("rb") as stream:
        return [read_record(stream) for _ in range(count)]


@pytest.fixture
def repeat(engine, job):
    """Train on one batch again and again in the image; return losses and parameters."""

    def run(workload, batch_size, steps):
        said = []
        content = [record.hex() for record in records(batch_size)] if workload == "bert" else []
        words = ("-c", REPEAT, workload, str(batch_size), str(steps), *content)
        ended = engine.run(job("", arguments=words, mounts=()), said.append)
        assert ended.code == 0, ended.tail
        return json.loads(said[-1])

    return run


@pytest.mark.parametrize(
    ("workload", "batch_size", "parameters", "start"),
    [
        # Cross entropy of three classes, and almost no overlap.
        ("imseg", 1, 16_955, 2),
        # Of 30,522 words, and of two answers.
        ("bert", 4, 4_433_468, 11),
        ("dlrm", 512, 4_218_929, 0.69),
    ],
)
def test_a_model_learns_a_batch_that_it_sees_again(repeat, workload, batch_size, parameters, start):
    found = repeat(workload, batch_size, 4 if workload == "imseg" else 8)
    losses = found["losses"]
    assert found["parameters"] == parameters
    assert np.isfinite(losses).all()
    assert losses[-1] == min(losses) < 0.97 * losses[0]
    # At the start it knows nothing: near what guessing costs.
    assert 0.9 * start < losses[0] < 2 * start


@pytest.fixture
def train(engine, job, tmp_path):
    """Run a training in the image and return its exit and what it said."""

    def run(spec):
        out = tmp_path / "out"
        out.mkdir()
        path = out / "spec.json"
        path.write_text(spec.to_json())
        said = []
        mounts = (Mount(path=Path(spec.data_dir), read_only=True), Mount(path=out))
        words = ("-m", "harness.worker", str(path))
        return engine.run(job("", arguments=words, mounts=mounts), said.append), said

    return run


def spec_for(tmp_path, workload, **changes):
    """Write a small data set and return what trains two ranks over it for real."""
    data = tmp_path / "set"
    if workload == "imseg":
        make_data_set(data, train=4, evaluation=2, side=40)
    else:
        format_ = changes.pop("format", None)
        more = {"min_files": 48} if workload == "bert" else {"format": format_}
        size_bytes = 1_500_000 if workload == "bert" else 600_000
        generate(
            data_set(workload, size_bytes, **more).layout(), data, processes=2, emit=lambda _: None
        )
    common = {"accelerator": "tensorflow", "step_time": None, "accelerators": RANKS, "epochs": 2}
    return make_spec(tmp_path, data, workload=workload, **{**common, **changes})


@pytest.mark.parametrize(
    ("workload", "changes", "on_zeros"),
    [
        ("imseg", {"batch_size": 1, "loader_workers": 2, "epochs": 1, "eval_from": 1}, []),
        ("bert", {"batch_size": 3, "steps": 3, "loader_workers": 1, "eval_from": 2}, []),
        ("bert", {"batch_size": 3, "steps": 3, "pipelines": 1}, [1]),
        ("dlrm", {"batch_size": 256, "format": "bin", "eval_from": 2}, []),
        ("dlrm", {"batch_size": 256, "format": "npz", "loader_workers": 0}, []),
    ],
    ids=["imseg", "bert", "bert of one pipeline", "dlrm bin", "dlrm npz"],
)
def test_what_was_read_is_trained_on_and_counted_to_the_byte(
    train, tmp_path, workload, changes, on_zeros
):
    spec = spec_for(tmp_path, workload, **changes)
    ended, said = train(spec)
    assert ended.code == 0, (said, ended.tail)
    worker = load_json(spec, "worker.json")
    facts = worker["tensorflow"]
    steps = spec.epochs * worker["steps_per_epoch"]
    assert (worker["status"], worker["self_check"]["mismatches"]) == ("ok", 0)
    assert worker["self_check"]["checked_windows"] == RANKS * (spec.epochs + bool(spec.eval_from))
    assert len(facts["device"]) == RANKS
    assert None not in facts["device"]
    assert (facts["steps"], facts["ranks_on_zeros"]) == (steps, on_zeros)
    assert np.isfinite([facts["first_loss"], facts["last_loss"]]).all()
    for rank in range(RANKS):
        rows = load(spec, f"steps/rank-{rank:05d}.npy")
        rows = rows[rows["step"] > 0]
        assert len(rows) == steps
        took = rows["compute_end_ns"] - rows["load_end_ns"]
        assert (rows["declared_ns"] == took).all()
        assert (took > 0).all()


def test_a_result_says_what_computed_and_nothing_of_a_profile(engine, tmp_path):
    spec = spec_for(tmp_path, "dlrm", format="bin")
    done = harness(
        *("train", "dlrm", "--data", spec.data_dir, "--results", tmp_path / "results"),
        *("--engine", "docker", "--preset", "smoke", "--accelerator", "tensorflow"),
        *("--accelerators", RANKS, "--batch-size", 256, "--epochs", 2, "--eval-from", 0),
    )
    result, report = result_of(done)
    facts = result["accelerators"]
    assert result["engine"]["image_id"] == engine.facts()["image_id"]
    assert (result["status"], result["self_check"]["passed"]) == ("ok", True)
    assert (facts["kind"], facts["count"], facts["parameters"]) == ("tensorflow", RANKS, 4_218_929)
    assert len(set(facts["device"])) == 1
    assert not {"profile", "source", "declared_mean_s"} & set(facts)
    unset = [result["config"][name] for name in ("profile", "device", "step_time")]
    assert unset == [None] * 3
    assert 0 < result["metrics"]["au"]["value"] < 1
    assert result["metrics"]["overshoot_ns"]["max"] == 0
    said = f"{RANKS} x TensorFlow on {facts['device'][0]}"
    assert said in result["verdict"]["sentence"]
    assert f"dlrm, {said}" in report
    assert any("this machine's processor" in line for line in result["warnings"])
    assert f"{RANKS} x TensorFlow on the processor, batch 256 each" in done.stderr


def test_without_a_gpu_the_error_is_one_line_with_its_exit_code(train, tmp_path):
    ended, said = train(spec_for(tmp_path, "imseg", gpus=True))
    assert ended.code == ExitCode.DEVICE
    error = json.loads(said[-1])
    assert (error["kind"], error["exit_code"]) == ("error", ExitCode.DEVICE)
    assert "there is no GPU, or no driver for it" in error["text"]
    assert "leave --gpus out" in error["text"]


def rename_a_feature(path):
    """Write the records of a file anew, whole, but without the feature that training asks for."""
    with path.open("rb") as stream:
        records = []
        while stream.tell() < path.stat().st_size:
            records.append(read_record(stream).replace(b"input_mask", b"other_mask"))
    crcs = masked(np.array([google_crc32c.value(data) for data in records], np.uint32))
    framed = zip(records, crcs.astype("<u4"), strict=True)
    path.write_bytes(b"".join(frame_header(len(d)) + d + crc.tobytes() for d, crc in framed))


def test_a_record_that_is_no_example_of_the_seven_features_is_named(train, tmp_path):
    spec = spec_for(tmp_path, "bert", batch_size=3, steps=3)
    for path in Path(spec.data_dir).glob("part-*"):
        rename_a_feature(path)
    ended, said = train(spec)
    assert ended.code == ExitCode.DATA_SET, (said, ended.tail)
    assert "a batch that the transformer encoder" in json.loads(said[-1])["text"]
