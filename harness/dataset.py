"""Which data set a run is about: the configured one below DATA, or DATA itself, a user's own."""

from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import msgspec

from dsgen.described import manifest_of, unwritten
from dsgen.input import holds
from dsgen.layout import COUNTED, Layout
from dsgen.manifest import MANIFEST_NAME, Manifest, read_manifest
from dsgen.size import echo_size, format_size, parse_size
from dsgen.workloads import WORKLOADS, plan
from harness.config import Config, checkpoint_below
from harness.errors import ConfigError
from harness.worker.loading.tfrecords import OPEN_FILES


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """Where a data set is or will be.

    Args:
        directory: absolute.
        manifest: what it is; None where it is not there yet.
        is_own: whether DATA itself is the data set.
    """

    directory: Path
    manifest: Manifest | None = None
    is_own: bool = False


def planned(config: Config) -> Layout:
    """Return the layout of the configured data set."""
    return plan(
        config.workload, size_bytes=config.size_bytes, seed=config.seed, wanted=config.wanted
    )


def planned_manifest(config: Config) -> Manifest:
    """Return the manifest that the configured data set will have, without what only bytes tell."""
    return unwritten(planned(config))


def data_set_directory(config: Config) -> Path:
    """Return where the configured data set lives: different parameters never meet in one place.

    Within DATA: WORKLOAD-FORMAT-SIZE-LAW-sSEED, then what is not at its default.
    """
    parameters = planned(config).parameters
    size = size_in_name(config.size_bytes)
    parts = [config.workload, parameters.format, size, parameters.law, f"s{config.seed}"]
    offered = WORKLOADS[config.workload].FORMATS[parameters.format]
    for chosen, (default, *_) in (
        (parameters.entropy, offered.entropies),
        (parameters.compression, offered.compressions),
    ):
        if chosen != default:
            parts.append(chosen)
    if parameters.min_files:
        parts.append(f"min{parameters.min_files}")
    return config.data / "-".join(parts)


def size_in_name(size_bytes: int) -> str:
    """Return a size for a directory's name: short where that says all of it.

    >>> size_in_name(16_000_000_000), size_in_name(16_000_000_001)
    ('16GB', '16000000001B')
    """
    size = format_size(size_bytes).replace(" ", "")
    return size if parse_size(size) == size_bytes else f"{size_bytes}B"


def find_data_set(config: Config) -> DataSet:
    """Return the data set to train over: the configured one, else DATA itself where it is one.

    Raises:
        DataSetError: what is there is no data set that can be told.
    """
    directory = data_set_directory(config)
    if not directory.exists() and holds(config.data, config.workload):
        own = config.data.resolve()
        manifest = manifest_of(own, config.workload)
        return DataSet(directory=own, manifest=manifest, is_own=True)
    is_there = (directory / MANIFEST_NAME).exists()
    return DataSet(directory=directory, manifest=read_manifest(directory) if is_there else None)


def keep_apart(config: Config, data: DataSet) -> tuple[Config, tuple[str, ...]]:
    """Return the configuration that writes nothing into a user's own data set, and what to say.

    Raises:
        ConfigError: it was asked to write there.
    """
    if not data.is_own:
        return config, ()
    notices: tuple[str, ...] = ()
    if config.checkpoint == checkpoint_below(config.data):
        config = msgspec.structs.replace(config, checkpoint=None)
        notices = (
            "No checkpoint is written: by default it would go into the data set; "
            "--checkpoint names another place.",
        )
    for name, path in (("results", config.results), ("checkpoint", config.checkpoint)):
        if path is not None and path.resolve().is_relative_to(data.directory):
            what, then = f"the {name} would lie in the data set", f"name another --{name}"
            raise ConfigError(what, where=str(path), then=then)
    return config, notices


def data_lines(config: Config, data: DataSet) -> list[str]:
    """Return what the data set is, or will be before it is made."""
    if data.manifest is None:
        layout = planned(config)
        return [
            f"size    {echo_size(config.size_bytes)}",
            _data_line(
                data.directory,
                data_bytes=layout.data_bytes,
                files=len(layout.files),
                train=layout.samples("train"),
                evaluation=layout.samples("eval"),
            ),
        ]
    manifest = data.manifest
    line = _data_line(
        data.directory,
        data_bytes=manifest.data_bytes,
        files=len(manifest.files),
        train=manifest.samples_train,
        evaluation=manifest.samples_eval,
    )
    return [line, *_own_lines(config, data), *sharing_notices(manifest)]


def _data_line(directory: Path, *, data_bytes: int, files: int, train: int, evaluation: int) -> str:
    samples = (
        "samples not counted"
        if COUNTED in (train, evaluation)
        else f"{train:,} training and {evaluation:,} evaluation samples"
    )
    return f"data    {directory}: {data_bytes:,} bytes in {files} files, {samples}"


def _own_lines(config: Config, data: DataSet) -> list[str]:
    if not data.is_own:
        return []
    name = data_set_directory(config).name
    without = "" if (data.directory / MANIFEST_NAME).exists() else ", without a manifest"
    return [f"        DATA itself is the data set{without}: there is no {name} in it"]


def reading_notices(config: Config, training: Layout | Manifest) -> list[str]:
    """Return what is to be said where a data set cannot be read as the reference reads it."""
    if config.workload != "bert":
        return []
    pipelines = config.pipelines or config.accelerators
    files = sum(file.role == "train" for file in training.files)
    if files >= OPEN_FILES * pipelines:
        return []
    return [
        f"{pipelines} pipelines open {files} training files at the start; with as many as the "
        f"original has it would be {OPEN_FILES * pipelines} (--min-files)."
    ]


def counted_or_none(samples: int) -> int | None:
    """Return a number of samples, None where they were not counted."""
    return None if samples == COUNTED else samples


def content_crc32c(manifest: Manifest) -> str | None:
    """Return the CRC32C over names, sizes and checksums of the files, None where they are unknown.

    The manifest's own is of more than the bytes: a file system has its part in what blocks hold.
    """
    if any(file.crc32c is None for file in manifest.files):
        return None
    lines = (f"{file.path}\0{file.bytes}\0{file.crc32c}\n" for file in manifest.files)
    return f"{google_crc32c.value(''.join(lines).encode()):08x}"


def sharing_notices(manifest: Manifest) -> list[str]:
    """Return what is to be said of data that has no place, or not its own, on the device."""
    if manifest.parameters.entropy == "holes":
        return [
            "The data set is made of holes: it is for the calls alone that reading takes, and no "
            "storage is tested by it."
        ]
    shared_bytes = manifest.allocation.shared_bytes
    is_clone = manifest.parameters.origin == "clone"
    if not is_clone and not shared_bytes:
        return []
    amount = "unknown" if shared_bytes is None else f"{shared_bytes:,} bytes"
    return [
        f"The data set {'is a clone and ' if is_clone else ''}shares blocks with other files "
        f"({amount}). The device holds these once, and whatever caches or reduces by block may "
        "answer faster than for real data of this size."
    ]
