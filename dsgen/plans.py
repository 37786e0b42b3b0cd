"""From the parameters in a manifest or a journal back to the layout, where this version has it."""

from pathlib import Path

from dsgen.choices import Wanted, refusals
from dsgen.layout import Layout, Parameters
from dsgen.source import FORMAT_VERSION, read_source
from dsgen.workloads import WORKLOADS, layout_of
from dsgen.workloads.sources import SOURCES


def unknown_choice(parameters: Parameters) -> str | None:
    """Return what of the parameters this version does not know, and so cannot plan."""
    if parameters.workload not in WORKLOADS:
        return f"unknown workload {parameters.workload!r}"
    if parameters.origin != "generate":
        known = parameters.format in SOURCES[parameters.workload]
        return None if known else f"unknown format {parameters.format!r}"
    wanted = Wanted(
        format=parameters.format,
        law=parameters.law,
        entropy=parameters.entropy,
        compression=parameters.compression,
        min_files=parameters.min_files,
    )
    offered = WORKLOADS[parameters.workload].FORMATS
    refused = next(refusals(parameters.workload, offered, wanted), None)
    return refused.what if refused else None


def is_current(parameters: Parameters) -> bool:
    """Say whether this version would make the same bytes of known parameters."""
    if parameters.origin == "generate":
        return parameters.format_version == WORKLOADS[parameters.workload].FORMAT_VERSION
    return parameters.format_version == FORMAT_VERSION


def planned(parameters: Parameters, directory: Path) -> Layout:
    """Return the layout of the data set, drawn or scaled, that is or will be in `directory`.

    Raises:
        DataSetError: it was scaled, and the listing of its input is missing or malformed.
        PathError: the listing cannot be read.
    """
    if parameters.origin == "generate":
        return layout_of(parameters)
    source = read_source(directory)
    return SOURCES[parameters.workload][parameters.format].scaled(source, parameters)
