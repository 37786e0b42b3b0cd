"""From a result to what the page says, word by word; the template only places it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.losses import KINDS
from harness.analysis.result import Result
from harness.analysis.wording import UNKNOWN, accelerator_name, percent, rate, seconds, size
from harness.report.definitions import DEFINITIONS, EVIDENCE_NAMES, KIND_NAMES, Definition
from harness.report.figures import Drawing

_SECTIONS = (
    ("au", "Accelerator utilisation", ("au-epochs", "au-ranks")),
    ("time", "Where the time went", ("losses", "timeline", "loads")),
    ("bytes", "What was read", ("bytes", "sizes")),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyFigure:
    """One figure of the row beneath the verdict, with what it is made of."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure with everything that stands around it; `legend` pairs token and name."""

    name: str
    text: Definition
    wide: str
    narrow: str
    note: str
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of cells; the first column is a name, the others are figures."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A headline with figures and tables; `missing` names figures that had no data."""

    anchor: str
    title: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FactSheet:
    """Names and values of one part of the result."""

    title: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """The whole report. `au_share` and `mark_share` place the gauge, 0 to 100."""

    title: str
    run: str
    started: str
    outcome: str
    sentence: str
    au: str
    au_share: float | None
    mark: str
    mark_share: float
    key_figures: tuple[KeyFigure, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    sheets: tuple[FactSheet, ...]
    evidence: Table

    @property
    def figure_count(self) -> int:
        """How many figures the page shows."""
        return sum(len(section.figures) for section in self.sections)


def build_page(result: Result, drawings: Mapping[str, Drawing]) -> Page:
    """Return the page for a result and its drawn figures."""
    au = result.metrics.au.value
    accelerators = result.accelerators
    title = (
        f"{result.dataset.get('workload', UNKNOWN)}, "
        f"{accelerators['count']} x {accelerator_name(accelerators)}"
    )
    return Page(
        title=title,
        run=result.run_id,
        started=result.started_utc,
        outcome=result.verdict.outcome,
        sentence=_unbroken(result.verdict.sentence),
        au=_unbroken(percent(au)),
        au_share=None if au is None else min(100.0, au * 100),
        mark=percent(result.verdict.threshold_au),
        mark_share=result.verdict.threshold_au * 100,
        key_figures=_key_figures(result),
        warnings=tuple(result.warnings),
        sections=tuple(_section(result, drawings, *names) for names in _SECTIONS),
        sheets=_sheets(result),
        evidence=_evidence(result),
    )


def _unbroken(text: str) -> str:
    # A line that begins with a unit reads badly at the size of a headline.
    return re.sub(r"(?<=[0-9]) (?=%|x |[kMGT]?B/s)", "\u00a0", text)


def _key_figures(result: Result) -> tuple[KeyFigure, ...]:
    metrics, demand = result.metrics, result.demand
    throughput = metrics.throughput_samples_per_s.value
    return (
        KeyFigure(
            name="Bandwidth",
            value=rate(metrics.bandwidth_bytes_per_s.value),
            meaning="bytes returned in the windows / their duration",
        ),
        KeyFigure(
            name="Demand",
            value=rate(demand.bytes_per_s),
            meaning="needed for AU 100 %: accelerators x batch x bytes a sample / step time",
        ),
        KeyFigure(
            name="Throughput",
            value=UNKNOWN if throughput is None else _throughput(throughput),
            meaning="samples in the windows / their duration",
        ),
        KeyFigure(
            name="From memory",
            value=percent(metrics.bytes.memory_share),
            meaning=f"share of returned bytes without the device; client {result.client}, "
            f"beyond the client {result.beyond_client}",
        ),
    )


def _throughput(samples_per_s: float) -> str:
    """Return three significant digits; what is large has no room for its unit, named below it."""
    if samples_per_s < 1000:
        return f"{samples_per_s:.3g} samples/s"
    return f"{float(f'{samples_per_s:.3g}'):,.0f}/s"


def _section(
    result: Result, drawings: Mapping[str, Drawing], anchor: str, title: str, names: Sequence[str]
) -> Section:
    return Section(
        anchor=anchor,
        title=title,
        figures=tuple(_figure(name, drawings[name]) for name in names if name in drawings),
        tables=tuple(_tables(result, anchor)),
        missing=tuple(DEFINITIONS[name].title for name in names if name not in drawings),
    )


def _figure(name: str, drawing: Drawing) -> Figure:
    return Figure(
        name=name,
        text=DEFINITIONS[name],
        wide=drawing.wide,
        narrow=drawing.narrow,
        note=drawing.note,
        legend=tuple((kind, KIND_NAMES[kind]) for kind in drawing.kinds),
    )


def _tables(result: Result, anchor: str) -> list[Table]:
    if anchor == "au":
        return [_epoch_table(result)] if result.epochs else []
    if anchor == "time":
        losses = [_loss_table(result)] if result.losses_accelerator_s else []
        return [*losses, _outside_table(result)]
    return [_volume_table(result)]


def _epoch_table(result: Result) -> Table:
    au = {own.epoch: own.value for own in result.metrics.au.per_epoch}
    rows = []
    for epoch in result.epochs:
        state = "warm-up" if epoch.warm_up else "measured" if epoch.complete else "cut short"
        samples = UNKNOWN if epoch.samples is None else f"{epoch.samples:,}"
        window = seconds(epoch.window_ns)
        rows.append(
            (str(epoch.epoch), percent(au[epoch.epoch]), window, str(epoch.steps), samples, state)
        )
    rows.append(("run", percent(result.metrics.au.value), "", "", "", ""))
    rows.append(("MLPerf-style", percent(result.metrics.au_mlperf_style.value), "", "", "", ""))
    return Table(
        caption=f"{_coverage(result)} Run: sum of declared times / sum of windows, measured "
        f"epochs. MLPerf-style, {result.metrics.au_mlperf_style.formula}.",
        head=("Epoch", "AU", "Window", "Steps", "Samples", "State"),
        rows=tuple(rows),
    )


def _coverage(result: Result) -> str:
    used, dropped = (
        result.coverage.samples_used_per_epoch,
        result.coverage.samples_dropped_per_epoch,
    )
    if used is None:
        return "How much of the data set an epoch reads is unknown."
    if dropped is None:
        return f"An epoch trains on {used:,} samples; how many there are is unknown."
    there = result.dataset.get("samples", {}).get("train")
    if there is not None and used > there:
        return f"An epoch trains on {used:,} samples: all {there:,}, {used / there:.1f} times."
    left_out = percent(dropped / (used + dropped)) if used + dropped else UNKNOWN
    return (
        f"An epoch trains on {used:,} of {used + dropped:,} training samples and leaves out "
        f"{dropped:,} ({left_out})."
    )


def _loss_table(result: Result) -> Table:
    total = result.losses_accelerator_s
    spent = [(KIND_NAMES[kind], float(getattr(total, kind))) for kind in KINDS]
    wall = sum(value for _, value in spent)
    return Table(
        caption="All ranks together. An accelerator-second is one accelerator for one second.",
        head=("Spent on", "Share", "Accelerator-seconds"),
        rows=tuple(
            (name, f"{value / wall * 100:.2f} %" if wall else UNKNOWN, f"{value:,.2f}")
            for name, value in spent
        ),
    )


def _outside_table(result: Result) -> Table:
    rows = [
        (f"evaluation after epoch {own.epoch}", f"{own.samples:,} samples", seconds(own.window_ns))
        for own in result.evaluation
    ]
    if (saved := result.checkpoint) is not None:
        name = f"checkpoint after epoch {saved.epoch}"
        rows.append((name, size(saved.written_bytes), seconds(saved.window_ns)))
    return Table(
        caption="In no AU. Durations: from the first start to the last end over ranks.",
        head=("Outside the windows", "Amount", "Duration"),
        rows=tuple(rows) or (("nothing", "", ""),),
    )


def _volume_table(result: Result) -> Table:
    volumes = [(f"epoch {epoch.epoch}", epoch.bytes) for epoch in result.epochs if epoch.bytes]
    volumes += [(f"evaluation after epoch {own.epoch}", own.bytes) for own in result.evaluation]
    volumes.append(("measured epochs", result.metrics.bytes))
    return Table(
        caption=f"Source of device bytes: {result.metrics.bytes.device.source}. From memory: "
        "returned minus device, epoch by epoch and never below 0.",
        head=("Window", "Asked", "Returned", "Device", "Memory"),
        rows=tuple(
            (name, size(v.asked), size(v.returned), size(v.device.value), size(v.page_cache))
            for name, v in volumes
        ),
    )


def _evidence(result: Result) -> Table:
    return Table(
        caption="What the verdict rests on.",
        head=("Figure", "Value", "Source"),
        rows=tuple(
            (EVIDENCE_NAMES[item.name], _evidence_value(item.value, item.unit), item.source)
            for item in result.verdict.evidence
        ),
    )


def _evidence_value(value: float | None, unit: str) -> str:
    if value is None:
        return UNKNOWN
    if unit == "1":
        return percent(value)
    return rate(value) if unit == "B/s" else f"{value:,.2f} {unit}"


def _sheets(result: Result) -> tuple[FactSheet, ...]:
    parts: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("Accelerators", result.accelerators),
        ("Data set", result.dataset),
        ("Target", result.target),
        ("System", result.system),
        ("Engine", result.engine),
        ("Run", _run_facts(result)),
    )
    sheets = [FactSheet(title=title, facts=flatten(part)) for title, part in parts if part]
    # An option without a value was left out on purpose; a fact without one is not known.
    options = FactSheet(title="Configuration", facts=flatten(result.config, null="not set"))
    return (*sheets[:1], options, *sheets[1:])


def _run_facts(result: Result) -> dict[str, Any]:
    facts: dict[str, Any] = {"status": result.status, "command": " ".join(result.command)}
    if (own := result.repeat) is not None:
        facts["repeat"] = f"{own.index} of {own.of} in {own.group}, seed {own.seed}"
    return facts


def flatten(
    facts: Mapping[str, Any], prefix: str = "", *, null: str = UNKNOWN
) -> tuple[tuple[str, str], ...]:
    """Return nested facts as names and words: bytes with a size, null as `null`.

    >>> flatten({"memory": {"total_kb": 16, "numa_nodes": None}})
    (('memory total kb', '16'), ('memory numa nodes', 'unknown'))
    """
    pairs: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix} {key.replace('_', ' ')}".strip()
        if isinstance(value, Mapping):
            pairs += flatten(value, name, null=null)
        elif key.endswith("_bytes") and type(value) is int:
            pairs.append((name.removesuffix(" bytes"), f"{size(value)} ({value:,}\u00a0B)"))
        else:
            pairs.append((name, null if value is None else _word(value)))
    return tuple(pairs)


def _word(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_word(item) for item in value) or "none"
    return str(value) if value != "" else "none"
