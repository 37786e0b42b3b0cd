"""dlrm: click logs as the reference prepares and trains on them, in three formats.

`text` is the raw log, `npz` a day a file, `bin` the rows that training seeks in. Each is a module
of its own; what they share is the law of the columns.
"""

from collections.abc import Generator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen.choices import Choices
from dsgen.holes import zeros
from dsgen.layout import Layout, Link, Parameters, PlannedFile
from dsgen.workloads import dlrm_bin, dlrm_counts, dlrm_npz, dlrm_text

FORMAT_VERSION: Final = 2
_LAWS: Final = ("criteo",)
FORMATS: Final = {
    "text": Choices(laws=_LAWS, entropies=("natural", "incompressible")),
    "npz": Choices(
        laws=_LAWS,
        entropies=("natural", "incompressible"),
        compressions=("deflate", "stored"),
    ),
    "bin": Choices(laws=_LAWS, entropies=("natural", "incompressible", "holes")),
}


def plan(parameters: Parameters) -> Layout:
    """Return the files of one format: as few rows as reach the size."""
    size_bytes, entropy = parameters.size_requested_bytes, parameters.entropy
    links: tuple[Link, ...] = ()
    if parameters.format == "text":
        files = dlrm_text.files(size_bytes, parameters.seed)
    elif parameters.format == "npz":
        files = dlrm_npz.files(size_bytes, parameters.compression, entropy)
    else:
        files, links = dlrm_bin.files(size_bytes), dlrm_bin.LINKS
    return Layout(parameters=parameters, files=tuple(files), links=links)


def blocks(
    layout: Layout, file: PlannedFile, segment: int, digests: Mapping[int, int], /
) -> Generator[NDArray[np.uint8], None, int | None]:
    """Return the bytes of one segment."""
    wanted = layout.parameters
    if file.role == "sidecar":
        return dlrm_counts.blocks(layout, file)
    natural = wanted.entropy == "natural"
    if wanted.format == "text":
        return dlrm_text.blocks(file, segment, wanted.seed, natural=natural)
    if wanted.entropy == "holes":  # a row of zeros is a valid one
        return zeros(file.segment(segment).bytes)
    if wanted.format == "bin":
        return dlrm_bin.blocks(file, segment, wanted.seed, natural=natural)
    return dlrm_npz.blocks(layout, file, segment, digests)
