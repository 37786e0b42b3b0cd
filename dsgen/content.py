"""Where the bytes of a data set come from: its workload draws them, or files have them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from dsgen.holes import HoleSink, holes_bytes
from dsgen.journal import Written
from dsgen.layout import Layout, PlannedFile, Segment
from dsgen.manifest import Allocation
from dsgen.sink import SegmentSink
from dsgen.workloads import WORKLOADS, Blocks


class Sink(Protocol):
    """Takes segments, one after the other; each process has one."""

    def write(self, path: Path, file: int, segment: Segment, blocks: Blocks) -> Written:
        """Write one segment into its range of `path`."""

    def flush(self) -> None:
        """Return when every segment that was written is on the device."""


class Content(Protocol):
    """What `write` needs of it."""

    @property
    def task(self) -> str:
        """What is done, as progress says it."""

    def begin(self, directory: Path) -> None:
        """Keep beside the data what the layout can be made from again, before the first byte."""

    def takes_room(self, layout: Layout, file: PlannedFile) -> bool:
        """Say whether a file's bytes need blocks of their own."""

    def sink(self, layout: Layout) -> Sink:
        """Return a new sink, in the process that uses it."""

    def blocks(
        self, layout: Layout, file: PlannedFile, segment: int, digests: Mapping[int, int], /
    ) -> Blocks:
        """Yield the bytes of one segment, as `Workload.blocks` does."""

    def check(self, layout: Layout, written: Iterable[Written]) -> None:
        """Look at all that was written once more, before it becomes a data set."""

    def allocation(self, layout: Layout, directory: Path) -> Allocation:
        """Return how far the files have the device's blocks to themselves."""


class Drawn:
    """Content that the workload draws."""

    task = "generate"

    def begin(self, _: Path) -> None:
        """Keep nothing: the parameters say it all."""

    def takes_room(self, layout: Layout, _: PlannedFile) -> bool:
        """Say that every file's do, unless they are holes."""
        return not _is_holes(layout)

    def sink(self, layout: Layout) -> Sink:
        """Return a sink that writes."""
        return HoleSink(layout) if _is_holes(layout) else SegmentSink()

    def blocks(
        self, layout: Layout, file: PlannedFile, segment: int, digests: Mapping[int, int], /
    ) -> Blocks:
        """Yield what the workload draws."""
        blocks = WORKLOADS[layout.parameters.workload].blocks
        return blocks(layout, file, segment, digests)

    def check(self, _: Layout, __: Iterable[Written]) -> None:
        """Look at nothing: there is nothing to compare with."""

    def allocation(self, layout: Layout, directory: Path) -> Allocation:
        """Return that they do, where every byte was written, into files of our own."""
        holes = _is_holes(layout)
        paths = [directory / file.path for file in layout.files] if holes else []
        return Allocation(holes_bytes=holes_bytes(paths), shared_bytes=0)


def _is_holes(layout: Layout) -> bool:
    return layout.parameters.entropy == "holes"
