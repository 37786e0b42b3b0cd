"""What a user may choose of a data set, and what of it does not fit together. Pure values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dsgen.layout import Compression, Entropy


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What one format of a workload offers; the first of each is the default.

    Args:
        laws: of the sizes of files and samples.
        entropies: how far the content can be reduced; `holes` takes no place at all.
        compressions: what the files themselves do to their content.
        min_files: whether files can be shortened so that a small set has as many.
    """

    laws: tuple[str, ...]
    entropies: tuple[Entropy, ...] = ("natural",)
    compressions: tuple[Compression, ...] = ("none",)
    min_files: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a user asks for; None stands for the default."""

    format: str | None = None
    law: str | None = None
    entropy: str | None = None
    compression: str | None = None
    min_files: int = 0


DEFAULTS = Wanted()


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """One wish that cannot be met: the field of `Wanted`, what is wrong, what to do."""

    field: str
    what: str
    then: str


def refusals(name: str, formats: Mapping[str, Choices], wanted: Wanted) -> Iterator[Refusal]:
    """Yield everything in `wanted` that the workload `name` does not offer."""
    format_ = wanted.format or default_format(formats)
    if format_ is None or format_ not in formats:
        what = f"unknown format {format_!r}" if format_ else "the format is missing"
        offer = f"{name} has {', '.join(formats)}"
        yield Refusal(field="format", what=what, then=offer)
        return
    offered = formats[format_]
    place = f"{name} {format_}" if len(formats) > 1 else name
    for field, asked, known in (
        ("law", wanted.law, offered.laws),
        ("entropy", wanted.entropy, offered.entropies),
        ("compression", wanted.compression, offered.compressions),
    ):
        if asked is not None and asked not in known:
            what = f"unknown {field} {asked!r}"
            yield Refusal(field=field, what=what, then=f"{place} has {', '.join(known)}")
    if wanted.min_files and not offered.min_files:
        what = f"{place} has a fixed number of files"
        yield Refusal(field="min_files", what=what, then="leave it out")


def default_format(formats: Mapping[str, Choices]) -> str | None:
    """Return the only format; None where there are several, which no default may hide."""
    return next(iter(formats)) if len(formats) == 1 else None
