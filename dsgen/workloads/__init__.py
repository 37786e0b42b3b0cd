"""The workloads: what each data set looks like. One module and one line here for each."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import UsageError
from dsgen.layout import Layout, PlannedFile
from dsgen.workloads import imseg


class Workload(Protocol):
    """A data set's kind, implemented by a module.

    `LAWS` and `FORMATS` name the choices, the first of each is the default. `FORMAT_VERSION`
    rises whenever the same parameters would give other bytes.
    """

    @property
    def FORMAT_VERSION(self) -> int: ...  # noqa: N802, D102
    @property
    def FORMATS(self) -> tuple[str, ...]: ...  # noqa: N802, D102
    @property
    def LAWS(self) -> tuple[str, ...]: ...  # noqa: N802, D102

    def plan(self, *, size_bytes: int, law: str, seed: int) -> Layout:
        """Return the files of the smallest data set of at least `size_bytes`."""

    def blocks(
        self, layout: Layout, file: PlannedFile, segment: int
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the bytes of one segment, in order, in blocks of about a MiB.

        A block may be overwritten as soon as the next one is asked for.
        """


WORKLOADS: Final[dict[str, Workload]] = {"imseg": imseg}


def workload(name: str) -> Workload:
    """Return the workload called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in WORKLOADS:
        known = ", ".join(WORKLOADS)
        raise UsageError("unknown workload", where=repr(name), then=f"use one of {known}")
    return WORKLOADS[name]


@lru_cache(maxsize=4)  # a layout of thousands of files is asked for more than once
def plan(name: str, *, size_bytes: int, law: str | None, seed: int) -> Layout:
    """Return the layout of a data set; `law` None is the workload's default.

    Raises:
        UsageError: unknown workload or law, or a negative seed.
    """
    kind = workload(name)
    law = law or kind.LAWS[0]
    if law not in kind.LAWS:
        then = f"{name} has the laws {', '.join(kind.LAWS)}"
        raise UsageError("unknown law", where=repr(law), then=then)
    if seed < 0:
        raise UsageError("a seed is not negative", where=str(seed), then="give 0 or more")
    return kind.plan(size_bytes=size_bytes, law=law, seed=seed)
