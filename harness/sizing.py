"""Whether a data set is as large as the rules of a preset want it, and how large that would be."""

import math

import msgspec

from dsgen.errors import DataSetError
from dsgen.layout import COUNTED
from dsgen.manifest import Manifest
from dsgen.size import format_size
from harness.config import Config
from harness.dataset import planned_manifest

_GB = 10**9
# Steps of an epoch are whole ones, and ranks have unequal shares.
_MARGIN = 1.01


def check_size(
    config: Config, manifest: Manifest, *, memory_bytes: int, steps: int | None = None
) -> None:
    """Compare a data set, also one that is still to be made, with what is required.

    Args:
        config: with what is required.
        manifest: of the data set.
        memory_bytes: that the run can have.
        steps: of an epoch, where they are known; else as many as its samples allow.

    Raises:
        DataSetError: it is too small, with the size that would do.
    """
    problems = [*_of_steps(config, manifest, steps), *_of_memory(config, manifest, memory_bytes)]
    if not problems:
        return
    enough = math.ceil(_enough_bytes(config, manifest, memory_bytes) / _GB)
    # A data set of a sample or two does not have the shares of a larger one.
    planned = planned_manifest(msgspec.structs.replace(config, size_bytes=enough * _GB))
    enough = max(enough, math.ceil(_enough_bytes(config, planned, memory_bytes) / _GB))
    then = f"use --size {enough}GB or more"
    if 0 < config.steps < config.require_steps:
        then = "leave --steps out"
    raise DataSetError("; ".join(problems), where=config.preset or "the configuration", then=then)


def _of_steps(config: Config, manifest: Manifest, known: int | None) -> list[str]:
    steps = known
    if steps is None:
        if COUNTED in (file.samples for file in manifest.files):
            return []
        steps = config.steps or manifest.samples_train // _step_samples(config)
    if steps >= config.require_steps:
        return []
    some = f"{steps:,} step{'' if steps == 1 else 's'}"
    return [f"{some} in an epoch, where {config.require_steps:,} are asked for"]


def _of_memory(config: Config, manifest: Manifest, memory_bytes: int) -> list[str]:
    if _train_bytes(manifest) >= config.require_memory_times * memory_bytes:
        return []
    times = f"{config.require_memory_times:g} times the memory of {format_size(memory_bytes)}"
    return [f"{format_size(_train_bytes(manifest))} of training data, where {times} is asked for"]


def _enough_bytes(config: Config, manifest: Manifest, memory_bytes: int) -> float:
    """Return a size that would do, evaluation files included where it counts them."""
    train_bytes = _train_bytes(manifest)
    samples = config.require_steps * _step_samples(config)
    by_steps = samples * train_bytes / max(1, manifest.samples_train)
    if config.steps or manifest.samples_train <= 0:
        by_steps = 0.0
    share = manifest.data_bytes / max(1, train_bytes)
    return max(by_steps, config.require_memory_times * memory_bytes) * share * _MARGIN


def _step_samples(config: Config) -> int:
    return config.batch_size * config.accelerators


def _train_bytes(manifest: Manifest) -> int:
    return sum(file.bytes for file in manifest.files if file.role == "train")
