"""What reading bert by tf.data costs: CPU seconds per GB and memory, for later comparison.

Each way reads all records once, in a process of its own, round after round, from the page cache.
`shuffled` reads and shuffles, and hands over 1,000 records at a time; `batches` hands over batches
of unparsed records, and `parsed` those that training gets. Asserts nothing.

Usage: python tests/reference/bert_cost.py --data DIR [--rounds 5] [--batch-size 6]
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import bert
import tensorflow as tf

WAYS = ("shuffled", "batches", "parsed")


def read(way, files, batch_size):
    """Read all records once, and return how many came."""
    if way == "shuffled":
        # Whole bufferfuls, so that handing them over costs next to nothing.
        records = bert.shuffled(files).batch(bert.SHUFFLED_RECORDS)
        return sum(int(tf.size(batch)) for batch in records)
    batches = bert.training(files, batch_size, parse=way == "parsed", repeat=False)
    return batch_size * sum(1 for _ in batches)


def measure(way, options):
    """Print what a way costs in this process: records, GB, CPU seconds, bytes before and after."""
    files = sorted(map(str, options.data.glob("part-*")))
    before = bert.usage()
    records = read(way, files, options.batch_size)
    after = bert.usage()
    read_gb = (after.read_bytes - before.read_bytes) / 1e9
    print(records, read_gb, after.cpu_s - before.cpu_s, before.peak_bytes, after.peak_bytes)


def summary(way, rounds):
    """Return a line about the rounds of a way."""
    records, read_gb, _, before_bytes, _ = rounds[0]
    costs = [cpu_s / read_gb for _, read_gb, cpu_s, *_ in rounds]
    peak_bytes = statistics.median(after_bytes for *_, after_bytes in rounds)
    return (
        f"bert: {way:8} {statistics.median(costs):.2f} CPU s/GB ({min(costs):.2f} to "
        f"{max(costs):.2f}), {records:.0f} records, {read_gb:.3f} GB, {peak_bytes / 1e6:.0f} MB at "
        f"most, {(peak_bytes - before_bytes) / 1e6:.0f} MB of them beyond TensorFlow's own"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help="only this one, once, here; in plain numbers")
    options = parser.parse_args()
    if options.way:
        measure(options.way, options)
        return
    words = [sys.executable, __file__, "--data", options.data, "--batch-size", options.batch_size]
    rounds = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            run = [*map(str, words), "--way", way]
            printed = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout
            rounds[way].append([float(word) for word in printed.split()])
    for way in WAYS:
        print(summary(way, rounds[way]))


if __name__ == "__main__":
    main()
