"""bert's passes: which records an epoch reads, how often, in which order, and by which calls."""

import tempfile
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.worker.loading.tfrecords import CHUNK_BYTES, OPEN_FILES
from harness.worker.record import Op, Phase
from harness.worker.workloads.bert_stream import Stream
from tests.unit.bert_run import even_set, planned, read_phase, write_set

# Lengths within a chunk, across its end, and of several chunks.
LENGTHS = st.sampled_from([20, 300, 2_500, 100_000, CHUNK_BYTES - 16, 600_000])
FILES = st.lists(st.lists(LENGTHS, min_size=1, max_size=20), min_size=1, max_size=40)
LAYOUTS = st.sampled_from(["ranks", "one pipeline"])
few = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def expected_calls(size_bytes):
    """Return the calls of a file that is read to its end, as strace shows them of tf.data."""
    whole, rest = divmod(size_bytes, CHUNK_BYTES)
    calls = [("open", None, None, None)]
    calls += [("pread", CHUNK_BYTES, at * CHUNK_BYTES, CHUNK_BYTES) for at in range(whole)]
    if rest:
        calls.append(("pread", CHUNK_BYTES, whole * CHUNK_BYTES, rest))
    calls.append(("pread", CHUNK_BYTES - rest, size_bytes, 0))
    return [*calls, ("close", None, None, None)]


def calls_by_file(calls):
    """Return each opening of each file: id -> lists of calls."""
    made = defaultdict(list)
    for row in calls.rows():
        op = Op(int(row["op"]))
        if op is Op.OPEN:
            made[int(row["file"])].append([])
        where = [int(row[name]) for name in ("requested", "offset", "returned")]
        call = (op.name.lower(), *(where if op is Op.PREAD else [None] * 3))
        made[int(row["file"])][-1].append(call)
    return made


@few
@given(sizes=FILES, ranks=st.integers(1, 5), batch_size=st.integers(1, 4), layout=LAYOUTS)
def test_a_pass_reads_each_record_once_but_for_the_remainder(sizes, ranks, batch_size, layout):
    with tempfile.TemporaryDirectory() as home:
        data_dir = write_set(Path(home) / "set", sizes)
        pipelines = ranks if layout == "ranks" else 1
        batch = batch_size * ranks // pipelines
        shards = [
            {
                (file, number)
                for file in range(rank, len(sizes), pipelines)
                for number in range(len(sizes[file]))
            }
            for rank in range(pipelines)
        ]
        steps = min(map(len, shards)) // batch
        if len(sizes) < pipelines or not steps:
            return
        reading = planned(
            Path(home),
            data_dir,
            accelerators=ranks,
            batch_size=batch_size,
            pipelines=1 if layout != "ranks" else 0,
        )
        assert reading.steps_per_epoch == steps
        for rank, shard in enumerate(shards):
            read = read_phase(reading, rank=rank)
            assert [len(one) for one in read.batches] == [batch] * steps
            assert len(set(read.names)) == len(read.names) == steps * batch
            assert set(read.names) <= shard
        for rank in range(pipelines, ranks):
            assert reading.train(1, rank) == []


@few
@given(sizes=FILES, steps=st.integers(1, 60), batch_size=st.integers(1, 4))
def test_so_many_steps_read_pass_after_pass(sizes, steps, batch_size):
    with tempfile.TemporaryDirectory() as home:
        data_dir = write_set(Path(home) / "set", sizes)
        reading = planned(Path(home), data_dir, steps=steps, batch_size=batch_size)
        times = Counter(read_phase(reading).names)
        passes, rest = divmod(steps * batch_size, sum(map(len, sizes)))
        assert set(times.values()) <= {passes, passes + 1}
        assert sum(count > passes for count in times.values()) == rest


@few
@given(sizes=FILES, steps=st.integers(1, 40))
def test_a_file_is_read_chunk_by_chunk_to_its_end_or_a_part_of_that(sizes, steps):
    with tempfile.TemporaryDirectory() as home:
        data_dir = write_set(Path(home) / "set", sizes)
        reading = planned(Path(home), data_dir, steps=steps)
        made = calls_by_file(read_phase(reading).calls)
        whole = {file.id: expected_calls(file.size_bytes) for file in reading.files}
        for number, openings in made.items():
            for calls in openings:
                assert calls[-1][0] == "close"
                assert calls[:-1] == whole[number][: len(calls) - 1]
        assert all(number in made for number in whole) or len(sizes) > OPEN_FILES


@few
@given(sizes=FILES)
def test_a_pass_reads_each_file_to_its_end_once(sizes):
    with tempfile.TemporaryDirectory() as home:
        reading = planned(Path(home), write_set(Path(home) / "set", sizes))
        assert calls_by_file(read_phase(reading).calls) == {
            file.id: [expected_calls(file.size_bytes)] for file in reading.files
        }


def test_a_remainder_differs_from_epoch_to_epoch_and_repeats_with_the_seed(tmp_path):
    data_dir = even_set(tmp_path / "set", files=30, records=40)
    reading = planned(tmp_path, data_dir, accelerators=4, batch_size=7)
    other = planned(tmp_path, data_dir, accelerators=4, batch_size=7, seed=2)
    first = read_phase(reading, rank=1, epoch=1).names
    assert first == read_phase(reading, rank=1, epoch=1).names
    assert first != read_phase(reading, rank=1, epoch=2).names
    assert first != read_phase(other, rank=1, epoch=1).names


def test_the_passes_of_an_epoch_have_orders_of_their_own(tmp_path):
    data_dir = even_set(tmp_path / "set", files=30, records=10)
    names = read_phase(planned(tmp_path, data_dir, steps=600)).names
    assert sorted(names[:300]) == sorted(names[300:])
    assert names[:300] != names[300:]


def test_files_and_records_of_a_pass_have_an_order_by_seed_epoch_rank_and_pass(tmp_path):
    data_dir = even_set(tmp_path / "set", files=30, records=1)
    files = planned(tmp_path, data_dir).train_files
    keys = [(1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 1)]
    passes = [
        (Stream(files=files, key=key, repeats=True), number) for key in keys for number in (0, 1)
    ]
    orders = [tuple(file.id for file in stream.order(number)) for stream, number in passes]
    draws = [tuple(islice(stream.draws(number), 9)) for stream, number in passes]
    assert len(set(orders)) == len(set(draws)) == len(passes)
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(30))}


@pytest.mark.parametrize(("files", "opened"), [(64, 24), (10, 10)])
def test_all_files_ahead_are_opened_before_the_first_record(tmp_path, files, opened):
    data_dir = even_set(tmp_path / "set", files=files, records=300)
    rows = read_phase(planned(tmp_path, data_dir, steps=1)).calls.rows()
    opens = rows[rows["op"] == Op.OPEN]
    assert len(set(opens["file"])) == len(opens) == opened
    first = rows[: 2 * opened]
    assert first["op"].tolist() == [Op.OPEN, Op.PREAD] * opened
    assert set(first["requested"][1::2]) == {CHUNK_BYTES}
    # A thousand records are 125 of each of eight files, which are more than a chunk of them.
    assert (rows["op"] == Op.PREAD).sum() == opened + 8
    assert (rows["op"] == Op.CLOSE).sum() == opened


def test_evaluation_takes_the_first_records_in_their_order_in_every_rank(tmp_path):
    data_dir = even_set(tmp_path / "set", files=4, records=10, evaluation=250)
    reading = planned(tmp_path, data_dir, accelerators=2, eval_from=1)
    for rank in range(2):
        for epoch in (1, 2):
            read = read_phase(reading, rank=rank, epoch=epoch, phase=Phase.EVAL)
            assert read.names == [(-1, number) for number in range(100)]
            rows = read.calls.rows()
            assert rows["op"].tolist() == [Op.OPEN, Op.PREAD, Op.CLOSE]
            assert rows["requested"][1] == CHUNK_BYTES
