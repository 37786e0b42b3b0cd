"""What has to be said of the runs of one side before their figures are compared."""

import re
from collections.abc import Iterator, Sequence

from harness.analysis.result import Result
from harness.analysis.verdict import NOTABLE_MEMORY
from harness.analysis.wording import percent

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def caveats(results: Sequence[Result], others: Sequence[Result]) -> list[str]:
    """Return a sentence for each doubt about the runs of a side.

    Args:
        results: the runs of the side, one or more.
        others: those of the other side; a warning that all runs of both have is left out.
    """
    return [
        *_incomplete_groups(results),
        *_without_verdict(results),
        *_from_memory(results),
        *_unknown_content(results),
        *_warnings(results, others),
    ]


def _incomplete_groups(results: Sequence[Result]) -> Iterator[str]:
    repeats = [result.repeat for result in results if result.repeat is not None]
    for group in dict.fromkeys(repeat.group for repeat in repeats):
        own = [repeat for repeat in repeats if repeat.group == group]
        if len(own) < own[0].of:
            yield f"{len(own)} of the {own[0].of} runs of group {group} are compared"


def _without_verdict(results: Sequence[Result]) -> Iterator[str]:
    withheld = [result for result in results if result.verdict.outcome == "withheld"]
    if withheld:
        yield f"{_of(withheld, results)} without a verdict: {withheld[0].verdict.sentence}"


def _from_memory(results: Sequence[Result]) -> Iterator[str]:
    shares = [result.metrics.bytes.memory_share for result in results]
    known = [share for share in shares if share is not None and share > NOTABLE_MEMORY]
    if known:
        yield f"up to {percent(max(known))} of the bytes of a run came from memory"


def _unknown_content(results: Sequence[Result]) -> Iterator[str]:
    without = [result for result in results if result.dataset.get("content_crc32c") is None]
    if without:
        yield (
            f"{_of(without, results)} over a data set of unknown content: that the same bytes were "
            "read follows from sizes and counts alone"
        )


def _warnings(results: Sequence[Result], others: Sequence[Result]) -> Iterator[str]:
    kinds: dict[str, list[str]] = {}
    for result in results:
        for kind, text in {_kind(text): text for text in result.warnings}.items():
            kinds.setdefault(kind, []).append(text)
    in_others = [{_kind(text) for text in other.warnings} for other in others]
    for kind, texts in kinds.items():
        if len(texts) == len(results) and all(kind in known for known in in_others):
            continue
        yield f"{_of(texts, results)} with a warning: {texts[0]}"


def _kind(text: str) -> str:
    """Return a warning without its figures, which differ from run to run."""
    return _NUMBER.sub("", text)


def _of(some: Sequence[object], every: Sequence[object]) -> str:
    return f"{len(some)} of {len(every)} runs" if len(every) > 1 else "the run"
