"""Whether a recording agrees with itself and with the kernel's counters."""

from typing import Literal

import numpy as np

from harness.analysis.losses import Losses
from harness.analysis.part import Part
from harness.analysis.recording import Recording, Records
from harness.worker.record import Op, Phase

# Share of a rank's wall time that may stay unexplained.
REST_LIMIT = 0.005
# What a preemption between the readings of two counters may leave, however short a run is.
_REST_FLOOR_NS = 100_000


class SelfCheck(Part, frozen=True, kw_only=True):
    """The outcome. `passed` needs a window, checked unless its bytes are inferred, and no problem.

    Args:
        checked_windows: windows whose bytes were compared with the kernel's count, exactly.
        bytes: inferred where calls left no rows, and the kernel's count stands for them.
        rest_share: the largest unexplained share of a rank's wall, either sign; null without one.
        problems: a sentence each.
    """

    passed: bool
    checked_windows: int
    bytes: Literal["recorded", "inferred"] = "recorded"
    rest_share: float | None
    rest_limit: float
    problems: list[str]


def check_recording(recording: Recording, losses: list[Losses]) -> SelfCheck:
    """Compare every window with the counters and with its own rows, and look for lost time."""
    inferred = recording.worker.bytes == "inferred"
    closed = sum(len(rows) for rows in recording.windows)
    problems = [] if inferred else _check_windows(recording)
    shares = [abs(own.rest) / own.wall for own in losses if own.wall]
    problems += [
        f"rank {own.rank}: {own.rest / own.wall:.2%} of its wall time is unexplained "
        f"(limit {REST_LIMIT:.1%})"
        for own in losses
        if is_unexplained(own)
    ]
    return SelfCheck(
        passed=closed > 0 and not problems,
        checked_windows=0 if inferred else closed,
        bytes=recording.worker.bytes,
        rest_share=max(shares, default=None),
        rest_limit=REST_LIMIT,
        problems=problems,
    )


def is_unexplained(own: Losses) -> bool:
    """Say whether more of a rank's wall time is unexplained than may be."""
    return abs(own.rest) > max(REST_LIMIT * own.wall, _REST_FLOOR_NS)


def _check_windows(recording: Recording) -> list[str]:
    problems = []
    for rank, (windows, rows) in enumerate(zip(recording.windows, recording.rows, strict=True)):
        ordered = np.sort(windows, order="start_ns")
        # What follows a window, be it of the same phase, is another one's.
        ends = [*ordered["start_ns"].tolist(), np.iinfo(np.int64).max][1:]
        for window, end_ns in zip(ordered, ends, strict=True):
            within = rows[(rows["t0_ns"] >= window["start_ns"]) & (rows["t0_ns"] < end_ns)]
            problems += _check_window(rank, window, within)
    return problems


def _check_window(rank: int, window: np.void, rows: Records) -> list[str]:
    phase = Phase(int(window["phase"]))
    where = f"rank {rank}, epoch {window['epoch']}, {phase.name.lower()}"
    problems = []
    counted, recorded = int(window["rchar"]), int(window["row_bytes"])
    other = int(window["other_read_bytes"])
    if counted != recorded + other:
        problems.append(
            f"{where}: the kernel counted {counted:,} bytes read, "
            f"the recording {recorded:,} and {other:,} beside the data"
        )
    chosen = rows[(rows["epoch"] == window["epoch"]) & (rows["phase"] == phase)]
    reads = chosen[np.isin(chosen["op"], (Op.READ, Op.PREAD)) & (chosen["errno"] == 0)]
    if (returned := int(reads["returned"].sum())) != recorded:
        problems.append(f"{where}: rows hold {returned:,} bytes, their window {recorded:,}")
    return problems
