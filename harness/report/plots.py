"""From arrays to SVG, one function a figure; widths are CSS pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from harness.analysis.wording import percent, seconds
from harness.report.svg import canvas, colour, finish, plain_axes

# Above this many bars, a figure on each would be noise.
LABELLED_BARS = 12
LANE_PX = 26
# A part of a bar below this share has no room for its figure on a telephone.
TOLD_SHARE = 0.12


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A bar of AU; a pale one is told and not counted."""

    name: str
    value: float | None
    pale: bool = False


def au_bars(name: str, bars: Sequence[Bar], threshold: float, width: int, axis: str) -> str:
    """Draw AU in % per epoch or rank, with the threshold as a line across."""
    with canvas(name, width, 230) as figure:
        axes = plain_axes(figure)
        places = np.arange(len(bars))
        for place, bar in zip(places, bars, strict=True):
            height = 0 if bar.value is None else bar.value * 100
            face = colour("barrier" if bar.pale else "compute")
            axes.bar(place, height, width=min(0.6, 0.09 * len(bars)), color=face, linewidth=0)
            if len(bars) <= LABELLED_BARS:
                said = percent(bar.value).removesuffix(" %")
                _say(axes, float(place), height + 2, said, ha="center", va="bottom")
        axes.axhline(threshold * 100, color=colour("mark"), linewidth=1.5, dashes=(4, 3))
        axes.set_ylim(0, 112)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.set_xlim(-0.6, len(bars) - 0.4)
        step = max(1, -(-len(bars) // (width // 48)))
        axes.set_xticks(places[::step], [bar.name for bar in bars][::step])
        axes.set_xlabel(axis)
        axes.set_ylabel("AU, %")
        return finish(figure, f"AU in percent by {axis}, threshold {percent(threshold)}")


def loss_bars(name: str, losses: Mapping[str, Sequence[float]], width: int) -> str:
    """Draw the seconds of each kind as one stacked bar per rank, rank 0 on top."""
    ranks = len(next(iter(losses.values())))
    with canvas(name, width, 52 + LANE_PX * ranks) as figure:
        axes = plain_axes(figure, bottom=40)
        done = np.zeros(ranks)
        for kind, spent in losses.items():
            drawn = np.maximum(spent, 0)
            axes.barh(
                np.arange(ranks), drawn, left=done, height=0.68, color=colour(kind), linewidth=0
            )
            done += drawn
        _lanes(axes, ranks)
        axes.set_xlim(0, max(float(done.max()), 1e-9))
        axes.set_xlabel("seconds")
        return finish(figure, "Where the time of each rank went, in seconds")


def total_bar(name: str, spent: Mapping[str, float], width: int) -> str:
    """Draw the accelerator-seconds of each kind as one stacked bar, its larger parts named in %."""
    total = sum(max(0.0, value) for value in spent.values())
    with canvas(name, width, 104) as figure:
        axes = plain_axes(figure, left=12)
        done = 0.0
        for kind, value in spent.items():
            part = max(0.0, value)
            axes.barh([0], [part], left=[done], height=0.6, color=colour(kind), linewidth=0)
            if part > TOLD_SHARE * total:
                said = percent(part / total)
                _say(axes, done + part / 2, -0.42, said, ha="center", va="bottom")
            done += part
        axes.set_ylim(0.4, -0.9)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_xlim(0, max(total, 1e-9))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("accelerator-seconds")
        return finish(figure, "Where the time of all ranks together went, in accelerator-seconds")


def timeline(
    name: str, spans: Mapping[str, Sequence[tuple[int, float, float]]], ranks: int, width: int
) -> str:
    """Draw (rank, start s, end s) spans of each kind in one lane per rank."""
    with canvas(name, width, 52 + LANE_PX * ranks) as figure:
        axes = plain_axes(figure)
        for kind, parts in spans.items():
            if parts:
                patch = PathPatch(_boxes(parts), facecolor=colour(kind), linewidth=0)
                axes.add_patch(patch)
        _lanes(axes, ranks)
        ends = [end for parts in spans.values() for _, _, end in parts]
        axes.set_xlim(0, max(ends, default=1.0))
        axes.set_xlabel("seconds since the opening barrier")
        return finish(figure, "What each rank did over time")


def epoch_bytes(
    name: str, epochs: Sequence[str], series: Mapping[str, Sequence[int | None]], width: int
) -> str:
    """Draw bytes per epoch, one bar of each series; an unknown one is a word in its place."""
    known = [value for values in series.values() for value in values if value is not None]
    scale, unit = _byte_scale(max(known, default=1))
    with canvas(name, width, 230) as figure:
        axes = plain_axes(figure, left=56)
        thick = 0.8 / max(1, len(series))
        for index, (kind, values) in enumerate(series.items()):
            for epoch, value in enumerate(values):
                place = epoch + (index - (len(series) - 1) / 2) * thick
                axes.bar(
                    place, (value or 0) / scale, width=thick * 0.86, color=colour(kind), linewidth=0
                )
                if value is None:
                    _say(axes, place, 0, " unknown", ha="center", va="bottom", rotation=90)
        axes.set_xticks(range(len(epochs)), epochs)
        axes.set_xlim(-0.6, len(epochs) - 0.4)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("epoch")
        axes.set_ylabel(unit)
        return finish(figure, "Bytes asked, returned and from the device in each epoch")


def size_histogram(name: str, sizes: Mapping[str, NDArray[np.int64]], width: int) -> str:
    """Draw how many files have which size, a step line for each class."""
    largest = max(int(values.max()) for values in sizes.values())
    scale, unit = _byte_scale(largest)
    edges = np.linspace(0, largest / scale, 41)
    with canvas(name, width, 230) as figure:
        axes = plain_axes(figure)
        for kind, values in sizes.items():
            counts, _ = np.histogram(values / scale, bins=edges)
            axes.stairs(counts, edges, fill=True, color=colour(kind), alpha=0.75, linewidth=0)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlim(0, edges[-1])
        axes.set_xlabel(f"file size, {unit}")
        axes.set_ylabel("files")
        return finish(figure, "Number of files by size")


def load_curve(name: str, times_ns: NDArray[np.int64], width: int) -> str:
    """Draw the share of steps whose batch was there within a time, with p50, p90 and maximum."""
    ordered = np.sort(np.maximum(times_ns, 1_000)) / 1e9  # below a microsecond a log axis is noise
    share = np.arange(1, len(ordered) + 1) / len(ordered) * 100
    with canvas(name, width, 230) as figure:
        axes = plain_axes(figure, right=24)
        axes.step(ordered, share, where="post", color=colour("storage_wait"), linewidth=2)
        if ordered[-1] > 30 * ordered[0]:
            axes.set_xscale("log")
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value * 1e9)))
        for mark in (50, 90, 100):
            at = float(np.percentile(ordered, mark))
            axes.plot([at], [mark], "o", color=colour("ink"), markersize=5)
            said = f"{'max' if mark == 100 else f'p{mark}'} {seconds(at * 1e9)}"
            beyond = at > (ordered[0] * ordered[-1]) ** 0.5
            _say(
                axes,
                at,
                mark,
                f"{said}  " if beyond else f"  {said}",
                ha="right" if beyond else "left",
                va="bottom",
            )
        axes.set_ylim(0, 112)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.set_xlabel("wait for a batch")
        axes.set_ylabel("steps, %")
        return finish(figure, "Share of steps by how long they waited for their batch")


def _lanes(axes: Axes, ranks: int) -> None:
    axes.set_ylim(ranks - 0.4, -0.6)
    step = max(1, ranks // 32)
    axes.set_yticks(range(0, ranks, step))
    axes.set_ylabel("rank")
    axes.grid(visible=False)
    axes.grid(axis="x", color=colour("line"), linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(6))


def _boxes(parts: Sequence[tuple[int, float, float]]) -> Path:
    corners = [
        corner
        for rank, start, end in parts
        for corner in (
            (start, rank - 0.34),
            (end, rank - 0.34),
            (end, rank + 0.34),
            (start, rank + 0.34),
            (start, rank - 0.34),
        )
    ]
    box = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return Path(corners, box * len(parts))


def _say(axes: Axes, x: float, y: float, text: str, *, ha: str, va: str, rotation: int = 0) -> None:
    axes.text(x, y, text, ha=ha, va=va, rotation=rotation, color=colour("ink"), fontsize=11)


def _byte_scale(largest: int) -> tuple[float, str]:
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if largest >= scale:
            return scale, unit
    return 1.0, "B"
