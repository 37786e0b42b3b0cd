"""The options of a run: their types, and how a value from a file or a flag becomes one."""

import difflib
import math
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from dsgen.errors import UsageError, breaks_line
from dsgen.size import parse_size
from harness.errors import ConfigError
from harness.worker.spec import AcceleratorKind, Buffer, Cache, LoaderKind, Shuffle

Count = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]
# Ranks and loaders are numbered by 16 bits in a trace (harness/worker/record.py).
Accelerators = Annotated[int, Meta(ge=1, le=65_535)]
LoaderWorkers = Annotated[int, Meta(ge=0, le=65_534)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a user may set, after defaults. Sizes are bytes, paths absolute, None switches off."""

    data: Path
    results: Path
    checkpoint: Path | None
    size_bytes: Count
    format: str | None
    law: str | None
    entropy: str | None
    compression: str | None
    min_files: CountOrZero
    seed: CountOrZero
    processes: CountOrZero
    accelerators: Accelerators
    accelerator: AcceleratorKind
    gpus: bool
    profile: str | None
    batch_size: Count
    epochs: Count
    steps: CountOrZero
    pipelines: CountOrZero
    loader: LoaderKind
    warmup_epochs: CountOrZero
    eval_from: CountOrZero
    eval_every: Count
    loader_workers: LoaderWorkers
    prefetch_batches: Count
    shuffle: Shuffle
    buffer: Buffer
    cache: Cache
    checkpoint_bytes: Count
    memory_bytes: Count | None
    engine: Literal["auto", "docker", "local"]
    image_archive: Path | None
    repeat: Count
    require_steps: CountOrZero
    require_memory_times: Annotated[float, Meta(ge=0)]
    require_au: Annotated[float, Meta(gt=0, le=1)] | None
    max_duration_s: Annotated[float, Meta(gt=0)] | None
    extrapolate: bool
    dry_run: bool
    json: bool


PLAIN_ADVICE: Final = "give a path in UTF-8, without line ends and other control characters"

# A key that people write -> the field, which carries the unit. All others are the same.
_FIELDS: Final = {
    "size": "size_bytes",
    "memory": "memory_bytes",
    "max_duration": "max_duration_s",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that cannot be meant, in the three parts of an error's line."""

    what: str
    where: str
    then: str

    @classmethod
    def of(cls, error: ConfigError) -> "Problem":
        """Return the problem that `error` tells of, to be shown among others."""
        return cls(what=error.what, where=error.where, then=error.then)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Values from one place; `is_text` where all are text, as flags are.

    `place` is what a message says, with `{key}` and `{flag}` to be filled in.
    """

    place: str
    values: Mapping[str, Any]
    is_text: bool = False

    def where(self, key: str) -> str:
        """Return where `key` was set, as a message says it."""
        said = {"{key}": key, "{flag}": key.replace("_", "-")}
        # In one pass: a key may look like a place to fill in.
        return re.sub(r"\{key\}|\{flag\}", lambda found: said[found[0]], self.place)


def option_types() -> dict[str, tuple[str, Any]]:
    """Return every key that people write -> its field's name and type."""
    keys = {field: key for key, field in _FIELDS.items()}
    fields = msgspec.structs.fields(Options)
    return {keys.get(field.name, field.name): (field.name, field.type) for field in fields}


def merge_layers(
    layers: Iterable[Layer], problems: list[Problem]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return field -> value and field -> where it was set; a later layer wins.

    A field whose value is refused anywhere is left out of the values, so that no second problem
    follows from the first. `problems` receives what cannot be meant.
    """
    types_by_key = option_types()
    merged: dict[str, Any] = {}
    places: dict[str, str] = {}
    refused: set[str] = set()
    for layer in layers:
        values, bad = convert_table(layer, types_by_key, problems)
        merged |= values
        refused |= bad
        known = layer.values.keys() & types_by_key.keys()
        places |= {types_by_key[key][0]: layer.where(key) for key in known}
    return {field: value for field, value in merged.items() if field not in refused}, places


def convert_table(
    layer: Layer, known: Mapping[str, tuple[str, Any]], problems: list[Problem]
) -> tuple[dict[str, Any], set[str]]:
    """Return field -> value of a layer's values, and the fields whose values were refused.

    Args:
        layer: the values as they were written.
        known: key -> field and type.
        problems: receives one problem for each unknown key and each value refused.
    """
    converted: dict[str, Any] = {}
    refused: set[str] = set()
    for key, value in layer.values.items():
        if key not in known:
            problems.append(unknown_key(key, layer.where(key), known))
            continue
        field, kind = known[key]
        try:
            converted[field] = convert_value(field, kind, value, is_text=layer.is_text)
        except (ValueError, UsageError) as refusal:
            refused.add(field)
            then = refusal.then if isinstance(refusal, UsageError) else str(refusal)
            what = f"{key} is {value!r}"
            problems.append(Problem(what=what, where=layer.where(key), then=then))
    return converted, refused


def unknown_key(key: str, where: str, known: Iterable[str]) -> Problem:
    """Return the problem of a key that nobody reads, with the key that was probably meant."""
    names = list(known)
    near = nearest(key, names)
    then = f"did you mean {near}?" if near else f"known are {', '.join(names)}"
    return Problem(what=f"unknown key {key!r}", where=where, then=then)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like `word`, None if none is much like it."""
    # People write keys as flags, and flags in capitals.
    folded = word.strip().lower().replace("-", "_")
    near = difflib.get_close_matches(folded, list(known), n=1, cutoff=0.5)
    return near[0] if near else None


def convert_value(field: str, kind: Any, value: Any, *, is_text: bool) -> Any:
    """Return `value` as the type `kind`; fields that end in `_bytes` take sizes such as 16GB.

    Raises:
        ValueError: it cannot be meant; the message says what to give instead.
        UsageError: it is no size.
    """
    kinds = _alternatives(kind)
    # TOML has no null, and a flag could not say one: both use the word.
    if value == "none" and type(None) in kinds:
        return None
    if field.endswith("_bytes") and _is_size(value):
        return parse_size(str(value))
    advice = f"give {expectation(kind)}"
    if Path in kinds:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError(advice)
        return user_path(value)
    # Text stands for any type; in a file "8" is a text and a mistake.
    try:
        converted = msgspec.convert(value, kind, strict=not is_text)
    except msgspec.ValidationError as error:
        raise ValueError(advice) from error
    # The lax mode takes "null", "inf" and "nan", which nobody can mean here.
    if converted is None or (isinstance(converted, float) and not math.isfinite(converted)):
        raise ValueError(advice)
    return converted


def user_path(text: str) -> Path:
    """Return the path that `text` means, with `~` and `~NAME` put in.

    Raises:
        ValueError: nobody knows that home directory, or the path is not plain.
    """
    if not is_plain(text):
        raise ValueError(PLAIN_ADVICE)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError("give a path without ~, or with one that names a user") from error


def is_plain(path: str) -> bool:
    r"""Return whether a path can stand in JSON and in a message of one line.

    Python keeps bytes that are not UTF-8 as surrogates, which no result could be written with.

    >>> is_plain("/a b/\u00fc"), is_plain("a\nb"), is_plain("nu\udcff")
    (True, False, False)
    """
    return not any(map(breaks_line, path))


def expectation(kind: Any) -> str:
    """Return in words what a value of the type `kind` looks like."""
    texts = [_expectation(one) for one in _alternatives(kind) if one is not type(None)]
    if type(None) in _alternatives(kind):
        texts.append('"none"')
    return ", or ".join(texts)


_WORDS: Final = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
}


def _expectation(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        return "[from, to]"
    if get_origin(kind) is not Annotated:
        return _WORDS[kind] if kind in _WORDS else f"a table of {', '.join(kind.__struct_fields__)}"
    base, *metas = get_args(kind)
    return ", ".join([_expectation(base), *(text for meta in metas for text in _bounds(meta))])


def _bounds(meta: Meta) -> Sequence[str]:
    named = {"at least": meta.ge, "above": meta.gt, "at most": meta.le, "below": meta.lt}
    texts = [f"{words} {bound}" for words, bound in named.items() if bound is not None]
    if meta.min_length:
        texts.append("not empty")
    return [*texts, f"of the form {meta.pattern}"] if meta.pattern else texts


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_size(value: Any) -> bool:
    # bool is an int to Python; 16e9 is a float to TOML.
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int) and not isinstance(value, bool)
