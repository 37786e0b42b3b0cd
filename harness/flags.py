"""The flags of every verb that runs a workload: one for each option, and what brings in files."""

import argparse
from collections.abc import Iterable
from typing import Any, Final

from harness.options import Layer, Problem, option_types

# Option -> (what stands for its value, what it does). No value: a switch.
_FLAGS: Final[dict[str, tuple[str | None, str]]] = {
    "data": ("DIR", "the storage under test: data sets live below, or it is one of yours"),
    "results": ("DIR", "where results go"),
    "checkpoint": ("DIR|none", "where the checkpoint goes (DATA/checkpoint)"),
    "size": ("SIZE", "of the data set: 16GB, 16GiB or bytes"),
    "format": ("NAME", "of dlrm's files: text, npz or bin"),
    "law": ("NAME", "of the sizes of the files"),
    "entropy": ("NAME", "natural, incompressible for arrays that reduce data, or holes"),
    "compression": ("NAME", "of dlrm npz: deflate or stored"),
    "min_files": ("N", "of bert: shorten files so that there are as many"),
    "loader": ("native|tfdata", "of bert: reads as tf.data does, or is tf.data"),
    "seed": ("INT", "of data, order and step times"),
    "processes": ("N", "that generate data; 0 for one on each core"),
    "accelerators": ("N", "how many ask for batches, each with a rank of its own"),
    "accelerator": ("emulated|tensorflow", "take a profile's time, or train a model for real"),
    "gpus": (None, "of tensorflow: train on GPUs, one each, not on the processor"),
    "profile": ("NAME", "which accelerator is emulated: how long a step takes"),
    "batch_size": ("N", "samples per accelerator and step (the profile's own)"),
    "epochs": ("N", "how often training goes through the data"),
    "steps": ("N", "of an epoch; 0 for as many as go through the data once"),
    "pipelines": ("N", "of bert: 1 reads for all accelerators, 0 for one each"),
    "warmup_epochs": ("N", "of these, left out of the figures"),
    "eval_from": ("N", "first epoch followed by evaluation, 0 for none (half of the epochs)"),
    "eval_every": ("N", "epochs from one evaluation to the next"),
    "eval_every_steps": ("N", "of dlrm: evaluate within an epoch, too, after so many steps"),
    "loader_workers": ("N", "readers of a rank; 0 reads between the steps"),
    "prefetch_batches": ("N", "that each loader worker reads ahead"),
    "shuffle": ("none|batches", "of dlrm bin: rows in their order, or batches in a random one"),
    "buffer": ("fresh|reuse", "allocate for each file as the reference does, or keep buffers"),
    "cache": ("cold|once|warm|asis", "evict before every epoch, before the run, fill, or leave"),
    "checkpoint_bytes": ("SIZE", "of the checkpoint"),
    "memory": ("SIZE|none", "limit of the training, page cache included"),
    "engine": ("auto|docker|local", "containers, or plain processes"),
    "image_archive": ("FILE|none", "base image, where no registry can be reached"),
    "repeat": ("N", "runs, with seeds SEED, SEED+1, ... of order and step times; one data set"),
    "require_steps": ("N", "of an epoch at least, or the data set is refused"),
    "require_memory_times": ("X", "training data of at least X times the memory, or it is refused"),
    "require_au": ("X|none", "exit with 20 when AU is below X (0 to 1)"),
    "max_duration": ("SECONDS|none", "end training with exit code 10 after so long"),
    "ceiling": ("true|false", "measure afterwards what this client does over cached data"),
    "stall": ("SECONDS|none", "end training with exit code 10 when nothing moves for so long"),
    "extrapolate": (None, "use the profile outside the range it was measured in"),
    "dry_run": (None, "say what would be done, and stop"),
    "json": (None, "events as JSON lines on standard output"),
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add every option, `--preset`, `--set` and `--config`; what is not given stays None.

    Values stay text: `harness.config.resolve` checks them all and shows all problems at once.
    """
    files = parser.add_argument_group("where settings come from")
    files.add_argument("--preset", metavar="NAME", help="a named set of options in feedrate.toml")
    files.add_argument("--config", metavar="FILE", help="TOML with options of your own")
    files.add_argument(
        "--set", metavar="KEY=VALUE", action="append", help="one option by its name; repeatable"
    )
    add_options(parser, _FLAGS)


def add_options(parser: argparse.ArgumentParser, keys: Iterable[str]) -> None:
    """Add the flags of these options alone."""
    options = parser.add_argument_group("options (defaults in feedrate.toml)")
    for key in keys:
        metavar, text = _FLAGS[key]
        flag = f"--{key.replace('_', '-')}"
        # None tells "not given" from a value, also for switches: defaults live in the file.
        if metavar is None:
            options.add_argument(flag, action="store_true", default=None, help=text)
        else:
            options.add_argument(flag, metavar=metavar, help=text)


def flag_layers(namespace: argparse.Namespace, problems: list[Problem]) -> tuple[Layer, Layer]:
    """Return what flags and what `--set` gave; `problems` receives what contradicts itself."""
    given: dict[str, Any] = {
        key: value for key in option_types() if (value := getattr(namespace, key, None)) is not None
    }
    assigned: dict[str, str] = {}
    for text in getattr(namespace, "set", None) or ():
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            then = "write --set key=value"
            problems.append(Problem(what="not an assignment", where=f"--set {text}", then=then))
        # Which of the two was meant cannot be known.
        elif key in given or key in assigned:
            then = "give it once"
            problems.append(Problem(what=f"{key} is given twice", where=f"--set {text}", then=then))
        else:
            assigned[key] = value
    return (
        Layer(place="--{flag}", values=given, is_text=True),
        Layer(place="--set {key}", values=assigned, is_text=True),
    )
