"""Ranks of a reference reader: processes that sleep where the training computes, and meet."""

import multiprocessing
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("fork")


@dataclass(frozen=True, kw_only=True)
class Rank:
    """One rank, as its own process sees it.

    Args:
        number: from 0.
        barrier: of all ranks.
        step_s: seconds that a step or an evaluation batch takes.
        marks: directory for marks, None for no marks.
    """

    number: int
    barrier: Any
    step_s: float
    marks: Path | None

    def compute(self, what):
        """Mark that a batch is there, sleep as long as it would be computed on, meet the others.

        The mark is an empty file, so that a trace of system calls shows when that was, and whose
        process this is.
        """
        self.mark(what)
        time.sleep(self.step_s)
        self.barrier.wait()

    def mark(self, what):
        """Leave a mark."""
        if self.marks is not None:
            (self.marks / f"rank-{self.number:05d}-{what}").touch()


def add_flags(parser):
    """Add the flags that all readers have."""
    parser.add_argument("--data", type=Path, required=True, help="directory of the data set")
    parser.add_argument("--step-s", type=float, default=0.0, help="seconds of a step")
    parser.add_argument("--marks", type=Path, help="directory for an empty file a batch")


def check_files(parser, directory, pattern):
    """End with a line if `directory` has no file of this name."""
    # By their names alone: to look at a file would be one more call on it.
    if not directory.is_dir() or not any(path.match(pattern) for path in directory.iterdir()):
        parser.error(f"no {pattern} in {directory}; name the directory of such a data set")


def run(ranks, train, options):
    """Run `train(rank, options)` for each rank; end with 1 if one of them failed.

    Each is a process of its own; a single one is this process.
    """
    barrier = CONTEXT.Barrier(ranks)
    every = [
        Rank(number=number, barrier=barrier, step_s=options.step_s, marks=options.marks)
        for number in range(ranks)
    ]
    if ranks == 1:
        train(every[0], options)
        return
    processes = [CONTEXT.Process(target=_train, args=(train, rank, options)) for rank in every]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))


def _train(train, rank, options):
    try:
        train(rank, options)
    except BaseException:
        rank.barrier.abort()  # or the others would wait for ever
        raise
