"""The workloads: what each data set looks like. One module and one line here for each."""

from collections.abc import Generator, Mapping
from functools import lru_cache
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dsgen.choices import DEFAULTS, Choices, Wanted, default_format, refusals
from dsgen.errors import UsageError
from dsgen.layout import Compression, Entropy, Layout, Parameters, PlannedFile
from dsgen.workloads import bert, dlrm, imseg

# The bytes of one segment; what the generator returns at its end is the segment's digest.
Blocks = Generator[NDArray[np.uint8], None, int | None]


class Workload(Protocol):
    """A data set's kind, implemented by a module.

    `FORMATS` says what can be chosen. `FORMAT_VERSION` rises whenever the same parameters would
    give other bytes.
    """

    @property
    def FORMAT_VERSION(self) -> int: ...  # noqa: N802, D102
    @property
    def FORMATS(self) -> Mapping[str, Choices]: ...  # noqa: N802, D102

    def plan(self, parameters: Parameters) -> Layout:
        """Return the files of the smallest data set of at least the requested size."""

    def blocks(
        self, layout: Layout, file: PlannedFile, segment: int, digests: Mapping[int, int], /
    ) -> Blocks:
        """Yield the bytes of one segment, in order, in blocks of about a MiB.

        A block may be overwritten as soon as the next one is asked for. A file with closing
        segments has a digest of every other segment: what its generator returned. Only for a
        closing segment `digests` has them.
        """


WORKLOADS: Final[dict[str, Workload]] = {"imseg": imseg, "bert": bert, "dlrm": dlrm}


def workload(name: str) -> Workload:
    """Return the workload called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in WORKLOADS:
        known = ", ".join(WORKLOADS)
        raise UsageError("unknown workload", where=repr(name), then=f"use one of {known}")
    return WORKLOADS[name]


def plan(name: str, *, size_bytes: int, seed: int, wanted: Wanted = DEFAULTS) -> Layout:
    """Return the layout of a data set.

    Raises:
        UsageError: unknown workload, a wish that it does not offer, or a negative seed.
    """
    kind = workload(name)
    for refusal in refusals(name, kind.FORMATS, wanted):
        raise UsageError(refusal.what, where=name, then=refusal.then)
    if seed < 0:
        raise UsageError("a seed is not negative", where=str(seed), then="give 0 or more")
    format_ = wanted.format or default_format(kind.FORMATS)
    assert format_ is not None  # refused above
    offered = kind.FORMATS[format_]
    return layout_of(
        Parameters(
            workload=name,
            format=format_,
            format_version=kind.FORMAT_VERSION,
            law=wanted.law or offered.laws[0],
            seed=seed,
            size_requested_bytes=size_bytes,
            entropy=cast(Entropy, wanted.entropy or offered.entropies[0]),
            compression=cast(Compression, wanted.compression or offered.compressions[0]),
            min_files=wanted.min_files,
        )
    )


@lru_cache(maxsize=4)  # a layout of thousands of files is asked for more than once
def layout_of(parameters: Parameters) -> Layout:
    """Return the layout that `parameters` determine."""
    return WORKLOADS[parameters.workload].plan(parameters)
