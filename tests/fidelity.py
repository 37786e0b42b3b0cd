"""Traces and recordings of our ranks as patterns, to be held against one another."""

from pathlib import Path

from harness.patterns import read_pattern
from harness.similarity.pattern import Pattern
from harness.similarity.score import score
from harness.trace.importing import local_sizes, parse_map
from harness.trace.rows import import_rows

# Ours against strace of the same run; a reference reader against ours.
TRACERS_L = 0.999
READERS_L = 0.99


def traced_pattern(trace, *maps, readers="thread"):
    """Return the pattern of a trace; `maps` are those of `trace --import`."""
    wanted = [parse_map(text) for text in maps]
    found = import_rows(trace, wanted, readers=readers, sizes=local_sizes(trace, wanted))
    return Pattern(rows=found.rows, files=found.files, labelled=found.labelled, timed=found.timed)


def recorded(directory):
    """Return the pattern that our ranks recorded in the directory of a run."""
    return read_pattern(Path(directory)).pattern


def check_tracers(ours, theirs):
    """Check that two tracers of one run agree."""
    found = score(ours, theirs)
    print("two tracers:", found)
    assert found.L >= TRACERS_L, found


def check_reader(reference, ours, *, at_least=READERS_L):
    """Check that our reader reads as the reference does, over the same files and orders."""
    found = score(reference, ours)
    print("reader fidelity:", found)
    assert at_least <= found.L, found
