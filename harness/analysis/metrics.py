"""AU, throughput, bandwidth and load times of the measured epochs."""

import numpy as np

from harness.analysis.counted import NOTHING_COUNTED, Counted
from harness.analysis.distribution import Distribution, distribution
from harness.analysis.epoch import Epoch, measured
from harness.analysis.part import Part
from harness.analysis.recording import total
from harness.analysis.volume import Volume, volume

NS = 1_000_000_000
MLPERF_STYLE_FORMULA = (
    "per rank and epoch: measured compute time of steps 2 to last / (own window - first step's "
    "load and compute); mean over ranks, then over measured epochs. This is the AU of the MLPerf "
    "Storage rules (total_compute_time / total_benchmark_running_time, first step excluded) as "
    "DLIO computes it; it is no MLPerf result"
)


class RankValue(Part, frozen=True, kw_only=True):
    """A figure of one rank."""

    rank: int
    value: float | None


class EpochValue(Part, frozen=True, kw_only=True):
    """A figure of one epoch."""

    epoch: int
    value: float | None


class Au(Part, frozen=True, kw_only=True):
    """Accelerator utilisation, 0 to 1: sum of declared step times / sum of windows.

    Per rank the window runs from the rank's own leaving of the opening barrier to its own leaving
    of the last one. Warm-up epochs are in `per_epoch` and in nothing else.
    """

    value: float | None
    per_rank: list[RankValue]
    per_epoch: list[EpochValue]


class FormulaValue(Part, frozen=True, kw_only=True):
    """A figure with the formula that made it."""

    value: float | None
    formula: str


class Value(Part, frozen=True, kw_only=True):
    """A figure whose unit stands in its name."""

    value: float | None


class EpochFacts(Part, frozen=True, kw_only=True):
    """One epoch. `window_ns` is null when no step was finished by all ranks."""

    epoch: int
    warm_up: bool
    complete: bool
    steps: int
    samples: int | None
    window_ns: int | None
    declared_ns: int
    bytes: Volume | None


class Metrics(Part, frozen=True, kw_only=True):
    """The run's figures, over its measured epochs."""

    au: Au
    au_mlperf_style: FormulaValue
    throughput_samples_per_s: Value
    bandwidth_bytes_per_s: Value
    load_time_ns: Distribution
    overshoot_ns: Distribution
    bytes: Volume


def compute_metrics(
    epochs: tuple[Epoch, ...], *, byte_source: str, counted: Counted = NOTHING_COUNTED
) -> Metrics:
    """Return the figures of a run; null wherever a division would be by nothing."""
    kept = measured(epochs)
    windows = [epoch.windows for epoch in kept if epoch.windows is not None]
    wall_ns = sum(epoch.window_ns for epoch in kept)
    data = volume(windows, byte_source=byte_source, counted=counted)
    samples = sum(total(rows, "samples") for rows in windows)
    return Metrics(
        au=_au(epochs, kept, wall_ns),
        au_mlperf_style=FormulaValue(value=_au_mlperf_style(kept), formula=MLPERF_STYLE_FORMULA),
        throughput_samples_per_s=Value(value=_ratio(samples * NS, wall_ns)),
        bandwidth_bytes_per_s=Value(value=_ratio((data.returned or 0) * NS, wall_ns)),
        load_time_ns=distribution(load_times_ns(epochs)),
        overshoot_ns=distribution(_overshoots_ns(kept)),
        bytes=data,
    )


def epoch_facts(
    epoch: Epoch, *, byte_source: str, counted: Counted = NOTHING_COUNTED
) -> EpochFacts:
    """Return what a result says of one epoch."""
    windows = epoch.windows
    return EpochFacts(
        epoch=epoch.number,
        warm_up=epoch.warm_up,
        complete=epoch.complete,
        steps=epoch.step_count,
        samples=None if windows is None else total(windows, "samples"),
        window_ns=epoch.window_ns if epoch.step_count else None,
        declared_ns=epoch.declared_ns,
        bytes=None
        if windows is None
        else volume([windows], byte_source=byte_source, counted=counted),
    )


def load_times_ns(epochs: tuple[Epoch, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return each step's wait for its batch, all ranks of the measured epochs, flat."""
    parts = [
        (epoch.steps["load_end_ns"] - epoch.steps["load_start_ns"])[:, 1:].ravel()
        for epoch in measured(epochs)
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _au(epochs: tuple[Epoch, ...], kept: tuple[Epoch, ...], wall_ns: int) -> Au:
    ranks = len(epochs[0].steps) if epochs else 0
    declared_ns = sum(epoch.declared_ns for epoch in kept)
    return Au(
        value=_utilisation(declared_ns, wall_ns),
        per_rank=[RankValue(rank=rank, value=_rank_au(kept, rank)) for rank in range(ranks)],
        per_epoch=[
            EpochValue(epoch=epoch.number, value=_utilisation(epoch.declared_ns, epoch.window_ns))
            for epoch in epochs
        ],
    )


def _rank_au(kept: tuple[Epoch, ...], rank: int) -> float | None:
    declared = sum(int(epoch.steps["declared_ns"][rank, 1:].sum()) for epoch in kept)
    return _utilisation(declared, sum(int(epoch.walls_ns[rank]) for epoch in kept))


def _au_mlperf_style(kept: tuple[Epoch, ...]) -> float | None:
    per_epoch = []
    for epoch in kept:
        if epoch.step_count < 2 or not epoch.declared_ns:
            return None  # all it has is the step that this formula leaves out, or no compute
        steps = epoch.steps
        compute = (steps["compute_end_ns"] - steps["load_end_ns"])[:, 2:].sum(axis=1)
        first = (steps["compute_end_ns"] - steps["load_start_ns"])[:, 1]
        per_epoch.append(float((compute / (epoch.walls_ns - first)).mean()))
    return sum(per_epoch) / len(per_epoch) if per_epoch else None


def _overshoots_ns(kept: tuple[Epoch, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    parts = [
        (epoch.steps["compute_end_ns"] - epoch.steps["load_end_ns"] - epoch.steps["declared_ns"])[
            :, 1:
        ].ravel()
        for epoch in kept
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _utilisation(declared_ns: int, wall_ns: int) -> float | None:
    # Where nothing is declared no accelerator is to be kept busy: not 0, but no figure.
    return _ratio(declared_ns, wall_ns) if declared_ns else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
