"""From a user's data set to a larger one below DATA, in the chosen engine."""

from dataclasses import dataclass
from pathlib import Path

from dsgen.__main__ import available_processes
from dsgen.input import Input, check_apart, find_input
from dsgen.scale import Mode, check_size
from dsgen.size import echo_size
from dsgen.workloads.sources import SOURCES
from harness.config import Config
from harness.dataset import size_in_name
from harness.run import make
from harness.setting import Setting
from harness.target import inspect_target


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """What is to be scaled, and how.

    Args:
        path: of the input, absolute, without links: a directory, or a file of dlrm.
        found: what is there.
        mode: of `dsgen scale`.
        directory: where the scaled data set will be.
    """

    path: Path
    found: Input
    mode: Mode
    directory: Path


def plan_scaling(config: Config, path: Path, mode: Mode) -> Scaling:
    """Return the scaling of what is at `path`: different parameters never meet in one place.

    Within DATA: WORKLOAD-FORMAT-SIZE-MODE-of-CRC, then -sSEED where it has a say. CRC is that of
    the input's names, sizes and times.

    Raises:
        DataSetError: no data set of the workload is at `path`.
        PathError: the file system below DATA is too small.
        TargetError: a name on the way to the input cannot stand in a message.
        UsageError: the output would lie in the input, or the input in the output.
    """
    path = path.resolve()
    found = find_input(path, config.workload)
    inspect_target(found.root, to_write=False)
    source, size = found.source, size_in_name(config.size_bytes)
    parts = [config.workload, source.format, size, mode, "of", source.crc32c]
    if mode == "augment":
        parts.append(f"s{config.seed}")
    directory = config.data / "-".join(parts)
    check_apart(path, directory.resolve())
    check_size(found, mode, config.size_bytes, config.data)
    return Scaling(path=path, found=found, mode=mode, directory=directory)


def scaling_lines(config: Config, scaling: Scaling) -> list[str]:
    """Return what will be read, and where what is made of it goes."""
    source = scaling.found.source
    taken = sum(file.bytes for file in source.files if file.role != "sidecar")
    return [
        f"size    {echo_size(config.size_bytes)}",
        f"input   {scaling.path}: {source.workload} {source.format}, {taken:,} bytes in "
        f"{len(source.files):,} files",
        f"data    {scaling.directory}: by {scaling.mode}",
    ]


def layout_line(config: Config, scaling: Scaling) -> str:
    """Return what the data set will consist of; for npz a day has to be read for it.

    Raises:
        DataSetError: the input cannot be read, or changes meanwhile.
    """
    found = scaling.found
    parameters = found.parameters(mode=scaling.mode, size_bytes=config.size_bytes, seed=config.seed)
    kind = SOURCES[config.workload][found.source.format]
    processes = config.processes or available_processes()
    source = kind.cut(found.root, found.source, parameters, processes)
    layout = kind.scaled(source, parameters)
    return (
        f"layout  {len(layout.files):,} files, {layout.data_bytes:,} bytes, and "
        f"{layout.sidecar_bytes:,} beside"
    )


def scale(setting: Setting, scaling: Scaling) -> None:
    """Make the scaled data set, or find it made.

    Raises:
        JobError: it failed, with its exit code.
        TargetError: a directory cannot be made.
    """
    found = scaling.found
    # A file may be a link to another place, which a container has to see as well.
    real = {(found.root / file.path).resolve().parent for file in found.source.files}
    arguments = ("--input", str(scaling.path), "--mode", scaling.mode)
    make(setting, "scale", scaling.directory, arguments, inputs=sorted({found.root, *real}))
