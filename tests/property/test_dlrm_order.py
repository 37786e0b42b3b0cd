"""Law: an epoch of dlrm's rows reads each row once, whatever the batch, in the order asked for."""

from pathlib import Path

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.worker.record import FileClass
from harness.worker.recording.io import TracedFile
from harness.worker.workloads.dlrm_bin import RowsReading
from tests.unit.dlrm_sets import dlrm_spec

SEEDS = st.integers(0, 2**32)
EPOCHS = st.integers(1, 50)
SHUFFLES = st.sampled_from(["none", "batches"])


def reading(rows, **changes):
    file = TracedFile(
        id=0, path="/rows", size_bytes=160 * rows, file_class=FileClass.ROW, role="train"
    )
    spec = dlrm_spec(Path("/"), Path("/"), **changes)
    return RowsReading(spec=spec, train_file=file, test_file=None, counts_file=file)


def samples_of(planned, epoch):
    batches = planned.train(epoch, 0)
    return [list(batches[index].samples) for index in range(len(batches))]


@given(
    st.integers(1, 2_000), st.integers(1, 64), st.integers(1, 9), SEEDS, EPOCHS, SHUFFLES, st.data()
)
def test_each_row_is_read_once_and_nothing_is_dropped(
    rows, batch_size, accelerators, seed, epoch, shuffle, data
):
    shape = {"batch_size": batch_size, "accelerators": accelerators}
    planned = reading(rows, seed=seed, shuffle=shuffle, **shape)
    read = samples_of(planned, epoch)
    assert len(read) == planned.steps_per_epoch
    assert sorted(row for batch in read for row in batch) == list(range(rows))
    assert planned.epoch_samples == rows
    short = [batch for batch in read if len(batch) != batch_size * accelerators]
    # Only the file's last batch is short, and only where rows are left over.
    assert len(short) == bool(rows % (batch_size * accelerators))
    assert all(batch[-1] == rows - 1 for batch in short)
    if shuffle == "none":
        assert read == sorted(read)
    steps = data.draw(st.integers(1, len(read)))
    # Fewer steps are the first ones of the same order.
    assert (
        samples_of(reading(rows, seed=seed, shuffle=shuffle, steps=steps, **shape), epoch)
        == (read[:steps])
    )


@given(st.integers(20, 400), SEEDS, EPOCHS)
def test_orders_repeat_with_the_seed_and_differ_between_epochs(batches, seed, epoch):
    assume(batches > 15)  # two equal orders of 15 batches come once in 10**12

    def order(epoch, **changes):
        return reading(10 * batches, batch_size=10, shuffle="batches", **changes).train(epoch, 0)

    first = order(epoch, seed=seed).order
    assert np.array_equal(first, order(epoch, seed=seed).order)
    assert not np.array_equal(first, order(epoch + 1, seed=seed).order)
    assert not np.array_equal(first, order(epoch, seed=seed + 1).order)
    in_order = reading(10 * batches, batch_size=10, seed=seed)
    assert list(in_order.train(epoch, 0).order) == list(in_order.train(epoch + 1, 0).order)
