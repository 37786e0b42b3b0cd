"""bert's pipeline beside tf.data's, in containers under strace: the same calls file by file."""

import os
import secrets
from pathlib import Path

import pytest

from harness.engine import Job, Mount
from harness.engine.arguments import container_arguments
from harness.trace.calls import calls_of
from harness.trace.strace import OPTIONS, parse
from harness.worker.io import DataCalls
from harness.worker.tfrecords import CHUNK_BYTES, Chunks, interleaved
from tests.reference.calls import by_file, compare_files, read_to_the_end
from tests.unit.bert_run import bert_spec, name_of, planned, write_set

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
    """Run Python in a container under strace; return its output and its calls on records."""

    def run(name, *arguments):
        log = tmp_path / f"{name}.strace"
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
            | {"command": ["strace", *OPTIONS, str(log), "python", *map(str, arguments)]}
        )
        try:
            container.start()
            assert container.wait()["StatusCode"] == 0, container.logs().decode()
            said = container.logs(stderr=False).decode()
        finally:
            container.remove(force=True)
        with log.open(errors="replace") as lines:
            return said, calls_of(parse(lines).below(f"{data_dir}/part-"))

    return run


def preads(calls):
    return sum(call.name == "pread" for call in calls)


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
    files, reference_files = by_file(ours), by_file(theirs)
    if steps == 1:
        # Both have opened as many before their first batch, and the same ones.
        assert len(files) == 24
        assert set(files) == set(reference_files)
    assert len(set(files) ^ set(reference_files)) <= 8
    assert compare_files(theirs, ours) == ""
    whole = [path for path in set(files) & set(reference_files) if read_to_the_end(files[path])]
    assert sum(read_to_the_end(reference_files[path]) for path in whole) >= ended
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
