"""bert's pipeline beside tf.data's, in containers under strace: the same calls file by file."""

import os
import secrets
from collections import defaultdict
from pathlib import Path

import pytest

from harness.engine import Job, Mount
from harness.engine.arguments import container_arguments
from harness.worker.io import DataCalls
from harness.worker.tfrecords import CHUNK_BYTES, Chunks, interleaved
from tests.unit.bert_run import bert_spec, name_of, planned, write_set
from tests.unit.record_calls import STRACE, thread_calls

pytestmark = pytest.mark.engine

REFERENCE = Path(__file__).with_name("interleave_bert.py").read_text()
FILES, RECORDS = 64, 1010
BATCH = 6


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Files of which none ends within the thousand records before the first batch."""
    lengths = [600 + 37 * number % 50 for number in range(RECORDS)]
    # One has chunks without a rest.
    whole = [*[600] * (RECORDS - 1)]
    whole.append(3 * CHUNK_BYTES - sum(length + 16 for length in whole) - 16)
    place = tmp_path_factory.mktemp("set") / "data"
    return write_set(place, [whole, *[lengths] * (FILES - 1)])


@pytest.fixture
def traced(client, cpu_image, data_dir, tmp_path):
    """Run Python in a container under strace; return its output and each file's calls."""

    def run(name, *arguments):
        output = tmp_path / name
        output.mkdir()
        mounts = (Mount(path=tmp_path), Mount(path=data_dir))
        job = Job(name=name, arguments=(), mounts=mounts, log=tmp_path / "log")
        container = client.containers.create(
            **container_arguments(
                job,
                image=cpu_image,
                name=f"feedrate-{name}-{secrets.token_hex(4)}",
                labels={},
                user=f"{os.getuid()}:{os.getgid()}",
            )
            | {"command": [*STRACE, f"{output}/log", "python", *map(str, arguments)]}
        )
        try:
            container.start()
            assert container.wait()["StatusCode"] == 0, container.logs().decode()
            said = container.logs(stderr=False).decode()
        finally:
            container.remove(force=True)
        return said, by_file(sorted(output.iterdir()))

    return run


def by_file(logs):
    """Return each file's calls; tf.data may close a file in another thread than it read it in."""
    calls = defaultdict(list)
    for log in logs:
        for call in thread_calls(log):
            calls[call[1]].append(call)
    return {path: sorted(own, key=lambda call: call[0] == "close") for path, own in calls.items()}


def without_close(calls):
    return [call for call in calls if call[0] != "close"]


def preads(made):
    return sum(call[0] == "pread64" for calls in made.values() for call in calls)


def pass_order(tmp_path, data_dir, spec):
    """Write the order of the files in the first pass to a file, and return both."""
    reading = planned(tmp_path, data_dir, steps=spec.steps, batch_size=BATCH)
    order = reading.train(1, 0)[0].samples[0].order(0)
    listing = tmp_path / "listing"
    listing.write_text("".join(f"{file.path}\n" for file in order))
    return order, listing


@pytest.mark.parametrize(("steps", "ended"), [(1, 0), (4300, 15)])
def test_files_are_read_in_the_calls_of_tf_data(traced, data_dir, tmp_path, steps, ended):
    spec = bert_spec(tmp_path, data_dir, steps=steps, batch_size=BATCH)
    (tmp_path / "spec.json").write_text(spec.to_json())
    _, listing = pass_order(tmp_path, data_dir, spec)
    _, ours = traced("worker", "-m", "harness.worker", tmp_path / "spec.json")
    _, theirs = traced("reference", "-c", REFERENCE, "calls", steps, listing)
    if steps == 1:
        # Both have opened as many before their first batch, and the same ones.
        assert len(ours) == 24
        assert set(ours) == set(theirs)
    both = set(ours) & set(theirs)
    assert len(set(ours) ^ set(theirs)) <= 8
    whole = 0
    for path in both:
        mine, other = without_close(ours[path]), without_close(theirs[path])
        shorter = min(len(mine), len(other))
        assert mine[:shorter] == other[:shorter]
        if mine[-1][-1] == other[-1][-1] == 0:  # read to the end
            assert ours[path] == theirs[path]
            whole += 1
    assert whole >= ended
    assert abs(preads(ours) - preads(theirs)) <= 24


def test_files_take_turns_in_the_order_of_tf_data(traced, data_dir, tmp_path):
    spec = bert_spec(tmp_path, data_dir, steps=1, batch_size=BATCH)
    order, listing = pass_order(tmp_path, data_dir, spec)
    said, theirs = traced("reference", "-c", REFERENCE, "order", FILES * RECORDS, listing)
    calls = DataCalls(rank=0, loader=0, rows=1_000, marks=1_000)
    ours = [name_of(record) for record in interleaved(calls, order, Chunks(reuse=True))]
    assert len(ours) == FILES * RECORDS
    assert [f"{file} {number}" for file, number in ours] == said.splitlines()
    # Both have read everything.
    sizes = [path.stat().st_size for path in data_dir.glob("part-*")]
    assert preads(theirs) == sum(
        size // CHUNK_BYTES + 1 + (size % CHUNK_BYTES > 0) for size in sizes
    )
    assert calls.row_count == preads(theirs) + 2 * FILES
