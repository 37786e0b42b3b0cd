"""bert's pipeline beside tf.data's, in containers under strace: files that end in odd ways."""

import json

import pytest

from harness.trace.calls import calls_of
from harness.worker.loading.tfrecords import CHUNK_BYTES, Chunks, interleaved
from harness.worker.recording.io import DataCalls
from tests.container.traced import READERS
from tests.reference.calls import by_file, compare_files, read_to_the_end
from tests.unit.bert_run import bert_spec, name_of, planned, write_set

pytestmark = pytest.mark.engine

FILES, RECORDS = 64, 1100
BATCH = 6


@pytest.fixture
def data_dir(tmp_path):
    """Files of which none ends before the first batch, nor in what is made ahead of the second.

    That is a thousand records and eight batches; tf.data may take them all from the files that are
    ready first.
    """
    lengths = [600 + 37 * number % 50 for number in range(RECORDS)]
    # One has chunks without a rest.
    whole = [*[600] * (RECORDS - 1)]
    whole.append(3 * CHUNK_BYTES - sum(length + 16 for length in whole) - 16)
    return write_set(tmp_path / "data", [whole, *[lengths] * (FILES - 1)])


@pytest.fixture
def run(traced, data_dir):
    """Run Python in a container under strace; return its calls on records."""
    return lambda *words: calls_of(traced(*words).below(f"{data_dir}/part-"))


def preads(calls):
    return sum(call.name == "pread" for call in calls)


def pass_order(tmp_path, data_dir, spec):
    """Return the order of the files in the first pass, and a reader's words for it."""
    reading = planned(tmp_path, data_dir, steps=spec.steps, batch_size=BATCH)
    order = reading.train(1, 0)[0].samples[0].order(0)
    listing = tmp_path / "orders.json"
    listing.write_text(json.dumps({0: [file.path for file in order]}))
    words = ("--data", data_dir, "--ranks", 1, "--batch-size", BATCH, "--orders", listing)
    return order, (READERS / "bert.py", *words, "--raw", "--steps", spec.steps)


@pytest.mark.parametrize(("steps", "ended"), [(1, 0), (4700, 15)])
def test_files_are_read_in_the_calls_of_tf_data(run, data_dir, tmp_path, steps, ended):
    spec = bert_spec(tmp_path, data_dir, steps=steps, batch_size=BATCH)
    (tmp_path / "spec.json").write_text(spec.to_json())
    _, words = pass_order(tmp_path, data_dir, spec)
    ours = run("-m", "harness.worker", tmp_path / "spec.json")
    # Threads of tf.data open the files: on a busy machine some come after the first batch.
    theirs = run(*words, "--step-s", 3 if steps == 1 else 0)
    files, reference_files = by_file(ours), by_file(theirs)
    if steps == 1:
        # Both have opened as many before their second batch, and the same ones.
        assert len(files) == 24
        assert set(files) == set(reference_files)
    assert len(set(files) ^ set(reference_files)) <= 8
    assert compare_files(theirs, ours) == ""
    whole = [path for path in set(files) & set(reference_files) if read_to_the_end(files[path])]
    assert sum(read_to_the_end(reference_files[path]) for path in whole) >= ended
    assert abs(preads(ours) - preads(theirs)) <= 24


def test_files_take_turns_in_the_order_of_tf_data(run, data_dir, tmp_path):
    spec = bert_spec(tmp_path, data_dir, steps=1, batch_size=BATCH)
    order, words = pass_order(tmp_path, data_dir, spec)
    theirs = run(*words, "--names", tmp_path / "names")
    calls = DataCalls(rank=0, loader=0, rows=1_000, marks=1_000)
    ours = [name_of(record) for record in interleaved(calls, order, Chunks(reuse=True))]
    assert len(ours) == FILES * RECORDS
    told = (tmp_path / "names").read_text().splitlines()
    assert [f"{file} {number}" for file, number in ours] == told
    # Both have read everything.
    sizes = [path.stat().st_size for path in data_dir.glob("part-*")]
    assert preads(theirs) == sum(
        size // CHUNK_BYTES + 1 + (size % CHUNK_BYTES > 0) for size in sizes
    )
    assert calls.row_count == preads(theirs) + 2 * FILES
