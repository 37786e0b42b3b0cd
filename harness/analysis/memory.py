"""How much of the data the memory can hold: what decides whether a cache can answer. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

from harness.analysis.part import Part
from harness.analysis.wording import size

Regime = Literal["warm", "knee", "between", "cold"]
MemorySource = Literal["limit of the run", "control group", "machine"]

_WARM, _KNEE, _COLD = 2.0, (0.9, 1.1), 0.67
_MEANING: dict[Regime, str] = {
    "warm": "all data fits",
    "knee": "a little memory more or less makes much difference",
    "between": "no plain case",
    "cold": "most data does not stay",
}
# In pages, where bytes were asked for: the largest page of the usual processors.
_PAGE_BYTES = 64 << 10


class Memory(Part, frozen=True, kw_only=True):
    """The memory that may hold data, against the data.

    Args:
        limit_bytes: the lowest of the run's limit, the control groups' and the machine's memory.
        source: which of them that is.
        need_bytes: what the ranks keep for themselves.
        data_bytes: the training files.
        ratio: (limit - need) / data; null without data.
        regime: warm from 2 on, knee from 0.9 to 1.1, cold up to 0.67, between otherwise.
    """

    limit_bytes: int
    source: MemorySource
    need_bytes: int
    data_bytes: int
    ratio: float | None
    regime: Regime | None

    def text(self) -> str:
        """Return one line for people."""
        parts = f"{size(self.limit_bytes)} ({self.source}), the ranks keep {size(self.need_bytes)}"
        if self.ratio is None or self.regime is None:
            return parts
        rest = f"the rest is {self.ratio:.2f} of {size(self.data_bytes)} of training data"
        return f"{parts}; {rest} ({self.regime}: {_MEANING[self.regime]})"


def effective_memory(
    *, total_bytes: int, asked_bytes: int | None, group_bytes: int | None
) -> tuple[int, MemorySource]:
    """Return the memory that is in force, and which it is; the first of equals in this order.

    Args:
        total_bytes: of the machine.
        asked_bytes: the run's own limit, None for none.
        group_bytes: the limit that control groups say is in force, None for none.
    """
    known: list[tuple[int, MemorySource]] = [(total_bytes, "machine")]
    if group_bytes is not None:
        # The group is how that limit is enforced.
        asked = asked_bytes is not None and abs(group_bytes - asked_bytes) < _PAGE_BYTES
        known.insert(0, (group_bytes, "limit of the run" if asked else "control group"))
    elif asked_bytes is not None:
        known.insert(0, (asked_bytes, "limit of the run"))
    return min(known, key=lambda pair: pair[0])


def regime_of(ratio: float) -> Regime:
    """Return the regime of (memory - need) / data.

    >>> [regime_of(ratio) for ratio in (0.25, 0.67, 0.75, 0.9, 1.1, 1.5, 2.0)]
    ['cold', 'cold', 'between', 'knee', 'knee', 'between', 'warm']
    """
    if ratio >= _WARM:
        return "warm"
    if _KNEE[0] <= ratio <= _KNEE[1]:
        return "knee"
    return "cold" if ratio <= _COLD else "between"


def regime_in(memory_bytes: int, data_bytes: int) -> Regime:
    """Return the regime of so much memory, without what ranks need, for so much data.

    >>> regime_in(10_990, 16_384)
    'cold'
    """
    # As the ratio is told: a limit in whole pages is a little below the one asked for.
    return regime_of(round(memory_bytes / data_bytes, 2))


def memory_of(
    limit_bytes: int, source: MemorySource, *, need_bytes: int, data_bytes: int
) -> Memory:
    """Return how memory stands to the data; ranks that need more than there is leave none."""
    rest_bytes = max(0, limit_bytes - need_bytes)
    return Memory(
        limit_bytes=limit_bytes,
        source=source,
        need_bytes=need_bytes,
        data_bytes=data_bytes,
        ratio=rest_bytes / data_bytes if data_bytes else None,
        regime=regime_in(rest_bytes, data_bytes) if data_bytes else None,
    )


def recorded_memory(
    facts: Mapping[str, Any] | None, *, asked_bytes: int | None, data_bytes: int
) -> Memory | None:
    """Return the memory that the worker found, None where it did not get that far.

    Args:
        facts: what the worker says: need_bytes, limit_bytes, total_bytes.
        asked_bytes: the run's own limit.
        data_bytes: of the training files.
    """
    if not facts:
        return None
    limit, source = effective_memory(
        total_bytes=facts["total_bytes"], asked_bytes=asked_bytes, group_bytes=facts["limit_bytes"]
    )
    return memory_of(limit, source, need_bytes=facts["need_bytes"], data_bytes=data_bytes)


def memory_notices(memory: Memory | None, *, cache: str) -> list[str]:
    """Return what is to be said where memory may answer instead of the storage."""
    if memory is None or memory.regime in (None, "cold") or cache in ("cold", "warm"):
        return []
    return [f"Memory may answer instead of the storage: {memory.text()}."]
