"""The page of a similarity: one file that needs nothing else."""

from typing import Any

from harness.analysis.wording import UNKNOWN, size
from harness.report.similarity_figures import draw_similarity
from harness.report.template import render
from harness.similarity.document import Compared, Similarity
from harness.similarity.series import Fidelity
from harness.similarity.sides import MEANING, NUMBERS


def render_similarity(compared: Compared) -> str:
    """Return the HTML."""
    document = compared.document
    return render(
        "similarity.html.j2",
        title=f"Similarity, {document.workload}",
        outcome={True: "pass", False: "fail", None: "withheld"}[document.holds],
        sentence=document.statement,
        document=document,
        numbers=_numbers(document),
        components=_component_rows(document),
        component_names=[name for name in NUMBERS if getattr(document, name) is not None],
        control=_control(document),
        facts=_facts(document),
        figures=draw_similarity(compared),
        runs=_run_rows(document),
        notices=_notices(document),
    )


def _numbers(document: Similarity) -> list[dict[str, str]]:
    rows = []
    for name, (first, second) in NUMBERS.items():
        number: Fidelity | None = getattr(document, name)
        if number is None:
            continue
        floor = number.floor
        rows.append(
            {
                "name": name,
                "meaning": f"{MEANING[first]}, against {MEANING[second]}",
                "L": _four(number.L),
                "floor": _four(floor.L if floor else None),
                "interval": _four(number.interval),
                "T": _four(number.T),
                "statement_time": number.statement_time,
                "floor_T": _four(floor.T if floor else None),
                "interval_T": _four(number.interval_time),
                "pairs": f"{number.pairs} of {number.runs} runs each",
            }
        )
    return rows


def _component_rows(document: Similarity) -> list[list[str]]:
    shown = [number for name in NUMBERS if (number := getattr(document, name)) is not None]
    floor = document.floor.components if document.floor else {}
    return [
        [name, *(_four(own.components.get(name)) for own in shown), _four(floor.get(name))]
        for name in document.components_used
    ]


def _control(document: Similarity) -> str:
    control = document.negative_control
    if control is None:
        return "No other workload was given as a control."
    word = "below" if control.holds else "not below"
    return f"Another workload ({control.name}) has L {_four(control.L)}, {word} {control.limit}."


def _facts(document: Similarity) -> list[tuple[str, str]]:
    total: Fidelity = getattr(document, document.headline)
    return [
        ("Headline", document.headline),
        ("Regime", document.regime or "unknown, or not the same on both sides"),
        ("Times", total.time_withheld or "compared"),
        ("Epochs and phases", document.labels),
        ("Components used", ", ".join(document.components_used)),
    ]


def _run_rows(document: Similarity) -> list[list[Any]]:
    return [
        [
            side,
            run.name,
            run.source,
            f"{run.calls:,}",
            f"{run.files:,}",
            size(run.bytes),
            ", ".join(f"{name} {count:,}" for name, count in run.excluded.items()) or "none",
            run.regime or UNKNOWN,
        ]
        for side, runs in document.runs.items()
        for run in runs
    ]


def _notices(document: Similarity) -> list[str]:
    found = [*document.notices]
    found += [
        f"{run.name}: {notice}"
        for runs in document.runs.values()
        for run in runs
        for notice in run.notices
    ]
    if document.labels == "inferred":
        found.append(
            "A recording does not know epochs and phases: on all sides a call's epoch is how often "
            "its file had been opened, its phase the role of the file."
        )
    return found


def _four(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"
