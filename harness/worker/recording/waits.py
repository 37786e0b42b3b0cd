"""Where the wait for a batch went. Pure.

The wait of a step is the main thread's interval from the last barrier to having the batch. It is
split into four kinds: blocked in data calls (storage), CPU in data calls, CPU elsewhere, and
ready but without a core.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ns = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Waits:
    """The four kinds in ns, shape (steps,) each."""

    storage_ns: Ns
    io_cpu_ns: Ns
    decode_cpu_ns: Ns
    runqueue_ns: Ns


def split_own(
    *, interval_ns: Ns, cpu_ns: Ns, queue_ns: Ns, io_wall_ns: Ns, io_cpu_ns: Ns, io_queue_ns: Ns
) -> Waits:
    """Return the split when the main thread itself read the batch.

    Looking at clocks takes wall time within calls that the CPU clock counts as outside, or as
    inside, up to 3 us a call. So calls cannot have been blocked for longer than the whole interval
    was off its CPU, and have no more CPU than it has. And what was off its CPU without being
    blocked in a call was without a core, also where the run queue does not know of it because a
    hypervisor had taken the core away.

    Args:
        interval_ns: the whole wait, shape (steps,).
        cpu_ns: CPU of the thread in the whole interval, shape (steps,).
        queue_ns: its run-queue delay in the whole interval.
        io_wall_ns: wall time in data calls.
        io_cpu_ns: CPU in data calls.
        io_queue_ns: run-queue delay in data calls.
    """
    blocked_ns = np.maximum(interval_ns - cpu_ns - queue_ns, 0)
    storage_ns = np.minimum(io_wall_ns - io_cpu_ns - io_queue_ns, blocked_ns)
    io_cpu_ns = np.minimum(io_cpu_ns, cpu_ns)
    return Waits(
        storage_ns=storage_ns,
        io_cpu_ns=io_cpu_ns,
        decode_cpu_ns=cpu_ns - io_cpu_ns,
        runqueue_ns=np.maximum(interval_ns - cpu_ns - storage_ns, 0),
    )


def split_delivered(
    *, start_ns: Ns, end_ns: Ns, ready_ns: Ns, cpu_ns: Ns, marks: NDArray[np.void]
) -> Waits:
    """Return the split of the batches that one loader worker delivered.

    Until the batch was ready, the interval counts as the worker spent it; a call that reaches
    over an end of the interval counts in proportion; the CPU of brief calls, which have no mark, is
    spread over the gap that they lie in. Between calls a worker that was off its CPU was ready,
    without a core or without the interpreter. The rest - before the worker existed and
    after the batch was ready - is the main thread's own: its CPU, or its wake-up delay.

    Args:
        start_ns: of the intervals, shape (steps,).
        end_ns: of the intervals.
        ready_ns: when the worker had finished the batch.
        cpu_ns: CPU of the main thread in the interval.
        marks: MARK rows of the worker in order of time.
    """
    until_ns = np.clip(ready_ns, start_ns, end_ns)
    knots_ns, curves = _curves(marks)
    # From the first mark on: a float holds nanoseconds of a run, not those since the boot.
    origin_ns = knots_ns[:1]
    knots_ns, start, until = (at - origin_ns for at in (knots_ns, start_ns, until_ns))
    spent = [
        np.interp(until, knots_ns, curve) - np.interp(start, knots_ns, curve) for curve in curves
    ]
    storage_ns, io_cpu_ns, decode_ns, queue_ns = (np.rint(kind).astype(np.int64) for kind in spent)
    worker_ns = storage_ns + io_cpu_ns + decode_ns + queue_ns
    own_ns = np.maximum(end_ns - start_ns - worker_ns, 0)  # rounding may leave -1
    own_cpu_ns = np.minimum(cpu_ns, own_ns)
    return Waits(
        storage_ns=storage_ns,
        io_cpu_ns=io_cpu_ns,
        decode_cpu_ns=decode_ns + own_cpu_ns,
        runqueue_ns=queue_ns + own_ns - own_cpu_ns,
    )


def split_handed(*, interval_ns: Ns, cpu_ns: Ns, reader: Waits) -> Waits:
    """Return the split when another rank read the batch and gave word of it.

    The interval counts as the reader spent its own. Where it is shorter, for this rank came later
    from the barrier before, each kind is less in proportion. Where it is longer, this rank woke up
    late: the rest is its own CPU, or it was without a core.

    Args:
        interval_ns: the whole wait of this rank, shape (steps,).
        cpu_ns: its CPU in the interval, shape (steps,).
        reader: the split of the rank that read.
    """
    kinds = (reader.storage_ns, reader.io_cpu_ns, reader.decode_cpu_ns, reader.runqueue_ns)
    theirs_ns = np.maximum(sum(kinds), 1)
    share = np.minimum(interval_ns / theirs_ns, 1.0)
    storage_ns, io_cpu_ns, decode_ns, queue_ns = (
        np.floor(kind * share).astype(np.int64) for kind in kinds
    )
    own_ns = interval_ns - (storage_ns + io_cpu_ns + decode_ns + queue_ns)
    own_cpu_ns = np.minimum(cpu_ns, own_ns)
    return Waits(
        storage_ns=storage_ns,
        io_cpu_ns=io_cpu_ns,
        decode_cpu_ns=decode_ns + own_cpu_ns,
        runqueue_ns=queue_ns + own_ns - own_cpu_ns,
    )


def _curves(marks: NDArray[np.void]) -> tuple[Ns, list[NDArray[np.float64]]]:
    """Return the ends of all calls, and for each kind what was spent on it up to there."""
    knots_ns = np.column_stack([marks["t0_ns"], marks["t1_ns"]]).ravel()
    call_cpu_ns = marks["cpu1_ns"] - marks["cpu0_ns"]
    call_ns = marks["t1_ns"] - marks["t0_ns"]
    gap_ns = marks["t0_ns"][1:] - marks["t1_ns"][:-1]
    gap_cpu_ns = np.clip(marks["cpu0_ns"][1:] - marks["cpu1_ns"][:-1], 0, gap_ns)
    brief_ns = np.minimum(marks["brief_ns"][1:], gap_cpu_ns)
    in_calls = (call_ns - call_cpu_ns - marks["queue_ns"], call_cpu_ns, 0, marks["queue_ns"])
    in_gaps = (0, brief_ns, gap_cpu_ns - brief_ns, gap_ns - gap_cpu_ns)
    curves = []
    for in_call, in_gap in zip(in_calls, in_gaps, strict=True):
        growth = np.zeros(len(knots_ns))
        growth[1::2] = in_call
        growth[2::2] = in_gap
        curves.append(growth.cumsum())
    return knots_ns, curves
