"""In which facts runs differ, and which of these forbid to compare their figures.

The storage under test, its host and the software may differ: that is what runs are compared for.
The work may not: what is read, by whom, in which order of events, and from where it may come.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from harness.analysis.part import Part
from harness.analysis.result import Result
from harness.analysis.wording import UNKNOWN

# Options that change nothing in the work of a training: where things lie, how data is made, what
# ends or judges a run, what is printed. An option that is not among them forbids, also a new one.
_FREE_OPTIONS: Final = frozenset(
    {
        *("data", "checkpoint", "image_archive", "processes", "preset", "extrapolate"),
        *("extrapolated", "require_steps", "require_memory_times", "require_au"),
        *("max_duration_s", "stall_s", "ceiling"),
    }
)
# The data set as it is read. `content_crc32c` is that of its files alone: manifests of the same
# bytes differ by what a file system tells of their blocks.
_SAME_DATA: Final = frozenset(
    {
        *("workload", "format", "law", "seed", "size_requested_bytes", "compression", "min_files"),
        *("origin", "bytes", "files", "samples", "content_crc32c"),
    }
)
_SAME_ACCELERATORS: Final = frozenset(
    {
        *("kind", "count", "batch_size", "global_batch_size", "profile", "declared_mean_s"),
        *("declared_sd_s", "device", "model", "parameters"),
    }
)
# Told by another fact, or never the same twice.
_HIDDEN: Final = frozenset(
    {
        *("target.free_bytes", "target.free_inodes", "system.load_average", "engine.reason"),
        *("system.memory_available_bytes", "accelerators.first_loss", "accelerators.last_loss"),
        *("config.size_bytes", "config.format", "config.law", "config.entropy", "config.seed"),
        *("config.compression", "config.min_files", "config.workload", "config.engine"),
        *("config.accelerator", "config.accelerators", "config.batch_size", "config.profile"),
        *("config.device", "config.step_time", "config.results", "config.repeat"),
        *("config.dry_run", "config.json"),
    }
)


class Difference(Part, frozen=True, kw_only=True):
    """A fact that is not the same in all runs: its values on either side, each once.

    `forbids`: figures of runs that differ in it say nothing about one another.
    """

    fact: str
    forbids: bool
    a: list[str]
    b: list[str]

    def text(self) -> str:
        """Return the fact and its values, A's before B's."""
        return f"{self.fact} {' or '.join(self.a)} against {' or '.join(self.b)}"


def differing_facts(a: Sequence[Result], b: Sequence[Result]) -> list[Difference]:
    """Return the facts in which the runs of two sides differ, those that forbid first.

    A fact that one result has and another has not, or that is unknown in it, does not forbid:
    nothing contradicts.
    """
    sides = [[dict(_facts(result)) for result in results] for results in (a, b)]
    every = [facts for side in sides for facts in side]
    names = dict.fromkeys(name for facts in every for name in facts)
    found = []
    for name in names:
        values = [[facts.get(name, UNKNOWN) for facts in side] for side in sides]
        distinct = {value for side in values for value in side}
        first, second = (list(dict.fromkeys(side)) for side in values)
        forbids = _forbids(name) and len(distinct - {UNKNOWN}) > 1
        # What varies within both sides alike, as the seeds of repeats do, is no difference.
        if set(first) != set(second) or forbids:
            found.append(Difference(fact=name, forbids=forbids, a=first, b=second))
    return sorted(found, key=lambda difference: not difference.forbids)


def _facts(result: Result) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a result's facts, as words."""
    # Neither of the two contradicts what was not proven.
    yield "verdict", _verdict(result)
    yield "client memory", result.client
    yield "steps of an epoch", _word(result.coverage.steps_per_epoch)
    yield "seed of the order", _word(order_seed(result))
    # Who spins wakes up on time: an accelerator that sleeps has longer steps than were declared.
    spin = result.worker.get("spin")
    yield "waits were spun", _word(spin.get("used") if isinstance(spin, Mapping) else None)
    for part in ("dataset", "accelerators", "config", "engine", "target", "system"):
        # An option without a value is switched off; any other fact without one is unknown.
        null = "none" if part == "config" else UNKNOWN
        for name, value in _flat(getattr(result, part), part):
            if ".".join(name.split(".")[:2]) not in _HIDDEN:
                yield name, null if value is None else _word(value)


def order_seed(result: Result) -> int | None:
    """Return the seed of what differs between repeats."""
    if result.repeat is not None:
        return result.repeat.seed
    seed: int | None = result.config.get("seed")
    return seed


def _flat(facts: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


def _verdict(result: Result) -> str:
    if result.verdict.outcome != "withheld":
        return "given"
    return UNKNOWN if result.verdict.limit == "undecided" else f"withheld ({result.verdict.limit})"


def _word(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _forbids(name: str) -> bool:
    part, _, rest = name.partition(".")
    key = rest.partition(".")[0]
    match part:
        case "dataset":
            return key in _SAME_DATA
        case "accelerators":
            return key in _SAME_ACCELERATORS
        case "config":
            return key not in _FREE_OPTIONS
        case "engine":
            return key == "name"
    return name in ("verdict", "client memory", "steps of an epoch")
