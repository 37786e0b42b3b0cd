"""What recording took from the run that it recorded."""

import numpy as np

from harness.analysis.part import Part
from harness.analysis.recording import Recording
from harness.worker.record import BRIEF

# Of the CPU time: more, and the recorder is part of what was measured.
COST_LIMIT = 0.01


class RecordingCost(Part, frozen=True, kw_only=True):
    """CPU that recording took: nanoseconds a row times rows, over the CPU time of all windows.

    Args:
        rows: of all ranks.
        ns_per_row: measured before the run, on a file in memory; with what asking for run-queue
            delays took, spread over the rows. Null without rows, or where it was not measured.
            A seek counts as brief; the few to a file's end cost as much as a read.
        cpu_ns: of the ranks in their windows, all threads, without what waiting burnt.
        share: 0 to 1; null where one of these is not known.
    """

    rows: int
    ns_per_row: float | None
    cpu_ns: int
    share: float | None


def recording_cost(recording: Recording) -> RecordingCost:
    """Return what recording took of the ranks' processors."""
    rows = sum(len(own) for own in recording.rows)
    cpu_ns = sum(int(own["cpu_ns"].sum()) for own in recording.windows)
    measured = recording.worker.recording
    if measured is None or not rows:
        return RecordingCost(
            rows=rows, ns_per_row=None, cpu_ns=cpu_ns, share=0.0 if cpu_ns and not rows else None
        )
    brief = sum(int(np.isin(own["op"], BRIEF).sum()) for own in recording.rows)
    taken_ns = (
        (rows - brief) * measured["row_ns"]
        + brief * measured["brief_row_ns"]
        + measured["looks"] * measured["look_ns"]
    )
    share = taken_ns / cpu_ns if cpu_ns else None
    return RecordingCost(rows=rows, ns_per_row=taken_ns / rows, cpu_ns=cpu_ns, share=share)


def cost_words(cost: RecordingCost) -> str:
    """Return it as a person reads it.

    >>> cost_words(RecordingCost(rows=40_000, ns_per_row=5000.0, cpu_ns=10**11, share=0.002))
    "0.20 % of the ranks' CPU time: 40,000 rows of 5,000 ns"
    """
    if cost.share is None or cost.ns_per_row is None:
        return f"unknown: {cost.rows:,} rows"
    of = "of the ranks' CPU time"
    return f"{cost.share * 100:.2f} % {of}: {cost.rows:,} rows of {cost.ns_per_row:,.0f} ns"
