"""A comparison for people: as text for a terminal, and as Markdown."""

from collections.abc import Callable, Sequence

from harness.analysis.compare import Compared, Comparison, Side, change, share_text
from harness.analysis.likeness import Difference
from harness.analysis.welch import Spread
from harness.analysis.wording import UNKNOWN, rate, seconds

_SHOWN = 48  # characters of a fact's value
_HEAD = ("metric", "A", "B", "B against A", "95 % interval", "")
_FACTS_HEAD = ("fact", "A", "B", "")


def text_of(comparison: Comparison) -> str:
    """Return it as text, the answer last, where a terminal shows it."""
    parts = []
    if comparison.differences:
        parts.append(_aligned([_FACTS_HEAD, *map(_fact_row, comparison.differences)]))
    parts.append("\n".join([*_side("A", comparison.a), *_side("B", comparison.b)]))
    if not comparison.is_refused:
        parts.append(_aligned([_HEAD, *map(_metric_row, comparison.metrics)]))
    return "\n\n".join([*parts, "\n".join(answer_lines(comparison))]) + "\n"


def markdown_of(comparison: Comparison) -> str:
    """Return it as Markdown, the answer first, where a page shows it."""
    parts = ["\n\n".join(f"**{_plain(line)}**" for line in answer_lines(comparison))]
    if comparison.differences:
        parts.append(_piped([_FACTS_HEAD, *map(_fact_row, comparison.differences)]))
    sides = [*_side("A", comparison.a), *_side("B", comparison.b)]
    parts.append("\n".join(f"- {_plain(line.strip())}" for line in sides))
    if not comparison.is_refused:
        parts.append(_piped([_HEAD, *map(_metric_row, comparison.metrics)]))
    return "\n\n".join(parts) + "\n"


def answer_lines(comparison: Comparison) -> list[str]:
    """Return the answer in sentences, one a line, and before them that it was forced."""
    limit = comparison.regression_limit
    lines = [comparison.sentence]
    if comparison.forced:
        facts = ", ".join(difference.fact for difference in comparison.forbidding)
        lines.insert(0, f"Forced, though the work was not the same: {facts}.")
    if comparison.regressed and limit is not None:
        names = ", ".join(metric.name for metric in comparison.regressed)
        lines.append(f"Regression of more than {share_text(limit)}: {names}.")
    return lines


def value_text(value: float, unit: str) -> str:
    """Return a value of a metric in three or four digits.

    >>> value_text(98.2e6, "B/s"), value_text(0.8734, "1"), value_text(4.2e6, "ns")
    ('98.2 MB/s', '87.34 %', '4.2 ms')
    """
    texts: dict[str, Callable[[float], str]] = {
        "B/s": rate,
        "ns": seconds,
        "1": lambda ratio: f"{ratio * 100:.2f} %",
    }
    return texts[unit](value) if unit in texts else f"{value:.4g} {unit}"


def interval_text(metric: Compared) -> str:
    """Return the interval of a metric's change, empty where there is none."""
    ratio = metric.ratio
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    return f"{change(ratio.low)} to {change(ratio.high)}"


def _side(name: str, side: Side) -> list[str]:
    count = "1 run" if len(side.runs) == 1 else f"{len(side.runs)} runs"
    return [f"{name}  {side.path}: {count}", *(f"   {notice}" for notice in side.notices)]


def _fact_row(difference: Difference) -> tuple[str, ...]:
    forbids = "not comparable" if difference.forbids else ""
    return (difference.fact, _values(difference.a), _values(difference.b), forbids)


def _values(values: Sequence[str]) -> str:
    text = " or ".join(values)
    # Paths begin alike, checksums end as they will: what is cut out is the middle.
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[: half - 3]}...{text[-half:]}"


def _metric_row(metric: Compared) -> tuple[str, ...]:
    ratio = UNKNOWN if metric.ratio is None else change(metric.ratio.value)
    values = (_spread(metric.a, metric.unit), _spread(metric.b, metric.unit))
    return (metric.name, *values, ratio, interval_text(metric), metric.word)


def _spread(spread: Spread | None, unit: str) -> str:
    if spread is None:
        return UNKNOWN
    scatter = "" if spread.scatter is None else f" (sd {spread.scatter * 100:.2g} %)"
    return f"{value_text(spread.mean, unit)}{scatter}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _piped(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(map(_plain, row))} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return "".join(f"\\{char}" if char in r"\`*_[]<>|#" else char for char in text)
