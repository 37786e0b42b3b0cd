"""The figures of a similarity: components side by side, distributions, miss ratios, file sizes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from dsgen.size import format_size
from harness.analysis.wording import seconds
from harness.report.svg import canvas, colour, finish, plain_axes
from harness.similarity.distances import Weighted
from harness.similarity.document import Compared
from harness.similarity.reuse import MEMORY_SHARES
from harness.similarity.score import Side
from harness.similarity.sides import NUMBERS

# Number or side -> the colour of it.
NUMBER_TOKENS: Final = {"reader": "io_cpu", "data": "returned", "both": "device"}
SIDE_TOKENS: Final = {"reference": "io_cpu", "original": "returned", "generated": "device"}
_ROW_PX: Final = 34


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """A figure, drawn for a screen and for a telephone, with what it says beside it."""

    name: str
    title: str
    reading: str
    source: str
    wide: str
    narrow: str
    legend: tuple[tuple[str, str], ...]


def draw_similarity(compared: Compared) -> list[Curves]:
    """Return the figures; one that has nothing to show is left out."""
    drawn = [
        _components(compared),
        *(_distribution(compared, *figure) for figure in _DISTRIBUTIONS),
        _misses(compared),
        _sizes(compared),
    ]
    return [curves for curves in drawn if curves is not None]


def _components(compared: Compared) -> Curves:
    document = compared.document
    scores = {name: number for name in NUMBERS if (number := getattr(document, name)) is not None}
    floor = document.floor.components if document.floor else {}
    names = list(scores[document.headline].components)
    values = {name: [own.components.get(one) for one in names] for name, own in scores.items()}

    def draw(width: int) -> str:
        with canvas("components", width, 60 + _ROW_PX * len(names)) as figure:
            axes = plain_axes(figure, left=104, right=48)
            thick = 0.8 / len(values)
            for index, (name, own) in enumerate(values.items()):
                places = np.arange(len(names)) + (index - (len(values) - 1) / 2) * thick
                lengths = [value or 0.0 for value in own]
                face = colour(NUMBER_TOKENS[name])
                axes.barh(places, lengths, height=thick * 0.86, color=face, linewidth=0)
                if name == document.headline:
                    for place, length in zip(places, lengths, strict=True):
                        _say(axes, length, float(place), f" {length:.3f}")
            for place, one in enumerate(names):
                if one in floor:
                    axes.plot([floor[one]] * 2, [place - 0.45, place + 0.45], color=colour("mark"))
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.set_xlim(0, 1)
            axes.grid(visible=False)
            axes.grid(axis="x", color=colour("line"), linewidth=1)
            axes.set_xlabel("1: equal")
            return finish(figure, "Components of each number, with the floor of the headline")

    return _curves(
        "components",
        "Components",
        "What each number is the geometric mean of. The line is the floor of the headline: the "
        "first side against itself, with other seeds.",
        "similarity.json",
        draw,
        tuple((NUMBER_TOKENS[name], name) for name in values),
    )


def _bytes(value: float, _: object = None) -> str:
    return format_size(round(float(2**value)) - (value == 0))


def _time(value: float, _: object = None) -> str:
    return seconds(10**value * 1e9)


# Name, title, reading, x axis, what of a side, how a value is said.
_Taken = Callable[[Side], Weighted | None]
_DISTRIBUTIONS: Final[Sequence[tuple[str, str, str, str, _Taken, Callable[..., str]]]] = (
    (
        *("size-calls", "Sizes of transfers, each once", "Small reads count like large ones."),
        *("bytes of a transfer", lambda side: side.digest.size_calls, _bytes),
    ),
    (
        *("size-bytes", "Sizes of transfers, by their bytes", "In which pieces the bytes moved."),
        *("bytes of a transfer", lambda side: side.digest.size_bytes, _bytes),
    ),
    (
        *("file-bytes", "Bytes read of each file", "In the whole run, epochs added up."),
        *("bytes read of a file", lambda side: side.digest.file_bytes, _bytes),
    ),
    (
        *("gaps", "Think time", "From the end of a reader's call to its next, 1 µs at least."),
        *("time", lambda side: side.digest.times and side.digest.times.gaps, _time),
    ),
    (
        *("service", "Time of transfers, by their bytes", "How long calls took that moved data."),
        *("time", lambda side: side.digest.times and side.digest.times.service, _time),
    ),
)


def _distribution(
    compared: Compared,
    name: str,
    title: str,
    reading: str,
    axis: str,
    taken: _Taken,
    said: Callable[..., str],
) -> Curves | None:
    found = {
        side: [own for one in runs if (own := taken(one)) is not None]
        for side, runs in _drawn_sides(compared).items()
    }
    curves = {side: own for side, own in found.items() if own}
    if not curves:
        return None

    def draw(width: int) -> str:
        with canvas(name, width, 230) as figure:
            axes = plain_axes(figure, right=24)
            for side, own in curves.items():
                for one in own:
                    share = np.cumsum(one.weights) / one.total * 100
                    _step(axes, one.values, share, side)
            axes.xaxis.set_major_locator(MaxNLocator(5 if width > 400 else 3))
            axes.xaxis.set_major_formatter(FuncFormatter(said))
            axes.set_ylim(0, 104)
            axes.set_xlabel(axis)
            axes.set_ylabel("share up to it, %")
            return finish(figure, f"{title}: cumulative shares of each side")

    return _curves(
        name, title, f"{reading} A curve for each run.", "trace rows", draw, _legend(curves)
    )


def _misses(compared: Compared) -> Curves | None:
    curves = {
        side: [run.digest.misses for run in runs if run.digest.misses is not None]
        for side, runs in _drawn_sides(compared).items()
    }
    curves = {side: own for side, own in curves.items() if own}
    if not curves:
        return None

    def draw(width: int) -> str:
        with canvas("misses", width, 230) as figure:
            axes = plain_axes(figure)
            for side, own in curves.items():
                for ratios in own:
                    face = colour(SIDE_TOKENS[side])
                    axes.plot(MEMORY_SHARES, ratios * 100, color=face, linewidth=1.6, alpha=0.8)
            axes.set_xlim(0, MEMORY_SHARES[-1])
            axes.set_ylim(0, 104)
            axes.set_xlabel("memory over footprint")
            axes.set_ylabel("bytes missed, %")
            return finish(figure, "Share of bytes that a memory of a size would not have had")

    return _curves(
        "misses",
        "Miss ratios",
        "What would have come from the device if memory had held so much of the footprint and kept "
        "what was used last. Where the curve falls off is the knee of the page cache.",
        "exact stack distances over blocks of 1 MiB",
        draw,
        _legend(curves),
    )


def _sizes(compared: Compared) -> Curves | None:
    curves: dict[str, list[NDArray[np.float64]]] = {}
    for side, runs in _drawn_sides(compared).items():
        for run in runs:
            read = np.unique(run.pattern.rows["file"])
            sizes = [run.pattern.files[int(number)].size_bytes for number in read]
            curves.setdefault(side, []).append(np.log2(np.maximum(np.sort(sizes), 1)))

    def draw(width: int) -> str:
        with canvas("sizes", width, 230) as figure:
            axes = plain_axes(figure, right=24)
            for side, own in curves.items():
                for sizes in own:
                    share = np.arange(1, len(sizes) + 1) / len(sizes) * 100
                    _step(axes, sizes, share, side)
            axes.xaxis.set_major_locator(MaxNLocator(5 if width > 400 else 3))
            axes.xaxis.set_major_formatter(FuncFormatter(_bytes))
            axes.set_ylim(0, 104)
            axes.set_xlabel("file size")
            axes.set_ylabel("files up to it, %")
            return finish(figure, "File sizes of each side: cumulative shares")

    return _curves(
        "sizes", "File sizes", "Of the files with calls.", "files.json", draw, _legend(curves)
    )


def _drawn_sides(compared: Compared) -> Mapping[str, tuple[Side, ...]]:
    return {side: runs for side, runs in compared.sides.items() if side in SIDE_TOKENS}


def _legend(curves: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((SIDE_TOKENS[side], side) for side in curves)


def _step(axes: Axes, values: NDArray[np.float64], share: NDArray[np.float64], side: str) -> None:
    # From nothing at the first value on; more points than pixels are not seen.
    values, share = np.append(values[:1], values), np.append([0.0], share)
    kept = np.unique(np.searchsorted(share, np.linspace(0, share[-1], 800)))
    axes.step(
        values[kept], share[kept], where="post", color=colour(SIDE_TOKENS[side]), linewidth=1.6,
        alpha=0.8,
    )  # fmt: skip


def _say(axes: Axes, x: float, y: float, text: str) -> None:
    axes.text(x, y, text, ha="left", va="center", color=colour("ink"), fontsize=11)


def _curves(
    name: str,
    title: str,
    reading: str,
    source: str,
    draw: Callable[[int], str],
    legend: tuple[tuple[str, str], ...],
) -> Curves:
    return Curves(
        name=name,
        title=title,
        reading=reading,
        source=source,
        wide=draw(720),
        narrow=draw(348),
        legend=legend,
    )
