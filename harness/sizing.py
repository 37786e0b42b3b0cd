"""Whether a data set is as large as the rules of a preset want it, and how large that would be."""

import math

import psutil

from dsgen.errors import DataSetError
from dsgen.manifest import Manifest
from dsgen.size import format_size
from harness.config import Config
from harness.worker.workload import Reading

_GB = 10**9
# Steps of an epoch are whole ones, and ranks have unequal shares.
_MARGIN = 1.01


def check_size(config: Config, manifest: Manifest, reading: Reading) -> None:
    """Compare a data set, also one that is still to be made, with `require_steps` and `_memories`.

    Raises:
        DataSetError: it is too small, with the size that would do.
    """
    problems = [*_of_steps(config, reading), *_of_memory(config, manifest)]
    if not problems:
        return
    if config.steps:
        then = "leave --steps out"
    else:
        then = f"use --size {_enough(config, manifest, reading):,}GB or more".replace(",", "")
    raise DataSetError("; ".join(problems), where=config.preset or "the configuration", then=then)


def _of_steps(config: Config, reading: Reading) -> list[str]:
    if reading.steps_per_epoch >= config.require_steps:
        return []
    steps = f"{reading.steps_per_epoch:,} step{'' if reading.steps_per_epoch == 1 else 's'}"
    return [f"{steps} in an epoch, where {config.require_steps:,} are asked for"]


def _of_memory(config: Config, manifest: Manifest) -> list[str]:
    asked_bytes = _memories_bytes(config)
    if _train_bytes(manifest) >= asked_bytes:
        return []
    times = f"{config.require_memories:g} times the memory of {format_size(_memory_bytes(config))}"
    return [f"{format_size(_train_bytes(manifest))} of training data, where {times} is asked for"]


def _enough(config: Config, manifest: Manifest, reading: Reading) -> int:
    """Return a size in GB that would do, evaluation files included where it counts them."""
    train_bytes = _train_bytes(manifest)
    samples = config.require_steps * config.batch_size * config.accelerators
    by_steps = samples * train_bytes / (reading.train_samples or math.inf)
    share = manifest.data_bytes / train_bytes
    return math.ceil(max(by_steps, _memories_bytes(config)) * share * _MARGIN / _GB)


def _memories_bytes(config: Config) -> float:
    return config.require_memories * _memory_bytes(config)


def _memory_bytes(config: Config) -> int:
    return config.memory_bytes or psutil.virtual_memory().total


def _train_bytes(manifest: Manifest) -> int:
    return sum(file.bytes for file in manifest.files if file.role == "train")
