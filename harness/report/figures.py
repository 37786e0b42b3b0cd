"""Which figures a result has, and the arrays they are drawn from."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.analysis.epoch import Epoch, epochs_of, measured
from harness.analysis.losses import KINDS
from harness.analysis.metrics import load_times_ns
from harness.analysis.recording import Recording
from harness.analysis.result import Result
from harness.report import plots
from harness.report.plots import Bar
from harness.worker.record import FileClass

WIDE_PX, NARROW_PX = 720, 348
# All measured epochs share one timeline while they have at most this many steps.
FEW_STEPS = 24
# More boxes than this make a file that nobody wants to open; the timeline then shows fewer steps.
MOST_BOXES = 6_000
_KINDS = {FileClass.X: "image", FileClass.Y: "label"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """One figure as SVG, drawn for a screen and for a telephone; `note` says what it covers."""

    wide: str
    narrow: str
    kinds: tuple[str, ...]
    note: str = ""


def draw_figures(result: Result, recording: Recording) -> dict[str, Drawing]:
    """Return the figures by name; one that has no data is left out."""
    warmup = sum(epoch.warm_up for epoch in result.epochs)
    epochs = epochs_of(recording, warmup_epochs=warmup)
    drawn = {
        "au-epochs": _au_epochs(result),
        "au-ranks": _au_ranks(result),
        "losses-total": _losses_total(result),
        "losses": _losses(result),
        "timeline": _timeline(epochs),
        "bytes": _bytes(result),
        "loads": _loads(epochs),
        "sizes": _sizes(recording),
    }
    return {name: drawing for name, drawing in drawn.items() if drawing is not None}


def _both(draw: Callable[[int], str], kinds: tuple[str, ...] = (), note: str = "") -> Drawing:
    return Drawing(wide=draw(WIDE_PX), narrow=draw(NARROW_PX), kinds=kinds, note=note)


def _au_epochs(result: Result) -> Drawing | None:
    facts = {epoch.epoch: epoch for epoch in result.epochs}
    bars = [
        Bar(
            name=str(own.epoch),
            value=own.value,
            pale=facts[own.epoch].warm_up or not facts[own.epoch].complete,
        )
        for own in result.metrics.au.per_epoch
    ]
    mark = result.verdict.threshold_au
    pale = any(bar.pale for bar in bars)
    note = "Pale: warm-up or cut short, not counted." if pale else ""
    if not bars:
        return None
    return _both(lambda width: plots.au_bars("au-epochs", bars, mark, width, "epoch"), note=note)


def _au_ranks(result: Result) -> Drawing | None:
    bars = [Bar(name=str(own.rank), value=own.value) for own in result.metrics.au.per_rank]
    mark = result.verdict.threshold_au
    if not any(bar.value is not None for bar in bars):
        return None
    return _both(lambda width: plots.au_bars("au-ranks", bars, mark, width, "rank"))


def _losses_total(result: Result) -> Drawing | None:
    total = result.losses_accelerator_s
    if total is None:
        return None
    spent = {kind: float(getattr(total, kind)) for kind in KINDS}
    # What would be thinner than a pixel stands in the table only.
    spent = {kind: value for kind, value in spent.items() if value > total.wall / WIDE_PX}
    if not spent:
        return None
    return _both(lambda width: plots.total_bar("losses-total", spent, width), tuple(spent))


def _losses(result: Result) -> Drawing | None:
    if not result.losses:
        return None
    spent = {kind: [getattr(own, kind) / 1e9 for own in result.losses] for kind in KINDS}
    # What would be thinner than a pixel stands in the table only.
    thin = max(own.wall for own in result.losses) / 1e9 / WIDE_PX
    spent = {kind: values for kind, values in spent.items() if max(values) > thin}
    if not spent:
        return None
    return _both(lambda width: plots.loss_bars("losses", spent, width), tuple(spent))


def _timeline(epochs: tuple[Epoch, ...]) -> Drawing | None:
    kept = measured(epochs)
    if not kept:
        return None
    total = sum(epoch.step_count for epoch in kept)
    if total > FEW_STEPS:
        kept = (sorted(kept, key=lambda epoch: epoch.window_ns)[len(kept) // 2],)
    ranks = len(kept[0].steps)
    most = max(1, MOST_BOXES // (4 * ranks))
    spans = _spans(kept, most)
    shown = ", ".join(str(epoch.number) for epoch in kept)
    note = f"Epoch {shown}" + (", the median one by its window" if total > FEW_STEPS else "")
    if kept[0].step_count > most:
        note += f"; its first {most} of {kept[0].step_count} steps"
    return _both(
        lambda width: plots.timeline("timeline", spans, ranks, width), tuple(spans), f"{note}."
    )


def _spans(kept: tuple[Epoch, ...], most: int) -> dict[str, list[tuple[int, float, float]]]:
    spans: dict[str, list[tuple[int, float, float]]] = {
        "load": [],
        "compute": [],
        "emulator_overshoot": [],
        "barrier": [],
    }
    elapsed = 0.0
    for epoch in kept:
        zeros = int(epoch.release_ns[0]) + epoch.pauses_ns.cumsum()
        for rank, own in enumerate(epoch.steps):
            for step, zero in zip(own[1 : 1 + most], zeros[:most].tolist(), strict=True):
                declared = min(step["compute_end_ns"], step["load_end_ns"] + step["declared_ns"])
                edges = (
                    step["load_start_ns"],
                    step["load_end_ns"],
                    declared,
                    step["compute_end_ns"],
                    step["barrier_end_ns"],
                )
                times = [elapsed + (int(edge) - zero) / 1e9 for edge in edges]
                for kind, (start, end) in zip(spans, pairwise(times), strict=True):
                    spans[kind].append((rank, start, end))
        # Epochs follow one another without the evictions and evaluations between them.
        elapsed += epoch.window_ns / 1e9
    return spans


def _bytes(result: Result) -> Drawing | None:
    known = [(epoch.epoch, epoch.bytes) for epoch in result.epochs if epoch.bytes is not None]
    if not known:
        return None
    series: dict[str, list[int | None]] = {
        "asked": [own.asked for _, own in known],
        "returned": [own.returned for _, own in known],
        "device": [own.device.value for _, own in known],
    }
    names = [str(number) for number, _ in known]
    return _both(lambda width: plots.epoch_bytes("bytes", names, series, width), tuple(series))


def _loads(epochs: tuple[Epoch, ...]) -> Drawing | None:
    times = load_times_ns(epochs)
    return _both(lambda width: plots.load_curve("loads", times, width)) if times.size else None


def _sizes(recording: Recording) -> Drawing | None:
    kinds: dict[str, list[int]] = {"image": [], "label": [], "file": []}
    for file in recording.files.values():
        if file.role in ("train", "eval"):
            kinds[_KINDS.get(file.file_class, "file")].append(file.size_bytes)
    sizes = {kind: np.array(values, np.int64) for kind, values in kinds.items() if values}
    if not sizes:
        return None
    return _both(lambda width: plots.size_histogram("sizes", sizes, width), tuple(sizes))
