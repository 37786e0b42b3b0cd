"""Whether the runs of one side were faster than those of another."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from harness.analysis.likeness import Difference, differing_facts
from harness.analysis.part import Part
from harness.analysis.result import Result
from harness.analysis.welch import CONFIDENCE, Ratio, Spread, ratio_of, spread_of

SCHEMA_VERSION: Literal[1] = 1
# Published runs of this kind repeat within 0.12 to 0.35 %: below 1 %, a difference is mostly that
# of two days.
DEFAULT_MIN_EFFECT = 0.01

Word = Literal["faster", "slower", "no significant difference", "not tested", "no figure"]
Outcome = Word | Literal["mixed", "refused"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A metric that runs are compared by.

    Args:
        name: as people say it.
        unit: of its values; `1` is a plain ratio.
        of: its value in a result, None where there is none.
        better: which values are.
        decides: whether a regression of it fails. A median load time does not: while the storage
            keeps up it is microseconds of the client's, and may double without any accelerator
            waiting.
    """

    name: str
    unit: str
    of: Callable[[Result], float | None]
    better: Literal["higher", "lower"] = "higher"
    decides: bool = True


FIGURES: Final = (
    Figure(
        name="bandwidth",
        unit="B/s",
        of=lambda result: result.metrics.bandwidth_bytes_per_s.value,
    ),
    Figure(
        name="throughput",
        unit="samples/s",
        of=lambda result: result.metrics.throughput_samples_per_s.value,
    ),
    Figure(
        name="AU",
        unit="1",
        of=lambda result: result.metrics.au.value,
    ),
    Figure(
        name="load time p50",
        unit="ns",
        better="lower",
        decides=False,
        of=lambda result: result.metrics.load_time_ns.p50,
    ),
)


class Compared(Part, frozen=True, kw_only=True):
    """One metric of both sides.

    Args:
        word: what B is, seen from A; `not tested` where a side has one run, `no figure` where a
            run has no value above 0.
        regressed: whether it is worse by more than the limit; null without a limit, or where that
            is not told.
        a_values, b_values: run by run, null where a run has none.
        a, b, ratio: null where a run has no value.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    decides: bool
    word: Word
    ratio: Ratio | None
    regressed: bool | None
    a: Spread | None
    b: Spread | None
    a_values: list[float | None]
    b_values: list[float | None]


class Side(Part, frozen=True, kw_only=True):
    """The runs of one side, and what is to be known of them."""

    path: str
    runs: list[str]
    notices: list[str]


class Comparison(Part, frozen=True, kw_only=True):
    """B against A.

    Args:
        outcome: of the metrics that decide; `refused` where the work was not the same.
        sentence: the same for people, with figures.
        min_effect: differences below it are called none, 0.01 for 1 %.
        regression_limit: null where none was asked for.
        forced: whether facts that forbid a comparison were overruled.
        differences: facts in which the runs differ, those that forbid first.
        metrics: empty where the comparison was refused.
    """

    schema_version: Literal[1]
    outcome: Outcome
    sentence: str
    confidence: float
    min_effect: float
    regression_limit: float | None
    forced: bool
    a: Side
    b: Side
    differences: list[Difference]
    metrics: list[Compared]

    @property
    def forbidding(self) -> list[Difference]:
        """The differences that forbid a comparison."""
        return [difference for difference in self.differences if difference.forbids]

    @property
    def is_refused(self) -> bool:
        """Whether the runs are too unlike to be compared."""
        return self.outcome == "refused"

    @property
    def regressed(self) -> list[Compared]:
        """The metrics that are worse by more than the limit."""
        return [metric for metric in self.metrics if metric.regressed]

    @property
    def is_judged(self) -> bool:
        """Whether each metric that decides and has figures was held against the limit."""
        decisive = [metric for metric in self.metrics if metric.decides and metric.ratio]
        return bool(decisive) and all(metric.regressed is not None for metric in decisive)

    @property
    def is_tested(self) -> bool:
        """Whether both sides have runs enough for words about significance."""
        return min(len(self.a.runs), len(self.b.runs)) > 1


def compare_runs(
    a: Side,
    b: Side,
    a_results: Sequence[Result],
    b_results: Sequence[Result],
    *,
    min_effect: float = DEFAULT_MIN_EFFECT,
    regression_limit: float | None = None,
    force: bool = False,
) -> Comparison:
    """Compare the results of side B with those of side A.

    Args:
        a: the side that is compared with; its runs in the order of `a_results`.
        b: the side that is told of, likewise.
        a_results: one or more.
        b_results: one or more.
        min_effect: 0.01 for 1 %.
        regression_limit: likewise; None for none.
        force: compare in spite of facts that forbid it.
    """
    differences = differing_facts(a_results, b_results)
    is_refused = not force and any(difference.forbids for difference in differences)
    metrics = [] if is_refused else _metrics(a_results, b_results, min_effect, regression_limit)
    outcome = "refused" if is_refused else _outcome(metrics)
    return Comparison(
        schema_version=SCHEMA_VERSION,
        outcome=outcome,
        sentence=_refusal(differences) if is_refused else _sentence(outcome, metrics, min_effect),
        confidence=CONFIDENCE,
        min_effect=min_effect,
        regression_limit=regression_limit,
        forced=force and any(difference.forbids for difference in differences),
        a=a,
        b=b,
        differences=differences,
        metrics=metrics,
    )


def compare_values(
    figure: Figure,
    a: Sequence[float | None],
    b: Sequence[float | None],
    *,
    min_effect: float = DEFAULT_MIN_EFFECT,
    regression_limit: float | None = None,
) -> Compared:
    """Compare the values of one metric, one a run."""
    first, second = _all_known(a), _all_known(b)
    ratio = ratio_of(first, second) if first and second else None
    return Compared(
        name=figure.name,
        unit=figure.unit,
        better=figure.better,
        decides=figure.decides,
        word=_word(ratio, figure.better, min_effect),
        ratio=ratio,
        regressed=_is_regressed(ratio, figure, regression_limit),
        a=spread_of(first) if first else None,
        b=spread_of(second) if second else None,
        a_values=list(a),
        b_values=list(b),
    )


def _metrics(
    a: Sequence[Result], b: Sequence[Result], min_effect: float, limit: float | None
) -> list[Compared]:
    return [
        compare_values(
            figure,
            [figure.of(result) for result in a],
            [figure.of(result) for result in b],
            min_effect=min_effect,
            regression_limit=limit,
        )
        for figure in FIGURES
    ]


def _all_known(values: Sequence[float | None]) -> list[float]:
    """Return the values, none at all where one is missing: the rest would be a selection."""
    known = [value for value in values if value is not None and value > 0]
    return known if len(known) == len(values) else []


def _word(ratio: Ratio | None, better: str, min_effect: float) -> Word:
    if ratio is None:
        return "no figure"
    if ratio.p_value is None:
        return "not tested"
    # By its logarithm, a ratio and its inverse are equally far from 1.
    if not ratio.is_significant or abs(math.log(ratio.value)) < math.log1p(min_effect):
        return "no significant difference"
    return "faster" if (ratio.value > 1) == (better == "higher") else "slower"


def _is_regressed(ratio: Ratio | None, figure: Figure, limit: float | None) -> bool | None:
    if limit is None or not figure.decides or ratio is None or ratio.p_value is None:
        return None
    gain = ratio.value if figure.better == "higher" else 1 / ratio.value
    return ratio.is_significant and gain < 1 - limit


def _refusal(differences: Sequence[Difference]) -> str:
    forbidding = [difference.text() for difference in differences if difference.forbids]
    more = f", and {len(forbidding) - 3} more" if len(forbidding) > 3 else ""
    return f"Not comparable: {', '.join(forbidding[:3])}{more}."


def _outcome(metrics: Sequence[Compared]) -> Outcome:
    words = {metric.word for metric in metrics if metric.decides} - {"no figure"}
    if not words:
        return "no figure"
    if {"faster", "slower"} <= words:
        return "mixed"
    ranking: tuple[Word, ...] = ("not tested", "faster", "slower")
    return next((word for word in ranking if word in words), "no significant difference")


def _sentence(outcome: Outcome, metrics: Sequence[Compared], min_effect: float) -> str:
    if outcome == "no figure":
        return "Nothing is told: a side has no figures."
    if outcome == "not tested":
        return "A side has one run, which tells of no scatter: ratios, and no word on significance."
    if outcome != "no significant difference":
        told = [
            f"{metric.name} {change(metric.ratio.value)}"
            for metric in metrics
            if metric.decides and metric.ratio and metric.word in ("faster", "slower")
        ]
        verb = "differs" if outcome == "mixed" else f"is {outcome}"
        return f"B {verb}: {', '.join(told)}."
    ends = [
        end
        for metric in metrics
        if metric.decides and metric.ratio
        for end in (metric.ratio.low, metric.ratio.high)
        if end is not None
    ]
    return (
        f"No significant difference of {share_text(min_effect)} or more; the intervals leave room "
        f"for {change(min(ends))} to {change(max(ends))}."
    )


def change(ratio: float) -> str:
    """Return a ratio as a change in %.

    >>> change(0.97), change(1.004), change(12.5)
    ('-3.00 %', '+0.40 %', '+1,150 %')
    """
    percents = (ratio - 1) * 100
    return f"{percents:+,.0f} %" if abs(percents) >= 100 else f"{percents:+.2f} %"


def share_text(share: float) -> str:
    """Return a share in %, with two or three digits.

    >>> share_text(0.02), share_text(0.00512)
    ('2 %', '0.512 %')
    """
    return f"{share * 100:.3g} %"
