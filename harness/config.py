"""The configuration of a run: defaults, a preset, the user's file and flags become one value."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import msgspec

from dsgen.choices import Wanted, refusals
from dsgen.workloads import WORKLOADS
from harness.document import (
    DEFAULT_PRESET,
    Document,
    builtin_layers,
    find_builtin,
    profiles_of,
    read_document,
    user_layer,
)
from harness.errors import ConfigError
from harness.flags import flag_layers
from harness.options import (
    PLAIN_ADVICE,
    Layer,
    Options,
    Problem,
    is_plain,
    merge_layers,
    nearest,
    option_types,
    user_path,
)
from harness.profiles import Profile, covers, step_time
from harness.worker.spec import StepTime

# In no file: each follows from other options where it is not set.
_DERIVED: Final = frozenset({"checkpoint", "batch_size", "eval_from"})
_WANTED: Final = tuple(field.name for field in fields(Wanted))
_PREPARED: Final = ("dlrm", "text")  # read before training, which has nothing to evaluate then
_PATHS: Final = ("data", "results", "checkpoint", "image_archive")


class Config(Options, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every option with its value, and what follows from them.

    `device` and `step_time` are of emulated accelerators; others have neither, nor a `profile`.
    """

    workload: str
    preset: str
    device: Profile | None
    step_time: StepTime | None
    extrapolated: bool

    @property
    def wanted(self) -> Wanted:
        """What the data set shall be, beside its size and seed."""
        return _wanted({name: getattr(self, name) for name in _WANTED})


def resolve(workload: str, namespace: argparse.Namespace, cwd: Path) -> Config:
    """Return the configuration of `workload` for flags that `harness.flags.add_flags` defined.

    Args:
        workload: name in `dsgen.workloads.WORKLOADS`.
        namespace: what argparse made of them.
        cwd: absolute; where relative paths start and feedrate.toml is looked for first.

    Raises:
        ConfigError: with every problem found, a line each.
    """
    builtin = read_document(find_builtin(cwd))
    own: str | None = getattr(namespace, "config", None)
    problems: list[Problem] = []
    flags = flag_layers(namespace, problems)
    return build_config(
        workload,
        builtin,
        user=None if own is None else read_document(cwd / flag_path("config", own)),
        flags=flags,
        preset=getattr(namespace, "preset", None) or DEFAULT_PRESET,
        cwd=cwd,
        problems=problems,
    )


def flag_path(name: str, text: str) -> Path:
    """Return the path that a flag which is no option gave.

    Raises:
        ConfigError: it is none.
    """
    try:
        return user_path(text)
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}", where=f"--{name}", then=str(error)) from error


def checkpoint_below(data: Path) -> Path:
    """Return where the checkpoint goes unless another place is named."""
    return data / "checkpoint"


def build_config(
    workload: str,
    builtin: Document,
    *,
    cwd: Path,
    user: Document | None = None,
    flags: Sequence[Layer] = (),
    preset: str = DEFAULT_PRESET,
    problems: Sequence[Problem] = (),
) -> Config:
    """Return the configuration that files and flags give, without looking at the machine.

    Args:
        workload: name in `dsgen.workloads.WORKLOADS`.
        builtin: defaults, presets and profiles.
        cwd: absolute; where relative paths start.
        user: options without a table, and profiles.
        flags: layers above the files, later ones above earlier ones.
        preset: one of the workload's presets.
        problems: found before.

    Raises:
        ConfigError: with every problem found, a line each.
    """
    if workload not in WORKLOADS:
        then = f"use one of {', '.join(WORKLOADS)}"
        raise ConfigError("unknown workload", where=repr(workload), then=then)
    found = list(problems)
    layers = builtin_layers(builtin, workload, preset, found)
    own = [*([user_layer(user, found)] if user else []), *flags]
    values, places = merge_layers([*layers, *own], found)
    found += _missing(places, builtin)
    # The user's profiles come last: one of the same name is meant to take the other's place.
    profiles: dict[str, Profile] = {}
    for document in (builtin, user) if user else (builtin,):
        profiles |= profiles_of(document, workload, found)
    device = _device(values, profiles, places, found)
    _derive(values, places, device, cwd, trains=(workload, values.get("format")) != _PREPARED)
    found += _not_plain(values, places)
    found += _contradictions(values, places, workload)
    if values.get("accelerator") == "tensorflow":
        device = None
        found += _meaningless(values, own)
    declared = _declared(values, device, found)
    if found:
        raise _config_error(found)
    within = device is None or covers(device, values["accelerators"], values["batch_size"])
    follows: dict[str, Any] = {"device": device, "step_time": declared, "extrapolated": not within}
    return Config(**values, **follows, workload=workload, preset=preset)


def config_json(config: Config) -> dict[str, Any]:
    """Return what goes to config.json: every value after defaults, units in the names."""
    values: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    return values


def config_notices(config: Config) -> list[str]:
    """Return the sentences about the accelerators that everything made with them has to say."""
    if config.device is None or config.step_time is None:
        return _computing_notices(config)
    notices = []
    if config.device.note:
        notices.append(f"Profile {config.profile}: {config.device.note}.")
    if config.extrapolated:
        notices.append(
            f"Profile {config.profile} is used outside the range it was measured in: "
            f"{config.accelerators} accelerators with batch size {config.batch_size} are "
            f"extrapolated to {config.step_time.mean_s:.4g} s a step."
        )
    return notices


def _computing_notices(config: Config) -> list[str]:
    notices = [
        "AU is of the time that TensorFlow takes for a small model, which is no device's figure "
        "for this workload."
    ]
    if not config.gpus:
        notices.append(
            "Steps are computed on this machine's processor, beside the readers: they take longer "
            "than an accelerator's, so that less is asked of the storage."
        )
    if config.eval_from:
        notices.append("Evaluation is read, and not computed.")
    return notices


def _missing(places: Mapping[str, str], builtin: Document) -> list[Problem]:
    then = "take the whole file that comes with Feedrate, and give your changes by --config"
    return [
        Problem(what=f"{key} is not set", where=builtin.name, then=then)
        for key, (field, _) in option_types().items()
        if field not in places.keys() | _DERIVED
    ]


def _device(
    values: Mapping[str, Any],
    profiles: Mapping[str, Profile],
    places: Mapping[str, str],
    problems: list[Problem],
) -> Profile | None:
    name: str | None = values.get("profile")
    if name is None:
        return None
    if name not in profiles:
        near = nearest(name, profiles)
        then = f"did you mean {near}?" if near else f"use one of {', '.join(profiles)}"
        what = f"unknown profile {name!r}"
        problems.append(Problem(what=what, where=places["profile"], then=then))
    return profiles.get(name)


def _derive(
    values: dict[str, Any],
    places: Mapping[str, str],
    device: Profile | None,
    cwd: Path,
    *,
    trains: bool,
) -> None:
    """Make paths absolute and fill in what was not set; a value that was refused stays absent."""
    for key in _PATHS:
        if values.get(key) is not None:
            path = cwd / values[key]
            # An engine mounts no path with "..", which may lead over a link, so it is resolved.
            values[key] = Path(os.path.realpath(path)) if ".." in path.parts else path
    # Below `data`, so that writing the checkpoint loads the storage under test, too.
    if "checkpoint" not in places and "data" in values:
        values["checkpoint"] = checkpoint_below(values["data"])
    if "batch_size" not in places and device is not None:
        values["batch_size"] = device.reference_batch
    # The reference starts to evaluate at half of its epochs (25 of 50, 10 of 20).
    if "eval_from" not in places and "epochs" in values:
        values["eval_from"] = (values["epochs"] + 1) // 2 if trains else 0


def _meaningless(values: dict[str, Any], own: Sequence[Layer]) -> list[Problem]:
    """Take away what only an emulation has; return the problem of each that was asked for."""
    given = {key: layer.where(key) for layer in own for key in layer.values}
    then = "leave it out, or use --accelerator emulated"
    problems = [
        Problem(what=f"{key} is of emulated accelerators", where=given[key], then=then)
        for key in ("profile", "extrapolate")
        if key in given and values.get(key)
    ]
    values["profile"], values["extrapolate"] = None, False
    return problems


def _not_plain(values: Mapping[str, Any], places: Mapping[str, str]) -> list[Problem]:
    """Return the paths that became unwritable by the working directory or by links."""
    return [
        Problem(what=f"{key} is {str(values[key])!r}", where=places[key], then=PLAIN_ADVICE)
        for key in _PATHS
        if key in places and values.get(key) is not None and not is_plain(str(values[key]))
    ]


def _contradictions(
    values: Mapping[str, Any], places: Mapping[str, str], workload: str
) -> list[Problem]:
    """Return the problems of values that are fine one by one; refused ones are left out."""
    problems: list[Problem] = []

    def refuse(field: str, what: str, then: str) -> None:
        problems.append(Problem(what=what, where=places[field], then=then))

    # Absent values compare as if they were fine: their own problem has been said already.
    epochs = values.get("epochs", float("inf"))
    evaluation, warmup = values.get("eval_from", 0), values.get("warmup_epochs", 0)
    for refusal in refusals(workload, WORKLOADS[workload].FORMATS, _wanted(values)):
        refuse(refusal.field, refusal.what, refusal.then)
    if evaluation > epochs:
        what = f"evaluation from epoch {evaluation} of {epochs} would never happen"
        refuse("eval_from", what, f"give 1 to {epochs}, or 0 for no evaluation")
    if values.get("pipelines") and workload != "bert":
        refuse("pipelines", f"{workload} has a fixed number of readers", "leave it out")
    if values.get("loader") == "tfdata" and workload != "bert":
        refuse("loader", f"{workload} does not read by tf.data", "leave it out")
    if values.get("eval_every_steps") and workload != "dlrm":
        what = f"{workload} is evaluated after epochs"
        refuse("eval_every_steps", what, "leave it out, and use --eval-every")
    if warmup >= epochs:
        what = f"{warmup} of {epochs} epochs are warm-up: none would be measured"
        refuse("warmup_epochs", what, f"stay below {epochs}")
    rows = workload == "dlrm" and values.get("format") in ("bin", None)
    if values.get("shuffle", "none") != "none" and not rows:
        what = "only dlrm's rows can be read in a random order of batches"
        refuse("shuffle", what, "leave it out, or use dlrm with --format bin")
    emulated = values.get("accelerator") == "emulated"
    if emulated and values.get("profile", "") is None:
        refuse("profile", "emulated accelerators have a profile", "name one")
    if emulated and values.get("gpus"):
        refuse("gpus", "emulated accelerators need no GPU", "add --accelerator tensorflow")
    if values.get("memory_bytes") and values.get("engine") == "local":
        what = "plain processes cannot be held to a memory limit"
        refuse("memory_bytes", what, "use the docker engine, or no limit")
    return problems


def _wanted(values: Mapping[str, Any]) -> Wanted:
    return Wanted(**{name: values[name] for name in _WANTED if name in values})


def _declared(
    values: Mapping[str, Any], device: Profile | None, problems: list[Problem]
) -> StepTime | None:
    needed = ("accelerators", "batch_size", "extrapolate")
    # Without all three the range cannot be judged, and the reason is among the problems.
    if device is None or any(key not in values for key in needed):
        return None
    accelerators, batch_size, extrapolate = (values[key] for key in needed)
    try:
        return step_time(device, accelerators, batch_size, extrapolate=extrapolate)
    except ConfigError as error:
        problems.append(Problem.of(error))
        return None


def _config_error(problems: Sequence[Problem]) -> ConfigError:
    errors = [ConfigError(found.what, where=found.where, then=found.then) for found in problems]
    if len(errors) == 1:
        return errors[0]
    return ConfigError(f"{len(errors)} problems in the configuration", lines=map(str, errors))
