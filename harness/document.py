"""TOML files of settings: feedrate.toml, which holds everything, and the user's own."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dsgen.workloads import WORKLOADS
from harness.errors import ConfigError
from harness.options import Layer, Problem, convert_table, nearest, option_types, unknown_key
from harness.profiles import Profile, parse_profile

FILE_NAME: Final = "feedrate.toml"
DEFAULT_PRESET: Final = "default"
_TABLES: Final = ("defaults", "presets", "profiles")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A TOML file that was read."""

    name: str
    tables: Mapping[str, Any]


def find_builtin(cwd: Path) -> Path:
    """Return the feedrate.toml of the working directory, or the one that comes with the code."""
    here = cwd / FILE_NAME
    return here if here.is_file() else Path(__file__).resolve().parents[1] / FILE_NAME


def read_document(path: Path) -> Document:
    """Read a TOML file.

    Raises:
        ConfigError: it cannot be read or is no TOML.
    """
    try:
        return Document(name=str(path), tables=tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        what = f"configuration cannot be read ({error.strerror})"
        raise ConfigError(what, where=str(path), then="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML ({error})", where=str(path), then="correct it") from error


def builtin_layers(
    document: Document, workload: str, preset: str, problems: list[Problem]
) -> list[Layer]:
    """Return defaults and presets for `workload`; every other preset is checked, too.

    A preset that is broken is a problem in the file, whoever asks for which.
    """
    for key in document.tables.keys() - set(_TABLES):
        problems.append(unknown_key(key, document.name, _TABLES))
    # Broken tables are found when they are written, not when somebody first asks for them.
    presets = _by_workload(document, "presets", problems)
    chosen = [name for name in (DEFAULT_PRESET, preset) if (workload, name) in presets]
    if (workload, preset) not in presets:
        problems.append(_unknown_preset(preset, [n for w, n in presets if w == workload]))
    for (owner, name), layer in presets.items():
        if owner != workload or name not in chosen:
            convert_table(layer, option_types(), problems)
    place = f"{document.name} [defaults]"
    defaults = _tables(document.tables.get("defaults", {}), place, problems)
    # Unique names keep `default` from being applied, and reported, twice.
    selected = [presets[workload, name] for name in dict.fromkeys(chosen)]
    return [Layer(place=f"{place} {{key}}", values=defaults), *selected]


def user_layer(document: Document, problems: list[Problem]) -> Layer:
    """Return the options of the user's file: all its keys but the profiles."""
    for key in ("defaults", "presets"):
        if key in document.tables:
            place, then = f"{document.name} [{key}]", "write the options alone, above any table"
            problems.append(Problem(what="not read here", where=place, then=then))
    values = {key: value for key, value in document.tables.items() if key not in _TABLES}
    return Layer(place=f"{document.name} {{key}}", values=values)


def profiles_of(document: Document, workload: str, problems: list[Problem]) -> dict[str, Profile]:
    """Return name -> profile for `workload`; those of other workloads are checked, too."""
    profiles: dict[str, Profile] = {}
    for (owner, name), layer in _by_workload(document, "profiles", problems).items():
        profile = parse_profile(name, layer, problems)
        if profile is not None and owner == workload:
            profiles[name] = profile
    return profiles


def _by_workload(
    document: Document, kind: str, problems: list[Problem]
) -> dict[tuple[str, str], Layer]:
    """Return (workload, name) -> layer of the tables `[kind.WORKLOAD.NAME]`."""
    layers: dict[tuple[str, str], Layer] = {}
    top = f"{document.name} [{kind}"
    for owner, tables in _tables(document.tables.get(kind, {}), f"{top}]", problems).items():
        if owner not in WORKLOADS:
            problems.append(unknown_key(owner, f"{top}.{owner}]", WORKLOADS))
            continue
        for name, values in _tables(tables, f"{top}.{owner}]", problems).items():
            place = f"{top}.{owner}.{name}]"
            table = _tables(values, place, problems)
            layers[owner, name] = Layer(place=f"{place} {{key}}", values=table)
    return layers


def _tables(value: Any, place: str, problems: list[Problem]) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    problems.append(Problem(what="not a table", where=place, then="write it as a TOML table"))
    return {}


def _unknown_preset(preset: str, known: list[str]) -> Problem:
    near = nearest(preset, known)
    then = f"did you mean {near}?" if near else f"use one of {', '.join(known)}"
    return Problem(what=f"unknown preset {preset!r}", where="--preset", then=then)
