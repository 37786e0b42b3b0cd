"""Read dlrm as the reference does: one process for all accelerators, files and np.load.

bin: batches of preprocessed_train.bin by a seek and a read each, in order or in a given one; the
test file from its start every time. npz: at the first row of a day the day's three arrays are
read whole, and served from memory; every test reads the last day. Tests come after every so many
batches and after the last one, a checkpoint after each, over the one before. text: what the first
run does, before any training: lines are counted, split into parts, and each part is read.
Where the training computes, this sleeps.

Usage: python tests/reference/dlrm.py bin|npz|text --data DIR --batch-size 2048
Source: the facts of the DLRM reference, variant of the published runs.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import ranks

ROW_BYTES = 160
TEXT_PARTS = 7


class Checkpoint:
    """A file that is written over and over, in writes of the given sizes."""

    def __init__(self, options):
        self.path = options.checkpoint
        self.sizes = json.loads(options.writes.read_text()) if options.writes else []

    def save(self):
        """Write it, if it has a place."""
        if self.path is not None:
            with self.path.open("wb", buffering=0) as file:
                for size in self.sizes:
                    file.write(bytes(size))


class BinBatches:
    """The batches of a file of rows; the last may be shorter."""

    def __init__(self, path, counts, batch_size):
        self.batch_bytes = ROW_BYTES * batch_size
        self.count = math.ceil(path.stat().st_size / self.batch_bytes)
        self.file = path.open("rb")
        with np.load(counts) as arrays:
            self.categories = arrays["counts"]

    def read(self, number):
        """Return one batch, shape (rows, 40)."""
        self.file.seek(number * self.batch_bytes)
        content = self.file.read(self.batch_bytes)
        return np.frombuffer(content, np.int32).reshape(-1, ROW_BYTES // 4)


class NpzRows:
    """The rows of all days, a day in memory at a time."""

    def __init__(self, directory):
        with np.load(directory / "day_day_count.npz") as arrays:
            self.rows = arrays["total_per_file"]
        with np.load(directory / "day_fea_count.npz") as arrays:
            self.categories = arrays["counts"]
        self.directory = directory

    def training(self, batch_size):
        """Yield batches of all days but the last; one may take its rows from two of them."""
        rest = [np.empty((0, 13)), np.empty((0, 26)), np.empty(0)]
        for day in range(len(self.rows) - 1):
            arrays = [np.concatenate(pair) for pair in zip(rest, self.load(day), strict=True)]
            whole = len(arrays[0]) // batch_size
            for number in range(whole):
                rows = slice(number * batch_size, (number + 1) * batch_size)
                yield [array[rows] for array in arrays]
            rest = [array[whole * batch_size :] for array in arrays]
        if len(rest[0]):
            yield rest

    def test(self, batch_size):
        """Yield batches of the first half of the last day."""
        day = len(self.rows) - 1
        arrays = self.load(day)
        for start in range(0, math.ceil(self.rows[day] / 2), batch_size):
            yield [array[start : start + batch_size] for array in arrays]

    def load(self, day):
        """Return X_int, X_cat and y of a day, in which order they are asked for."""
        with np.load(self.directory / f"day_{day}_reordered.npz") as arrays:
            return [arrays["X_int"], arrays["X_cat"], arrays["y"]]


def read_bin(rank, options):
    """Read training batches, and test batches after every `test_every` of them."""
    counts = options.data / "day_fea_count.npz"
    training = BinBatches(options.data / "preprocessed_train.bin", counts, options.batch_size)
    test = BinBatches(options.data / "preprocessed_test.bin", counts, options.test_batch_size)
    given = json.loads(options.orders.read_text()) if options.orders else {}
    checkpoint = Checkpoint(options)
    for epoch in range(1, options.epochs + 1):
        order = given.get(str(epoch), range(training.count))
        for step, number in enumerate(order, 1):
            training.read(number)
            rank.compute(f"train-{epoch:05d}-{step:05d}")
            if tests_after(step, options, last=step == len(order)):
                for tested in range(min(test.count, options.test_batches or test.count)):
                    test.read(tested)
                    rank.compute(f"eval-{epoch:05d}-{step:05d}-{tested:05d}")
                checkpoint.save()


def tests_after(step, options, *, last):
    """Return whether a test pass follows a training batch."""
    return options.test_every > 0 and (last or step % options.test_every == 0)


def read_npz(rank, options):
    """Read all days but the last, batch by batch, and the last one for every test."""
    rows = NpzRows(options.data)
    checkpoint = Checkpoint(options)
    steps = math.ceil(sum(rows.rows[:-1]) / options.batch_size)
    for epoch in range(1, options.epochs + 1):
        for step, _ in enumerate(rows.training(options.batch_size), 1):
            rank.compute(f"train-{epoch:05d}-{step:05d}")
            if tests_after(step, options, last=step == steps):
                for tested, _ in enumerate(rows.test(options.test_batch_size)):
                    rank.compute(f"eval-{epoch:05d}-{step:05d}-{tested:05d}")
                checkpoint.save()


def read_text(rank, options):
    """Count the lines, split them into parts below `scratch`, and read each part."""
    path = options.data / "train.txt"
    with path.open() as lines:
        count = sum(1 for _ in lines)
    rank.mark("counted")
    sizes = [len(part) for part in np.array_split(np.empty(count), TEXT_PARTS)]
    parts = [options.scratch / f"train_day_{part}" for part in range(TEXT_PARTS)]
    with path.open() as lines:
        for part, size in zip(parts, sizes, strict=True):
            with part.open("w") as stream:
                for _ in range(size):
                    stream.write(next(lines))
        assert not next(lines, None)
    rank.mark("split")
    for part in parts:
        with part.open() as lines:
            for line in lines:
                line.split("\t")


READERS = {"bin": read_bin, "npz": read_npz, "text": read_text}
FILES = {"bin": "preprocessed_train.bin", "npz": "day_*_reordered.npz", "text": "train.txt"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format", choices=READERS)
    ranks.add_flags(parser)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32768, help="of all accelerators")
    parser.add_argument("--test-batch-size", type=int, default=16384)
    parser.add_argument("--test-every", type=int, default=0, help="training batches; 0 for never")
    parser.add_argument("--checkpoint", type=Path, help="file that follows each test")
    parser.add_argument("--writes", type=Path, help="JSON, the sizes of its writes")
    parser.add_argument("--test-batches", type=int, default=0, help="0 for all")
    parser.add_argument("--orders", type=Path, help="JSON, epoch -> numbers of batches (bin)")
    parser.add_argument("--scratch", type=Path, help="directory for the parts (text)")
    options = parser.parse_args()
    ranks.check_files(parser, options.data, FILES[options.format])
    if options.format == "text" and options.scratch is None:
        parser.error("--scratch is missing; name a directory for the parts of the text")
    ranks.run(1, READERS[options.format], options)


if __name__ == "__main__":
    main()
