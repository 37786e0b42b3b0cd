"""Accelerator profiles: how long a step takes, for which range that was measured, and by whom."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from harness.errors import ConfigError
from harness.options import Layer, Problem, convert_table
from harness.worker.spec import StepTime

Range = tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]
Text = Annotated[str, Meta(min_length=1)]


class Linear(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds that are linear in the accelerators and in the batch size of each."""

    constant: float
    per_accelerator: float = 0.0
    per_sample: float = 0.0


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a source says of a device.

    Args:
        unit: of all times; seconds.
        date: of the source, `2024`, `2024-09` or `2024-09-26`; None where it states none.
        reference_batch: samples per accelerator and step that the source itself used.
        accelerators: range it was measured in, ends included; None where it names no limit.
        batch_size: likewise.
        mean_s: of a synchronised step; a bare number holds at `reference_batch`.
        sd_s: its standard deviation; None where unknown, and then taken as 0.
        evaluation_case_s: of one evaluation case; None where unknown.
        note: what a reader of the result must know.
    """

    name: str
    device: Text
    source: Text
    unit: Literal["s"]
    reference_batch: Annotated[int, Meta(ge=1)]
    batch_size: Range
    mean_s: float | Linear
    date: Annotated[str, Meta(pattern=r"^\d{4}(-\d{2}){0,2}$")] | None = None
    accelerators: Range | None = None
    sd_s: float | Linear | None = None
    evaluation_case_s: Annotated[float, Meta(ge=0)] | None = None
    note: str | None = None


def parse_profile(name: str, layer: Layer, problems: list[Problem]) -> Profile | None:
    """Return the profile of a TOML table, or None with everything wrong in `problems`."""
    fields = [field for field in msgspec.structs.fields(Profile) if field.name != "name"]
    before = len(problems)
    known = {field.name: (field.name, field.type) for field in fields}
    values, refused = convert_table(layer, known, problems)
    for field in fields:
        if field.required and field.name not in values.keys() | refused:
            what = f"profile {name} lacks {field.name}"
            problems.append(Problem(what=what, where=layer.where(field.name), then="add it"))
    for key in ("accelerators", "batch_size"):
        if values.get(key) and values[key][0] > values[key][1]:
            what = f"{key} is {list(values[key])}"
            problems.append(Problem(what=what, where=layer.where(key), then="give [from, to]"))
    return Profile(name=name, **values) if len(problems) == before else None


def covers(profile: Profile, accelerators: int, batch_size: int) -> bool:
    """Return whether the profile was measured there."""
    low, high = profile.accelerators or (1, accelerators)
    return (
        low <= accelerators <= high and profile.batch_size[0] <= batch_size <= profile.batch_size[1]
    )


def step_time(
    profile: Profile, accelerators: int, batch_size: int, *, extrapolate: bool = False
) -> StepTime:
    """Return the declared time of a step of `batch_size` samples on each of the accelerators.

    A profile that is one point takes time in proportion to the batch; the deviation of a linear
    one ends at zero, below which its fit leads for one accelerator and small batches.

    Raises:
        ConfigError: outside the range of the profile and not asked to extrapolate, or a time of
            zero or less.

    >>> point = Profile(name="x", device="X", source="doc", unit="s", reference_batch=7,
    ...                 batch_size=(7, 7), mean_s=0.7)
    >>> step_time(point, 100, 7)
    StepTime(mean_s=0.7, sd_s=0.0)
    """
    asked = f"{accelerators} accelerators with batch size {batch_size}"
    if not extrapolate and not covers(profile, accelerators, batch_size):
        raise ConfigError(
            f"{asked} are outside what profile {profile.name} was measured for",
            where=f"profile {profile.name} covers {range_text(profile)}",
            then="stay inside, or give --extrapolate to go beyond, which the result will say",
        )
    mean_s = _seconds(profile.mean_s, profile, accelerators, batch_size)
    sd_s = _seconds(profile.sd_s or 0.0, profile, accelerators, batch_size)
    if mean_s <= 0:
        raise ConfigError(
            f"profile {profile.name} declares a step of {mean_s:g} s",
            where=asked,
            then="stay inside its range, or correct its mean_s",
        )
    return StepTime(mean_s=mean_s, sd_s=max(0.0, sd_s))


def declared_means(
    profile: Profile, accelerators: int, batch_size: int, *, extrapolate: bool
) -> tuple[float | None, ...]:
    """Return the mean step in seconds for 1, 2, ... `accelerators`; None outside the range."""

    def mean_s(count: int) -> float | None:
        try:
            return step_time(profile, count, batch_size, extrapolate=extrapolate).mean_s
        except ConfigError:
            return None

    return tuple(mean_s(count) for count in range(1, accelerators + 1))


def range_text(profile: Profile) -> str:
    """Return the range a profile was measured in, as a sentence says it."""
    if profile.accelerators is None:
        count = "any number of accelerators"
    else:
        count = f"{_span(profile.accelerators)} accelerators"
    return f"{count} with batch size {_span(profile.batch_size)}"


def _span(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _seconds(model: float | Linear, profile: Profile, accelerators: int, batch_size: int) -> float:
    if isinstance(model, Linear):
        slopes = model.per_accelerator * accelerators + model.per_sample * batch_size
        return slopes + model.constant
    # A point has no slope: compute-bound steps grow with their batch.
    return model * batch_size / profile.reference_batch
