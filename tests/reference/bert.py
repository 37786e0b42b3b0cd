"""Read bert as the reference does: a tf.data pipeline in each rank, a process a rank.

The files are shared among the ranks and shuffled; eight are read at once, those to come next are
opened ahead, and a finished one gives its place to the next. Records pass a buffer of 1,000 that
shuffles them, are parsed and batched. Where the training computes, this sleeps.

Usage: python tests/reference/bert.py --data DIR --ranks 8 --steps 20 --batch-size 6
Source: the facts of the BERT reference in TensorFlow, variant of the published runs.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import NamedTuple

import ranks

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
# Before the ranks are forked: until its first operation TensorFlow has no threads to lose.
import tensorflow as tf

INTEGERS = {
    "input_ids": 512,
    "input_mask": 512,
    "segment_ids": 512,
    "masked_lm_positions": 76,
    "masked_lm_ids": 76,
    "next_sentence_labels": 1,
}
ACTIVE_FILES = 8
SHUFFLED_RECORDS = 1000
PARALLEL_BATCHES = 8


def features():
    """Return what every record holds."""
    fixed = {name: tf.io.FixedLenFeature([count], tf.int64) for name, count in INTEGERS.items()}
    return fixed | {"masked_lm_weights": tf.io.FixedLenFeature([76], tf.float32)}


def interleaved(files, order=None, *, sloppy=True):
    """Return the records of these files, which are taken in the order of `order` if given.

    `sloppy` passes over a file that is not ready; else each file's turn is waited for.
    """
    names = tf.data.Dataset.from_tensor_slices(order or files)
    if order is None:
        names = names.shuffle(len(files))
    return names.apply(
        tf.data.experimental.parallel_interleave(
            tf.data.TFRecordDataset, sloppy=sloppy, cycle_length=min(ACTIVE_FILES, len(files))
        )
    )


def shuffled(files, order=None):
    """Return these records, each drawn from the next thousand."""
    return interleaved(files, order).shuffle(SHUFFLED_RECORDS)


def training(files, batch_size, *, parse, order=None, repeat=True):
    """Return the batches of these files."""
    records = shuffled(files, order)
    return (records.repeat() if repeat else records).apply(
        tf.data.experimental.map_and_batch(
            parsed if parse else tf.identity,
            batch_size=batch_size,
            num_parallel_batches=PARALLEL_BATCHES,
            drop_remainder=True,
        )
    )


def parsed(record):
    """Return the features of a record."""
    return tf.io.parse_single_example(record, features())


def evaluation(path, batch_size, steps):
    """Return the first batches of the evaluation file."""
    records = tf.data.TFRecordDataset(str(path)).take(batch_size * steps)
    return records.map(parsed).batch(batch_size)


def train(rank, options):
    """Read the steps of a rank, then its evaluation."""
    files = sorted(map(str, options.data.glob("part-*")))[rank.number :: options.ranks]
    order = None
    if options.orders:
        order = json.loads(options.orders.read_text())[str(rank.number)]
        assert sorted(order) == files
    batches = training(
        files,
        options.batch_size,
        parse=not options.raw,
        order=order,
        repeat=options.steps is not None,
    )
    if options.names:
        write_names(options.names, interleaved(files, order, sloppy=False))
        return
    before = usage()
    step = 0
    for step, _ in enumerate(batches, 1):
        rank.compute(f"train-{1:05d}-{step:05d}")
        if step == options.steps:
            break
    say(rank, f"{step} steps of {options.batch_size} records", before, usage())
    path = options.data / "eval_10k"
    batches = evaluation(path, options.eval_batch_size, options.eval_steps)
    for number, _ in enumerate(batches, 1):
        rank.mark(f"eval-{1:05d}-{number:05d}")


def write_names(path, records):
    """Write the first line of each record in the order of their turns."""
    with path.open("wb") as names:
        for record in records.as_numpy_iterator():
            names.write(record.partition(b"\n")[0] + b"\n")


class Usage(NamedTuple):
    """What a process has used so far; `peak_bytes` is of its memory, code included."""

    wall_s: float
    cpu_s: float
    read_bytes: int
    peak_bytes: int


def usage():
    """Return what this process has used."""
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Usage(time.monotonic(), time.process_time(), int(counters["rchar"]), peak_bytes)


def say(rank, what, before, after):
    """Print what a rank used."""
    cpu_s = after.cpu_s - before.cpu_s
    read_gb = (after.read_bytes - before.read_bytes) / 1e9
    print(
        f"rank {rank.number}: {what}, {read_gb:.3f} GB read in {after.wall_s - before.wall_s:.2f} "
        f"s, {cpu_s:.2f} CPU s ({cpu_s / read_gb:.2f} a GB), memory {before.peak_bytes / 1e6:.0f} "
        f"MB before and {after.peak_bytes / 1e6:.0f} MB at most",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    ranks.add_flags(parser)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--steps", type=int, help="all records once if left out")
    parser.add_argument("--batch-size", type=int, default=6)
    parser.add_argument("--eval-steps", type=int, default=0)
    parser.add_argument("--eval-batch-size", type=int, default=1)
    parser.add_argument("--raw", action="store_true", help="do not parse the records")
    parser.add_argument("--names", type=Path, help="file for each record's first line; no step")
    parser.add_argument("--orders", type=Path, help="JSON, rank -> its files in their order")
    options = parser.parse_args()
    ranks.check_files(parser, options.data, "part-*")
    ranks.run(options.ranks, train, options)


if __name__ == "__main__":
    main()
