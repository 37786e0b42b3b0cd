"""What file objects and np.load ask of storage as the reference uses them for dlrm, and ours."""

import json
import zipfile
from itertools import groupby

import pytest

from dsgen.manifest import read_manifest
from dsgen.write import generate
from harness.trace.calls import by_thread, calls_of
from harness.worker.checkpoint import KINDS
from harness.worker.workloads import plan
from harness.worker.workloads.dlrm_rows import TEST_BATCH_ROWS
from tests.container.traced import READERS
from tests.fidelity import READERS_L, check_reader, check_tracers, recorded, traced_pattern
from tests.property.strategies import data_set
from tests.reference.calls import Call, by_file, compare
from tests.unit.dlrm_sets import dlrm_spec, make_rows
from tests.unit.worker_run import calls_of_rank

pytestmark = pytest.mark.engine

BLOCK_BYTES = 4096
CHUNK_BYTES = 262_144
TEXT_BYTES = 8192
ACCELERATORS = 8
BATCH = 2048
EPOCHS = 2
ROW_BYTES = 160
# The last day is for evaluation.
MAPS = (
    *("preprocessed_train.bin=row", "preprocessed_test.bin=row:eval"),
    *("day_23_reordered.npz=day:eval", "day_*_reordered.npz=day", "train.txt=line"),
    "dlrm_checkpoint*=checkpoint",
)


@pytest.fixture
def references():
    """The patterns of what `read` has read, for `ours` to be held against."""
    return []


@pytest.fixture
def read(traced, tmp_path, references):
    """Read a data set by the reference; return the calls on its files and on parts of text."""

    def run(data, format_, *words):
        (tmp_path / "scratch").mkdir()
        trace = traced(READERS / "dlrm.py", format_, "--data", data, *words)
        references.append(traced_pattern(trace, *MAPS))
        return calls_of(trace.below(f"{data}/", f"{tmp_path}/scratch/", stats=True))

    return run


@pytest.fixture
def ours(traced, tmp_path, references):
    """Let our ranks read by a spec; return what was recorded, which is all that strace saw.

    By the similarity, too, which holds it against what the reference has read.
    """

    def run(spec, files, at_least=READERS_L):
        (tmp_path / "spec.json").write_text(spec.to_json())
        trace = traced("-m", "harness.worker", tmp_path / "spec.json")
        (made,) = by_thread(trace.below(*files, stats=True)).values()
        calls = calls_of_rank(spec, 0)
        assert compare(calls_of(made), calls) == ""
        pattern = recorded(spec.out_dir)
        check_tracers(pattern, traced_pattern(trace, *MAPS))
        check_reader(references[-1], pattern, at_least=at_least)
        return calls

    return run


def spec_of(tmp_path, data, **changes):
    """Return the spec of eight accelerators; one of their ranks reads."""
    values = {"accelerators": ACCELERATORS, "batch_size": BATCH // ACCELERATORS, "epochs": EPOCHS}
    return dlrm_spec(tmp_path, data, **values, **changes)


def generated(directory, wanted):
    """Write a data set."""
    generate(wanted.layout(), directory, processes=2, emit=lambda _: None)
    return directory


def opening(path):
    """Return the calls of Python's buffered open."""
    calls = [("open", -1, 0), ("fstat", -1, 0), ("ioctl", -1, -1), ("lseek", -1, 0)]
    return [Call(str(path), name, offset, -1, returned) for name, offset, returned in calls]


def batch_calls(path, number, batch_bytes):
    """Return a seek and a read; of a short batch, the whole blocks that are missing once more."""
    size_bytes, start = path.stat().st_size, number * batch_bytes
    got_bytes = min(batch_bytes, size_bytes - start)
    calls = [
        Call(str(path), "lseek", start, -1, start),
        Call(str(path), "read", start, batch_bytes, got_bytes),
    ]
    if got_bytes < batch_bytes:
        missing_bytes = batch_bytes - got_bytes
        asked_bytes = missing_bytes - missing_bytes % BLOCK_BYTES
        calls.append(Call(str(path), "read", size_bytes, asked_bytes, 0))
    return calls


@pytest.mark.parametrize("shuffle", ["none", "batches"])
def test_bin_seeks_and_reads_once_a_batch_and_tests_from_the_start(read, ours, tmp_path, shuffle):
    data = make_rows(tmp_path / "data", train=20_500, test=40_000)
    training, test = data / "preprocessed_train.bin", data / "preprocessed_test.bin"
    spec = spec_of(tmp_path, data, shuffle=shuffle, eval_from=1)
    reading = plan(spec, read_manifest(data))
    orders = {epoch: list(map(int, reading.train(epoch, 0).order)) for epoch in (1, 2)}
    batches, tests = len(orders[1]), -(-40_000 // TEST_BATCH_ROWS)
    assert (batches, tests) == (11, 3)
    (tmp_path / "orders.json").write_text(json.dumps(orders))
    calls = read(
        *(data, "bin", "--epochs", EPOCHS, "--batch-size", BATCH, "--test-every", batches),
        *("--test-batch-size", TEST_BATCH_ROWS, "--orders", tmp_path / "orders.json"),
    )
    # Files that nobody closes are closed with the process.
    assert [call.name for call in calls[-2:]] == ["close", "close"]
    calls = calls[:-2]
    stats = [Call(str(path), "stat", -1, -1, 0) for path in (training, test)]
    expected = [stats[0], *opening(training), stats[1], *opening(test)]
    for epoch in range(1, EPOCHS + 1):
        for number in orders[epoch]:
            expected += batch_calls(training, number, BATCH * ROW_BYTES)
        for number in range(tests):
            expected += batch_calls(test, number, TEST_BATCH_ROWS * ROW_BYTES)
    on_rows = [call for call in calls if call.path in (str(training), str(test))]
    assert compare(expected, on_rows) == ""
    counts = data / "day_fea_count.npz"
    assert compare(calls, ours(spec, [training, test, data / "preprocessed.bin", counts])) == ""


def test_bin_is_tested_and_saved_in_the_midst_of_an_epoch(read, ours, tmp_path):
    data = make_rows(tmp_path / "data", train=20_500, test=40_000)
    saved = tmp_path / "scratch" / "dlrm_checkpoint"
    changes = {"checkpoint_dir": str(saved.parent), "checkpoint_bytes": 3_000_000}
    spec = spec_of(tmp_path, data, eval_from=1, eval_every_steps=4, **changes)
    sizes = KINDS["dlrm"].writes(spec.checkpoint_bytes)
    (tmp_path / "writes.json").write_text(json.dumps(sizes))
    calls = read(
        *(data, "bin", "--epochs", EPOCHS, "--batch-size", BATCH, "--test-every", 4),
        *("--test-batch-size", TEST_BATCH_ROWS),
        *("--checkpoint", saved, "--writes", tmp_path / "writes.json"),
    )
    files = [data / "preprocessed_train.bin", data / "preprocessed_test.bin"]
    counts = data / "day_fea_count.npz"
    # Our checkpoints are flushed, which is a call more for each.
    ours_of = [*files, data / "preprocessed.bin", counts, f"{saved}."]
    made = ours(spec, ours_of, at_least=0.98)
    # Ours has a name of its own until it is whole, and is brought to its device.
    made = [
        call._replace(path=str(saved)) if call.path.startswith(f"{saved}.") else call
        for call in made
    ]
    own = [call for call in made if call.name != "fsync"]
    assert len(made) - len(own) == 3 * EPOCHS
    # Files that nobody closes are closed with the process.
    theirs = [call for call in calls[:-2] if (call.path, call.name) != (str(saved), "fstat")]
    assert compare(theirs, own) == ""
    # Eleven batches an epoch: after 4, 8 and 11 all test rows are read, and a checkpoint written.
    moves = [call for call in own if call.name in ("read", "write") and call.path != str(counts)]
    turns = [(path, list(group)) for path, group in groupby(moves, lambda call: call.path)]
    assert [path for path, _ in turns] == [*map(str, files), str(saved)] * 3 * EPOCHS
    for turn in range(0, len(turns), 3):
        _, (_, tested), (_, written) = turns[turn : turn + 3]
        assert tested[0].offset == 0
        assert sum(call.returned for call in tested) == 40_000 * ROW_BYTES
        assert [call.returned for call in written] == sizes


@pytest.mark.parametrize("compression", ["deflate", "stored"])
def test_npz_reads_whole_days_member_by_member_in_the_order_asked_for(
    read, ours, tmp_path, compression
):
    wanted = data_set("dlrm", 60_000_000, format="npz", compression=compression)
    data = generated(tmp_path / "data", wanted)
    days = [data / f"day_{day}_reordered.npz" for day in range(24)]
    spec = spec_of(tmp_path, data, eval_from=1)
    batches = plan(spec, read_manifest(data)).batches
    calls = read(
        *(data, "npz", "--epochs", EPOCHS, "--batch-size", BATCH, "--test-every", batches),
    )
    opened = [call.path for call in calls if call.name == "open" and "_reordered" in call.path]
    assert opened == [str(path) for path in days] * EPOCHS
    for path in days:
        own = by_file(calls)[str(path)]
        assert own[: len(own) // EPOCHS] * EPOCHS == own
        check_archive(path, own[: len(own) // EPOCHS])
    assert compare(calls, ours(spec, [f"{data}/day_"])) == ""


def check_archive(path, calls):
    """Check that the directory is found, then X_int, X_cat and y are each read through."""
    size_bytes = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        directory_offset = archive.start_dir
    reads = [call for call in calls if call.name == "read"]
    end_offset, locator_offset, wide_offset = (size_bytes - back for back in (22, 42, 98))
    ends = [
        (0, BLOCK_BYTES, min(BLOCK_BYTES, size_bytes)),  # is it an archive at all
        (end_offset, 23, 22),
        (size_bytes, 1, 0),
        (locator_offset, BLOCK_BYTES, 42),
        (wide_offset, BLOCK_BYTES, 98),
        (directory_offset, BLOCK_BYTES, size_bytes - directory_offset),
    ]
    assert [(call.offset, call.requested, call.returned) for call in reads[: len(ends)]] == ends
    rest = reads[len(ends) :]
    assert all(call.requested % BLOCK_BYTES == 0 and call.requested <= CHUNK_BYTES for call in rest)
    starts = [members[f"{name}.npy"].header_offset for name in ("X_int", "X_cat", "y")]
    offsets = [call.offset for call in rest]
    assert set(starts) <= set(offsets)
    heads = [offsets.index(start) for start in starts]
    assert heads == sorted(heads)
    for start, first, last in zip(starts, heads, [*heads[1:], None], strict=True):
        info = next(info for info in members.values() if info.header_offset == start)
        own = rest[first:last]
        ends_at = [call.offset + call.returned for call in own]
        assert [call.offset for call in own] == [start, *ends_at[:-1]]
        assert start + info.compress_size <= ends_at[-1] < start + info.compress_size + CHUNK_BYTES
    stored = members["X_cat.npy"].compress_type == zipfile.ZIP_STORED
    whole = {258_048, BLOCK_BYTES} if stored else {253_952, BLOCK_BYTES}
    assert whole <= {call.requested for call in rest}


def test_text_is_read_twice_then_each_part(read, ours, tmp_path):
    data = generated(tmp_path / "data", data_set("dlrm", 5_000_000, format="text"))
    files = by_file(read(data, "text", "--scratch", tmp_path / "scratch"))
    text = data / "train.txt"
    assert compare(text_pass(text) * 2, files[str(text)]) == ""
    parts = sorted((tmp_path / "scratch").iterdir())
    assert len(parts) == 7
    assert b"".join(part.read_bytes() for part in parts) == text.read_bytes()
    for part in parts:
        own = files[str(part)]
        assert compare(text_pass(part), own[-len(text_pass(part)) :]) == ""
    # Ours leave out the parts, and may not write beside the data.
    spec = dlrm_spec(tmp_path, data, accelerators=ACCELERATORS, batch_size=BATCH // ACCELERATORS)
    assert compare(files[str(text)], ours(spec, [text])) == ""


def text_pass(path):
    """Return the calls that read a file line by line to its end."""
    size_bytes = path.stat().st_size
    calls = opening(path)
    for offset in range(0, size_bytes, TEXT_BYTES):
        returned = min(TEXT_BYTES, size_bytes - offset)
        calls.append(Call(str(path), "read", offset, TEXT_BYTES, returned))
    calls.append(Call(str(path), "read", size_bytes, TEXT_BYTES, 0))
    return [*calls, Call(str(path), "close", -1, -1, 0)]
