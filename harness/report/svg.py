"""Figures as inline SVG: text in the page's font, colours as the page's CSS variables."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# What report.css defines, light and dark, as `--NAME`.
TOKENS: Final = (
    "ink",
    "muted",
    "line",
    "paper",
    "mark",
    "load",
    "compute",
    "emulator_overshoot",
    "storage_wait",
    "io_cpu",
    "decode_cpu",
    "runqueue",
    "barrier",
    "eval",
    "checkpoint",
    "rest",
    "asked",
    "returned",
    "device",
    "image",
    "label",
    "file",
)
FONT_PX: Final = 12
# Names such as axis_1 come again in every figure; those that a reference needs are hashes.
_ID: Final = re.compile(r' id="[A-Za-z0-9.]+_[0-9]+"')
_FAMILY: Final = re.compile(r" ?font-family: [^;\"]+;?")
_SHORTHAND: Final = re.compile(r"font: ([0-9.]+)px [^;\"]+")  # as older matplotlib writes it
_METADATA: Final = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_OUTER: Final = re.compile(r' (?:width|height|xmlns|xmlns:xlink|version)="[^"]*"')


def colour(token: str) -> str:
    """Return the stand-in that `finish` turns into the page's colour `--TOKEN`.

    matplotlib knows no CSS variables, so each gets a hex colour that nothing else uses.
    """
    return f"#01{TOKENS.index(token):02x}fe"


@contextmanager
def canvas(name: str, width: int, height: int) -> Iterator[Figure]:
    """Give an empty figure of CSS pixels; `name` makes its ids unique and the same every time."""
    salt = f"{name}-{width}"
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "font.size": FONT_PX}):
        yield Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")


def plain_axes(
    figure: Figure, *, left: int = 44, right: int = 12, top: int = 12, bottom: int = 40
) -> Axes:
    """Return axes with margins in pixels, a base line and light horizontal rules."""
    width, height = figure.get_size_inches() * 72
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    )
    axes.set_facecolor("none")
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(colour("muted"))
    axes.tick_params(colors=colour("muted"), length=0, pad=6)
    axes.xaxis.label.set_color(colour("muted"))
    axes.yaxis.label.set_color(colour("muted"))
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=colour("line"), linewidth=1)
    return axes


def finish(figure: Figure, label: str) -> str:
    """Return the figure's SVG element for a page; `label` is what a screen reader says."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    text = out.getvalue()
    text = _METADATA.sub("", text[text.index("<svg") :])
    text = _ID.sub("", text)
    text = _SHORTHAND.sub(r"font-size: \1px", _FAMILY.sub("", text))
    for token in TOKENS:
        text = text.replace(colour(token), f"var(--{token})")
    head, body = text.split(">", 1)
    head = _OUTER.sub("", head)
    return f'{head} role="img" aria-label="{_escape(label)}">{body}'


def _escape(label: str) -> str:
    return label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
