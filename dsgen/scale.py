"""Enlarge a user's data set: real bytes again, new samples like them, or their blocks shared.

The input is only read. What is made is a data set like any other: journalled, resumable, with a
manifest that says where it comes from. Its layout follows from the parameters and from the listing
of the input, which is kept beside it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from dsgen import augmented, copied
from dsgen.clone import CloneSink, allocation_of, check_cloneable, check_within, is_shared
from dsgen.content import Sink
from dsgen.directory import check_capacity, check_inodes
from dsgen.errors import DataSetError, ExitCode, UsageError
from dsgen.events import Emit, notice
from dsgen.input import Input, check_apart, find_input, held
from dsgen.journal import Written, read_journal
from dsgen.layout import COUNTED, Layout, Parameters, PlannedFile
from dsgen.manifest import MANIFEST_NAME, Allocation, read_manifest
from dsgen.sink import SegmentSink
from dsgen.size import echo_size
from dsgen.source import Source, read_source, write_source
from dsgen.workloads import Blocks, dlrm_counts, dlrm_cut
from dsgen.workloads.sources import SOURCES
from dsgen.write import generate

Mode = Literal["copy", "augment", "clone"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaled:
    """The content of a scaled data set; see `dsgen.content.Content`."""

    root: Path
    source: Source

    @property
    def task(self) -> str:
        """What progress says."""
        return "scale"

    def begin(self, directory: Path) -> None:
        """Keep the listing of the input, unless it is there."""
        with suppress(DataSetError):
            if read_source(directory) == self.source:
                return
        write_source(directory, self.source)

    def takes_room(self, layout: Layout, file: PlannedFile) -> bool:
        """Say whether a file is written, or shares blocks."""
        return layout.parameters.origin != "clone" or not is_shared(file)

    def sink(self, layout: Layout) -> Sink:
        """Return a sink that writes, or one that shares blocks where it can."""
        if layout.parameters.origin == "clone":
            return CloneSink(self.root, layout, self.source)
        return SegmentSink()

    def blocks(
        self, layout: Layout, file: PlannedFile, segment: int, digests: Mapping[int, int], /
    ) -> Blocks:
        """Return the bytes of one segment."""
        parameters = layout.parameters
        if file.role == "sidecar":
            return dlrm_counts.blocks(layout, file, self.source.counts)
        if dlrm_cut.is_made(file):
            return dlrm_cut.blocks(self.root, self.source, parameters, file, segment, digests)
        if parameters.origin == "augment":
            return augmented.blocks(self.root, self.source, file, segment, parameters.seed)
        return copied.blocks(self.root, self.source.files[file.key], file, segment)

    def check(self, layout: Layout, written: Iterable[Written]) -> None:
        """Compare what was read of the same place at different times, or volumes made of it.

        Raises:
            DataSetError: the input changed meanwhile, although its files' times did not, or a new
                volume is none.
        """
        if layout.parameters.origin == "augment":
            augmented.check_distinct(self.root, self.source, layout, written)
            return
        crcs: dict[tuple[int, int, int], set[int]] = defaultdict(set)
        for entry in written:
            file = layout.files[entry.file]
            if file.role != "sidecar" and not dlrm_cut.is_made(file):
                crcs[file.key, entry.segment, entry.bytes].add(entry.crc32c)
        for (key, segment, _), found in crcs.items():
            if len(found) > 1:
                where = f"{self.root / self.source.files[key].path} segment {segment}"
                then = "leave the input alone, then remove the scaled data set and scale again"
                raise DataSetError("read as different bytes", where=where, then=then)

    def allocation(self, layout: Layout, directory: Path) -> Allocation:
        """Return what the file system says of the files."""
        return allocation_of(directory / file.path for file in layout.files)


def scale_into(
    workload: str,
    input_path: Path,
    output: Path,
    *,
    size_bytes: int,
    mode: Mode,
    seed: int,
    processes: int,
    emit: Emit,
) -> ExitCode:
    """Make `output` hold the input, scaled to at least `size_bytes`.

    Args:
        workload: whose data set the input is.
        input_path: a directory, or a file of dlrm text or rows.
        output: made if it is missing; apart from the input.
        size_bytes: of the data that the desired size counts.
        mode: real bytes again, new samples, or shared blocks.
        seed: of new samples.
        processes: how many write at once.
        emit: receives progress and notices.

    Raises:
        UsageError: output and input are not apart, or the mode cannot be had.
        DataSetError: the input is none of the workload, is damaged, or changes meanwhile.
        PathError: as `generate`.
        WriterDiedError: a writing process was killed.
    """
    if seed < 0:
        raise UsageError("a seed is not negative", where=str(seed), then="give 0 or more")
    check_apart(input_path.resolve(), output.resolve())
    found = find_input(input_path, workload)
    check_size(found, mode, size_bytes, output)
    if mode == "clone":
        check_cloneable(found.root, found.source, output)
    with held(found.root):
        parameters = found.parameters(mode=mode, size_bytes=size_bytes, seed=seed)
        kind = SOURCES[workload][found.source.format]
        source = _begun(output, parameters)
        if source is None:
            if mode == "augment" and found.source.compression == "deflate":
                emit(notice("new days are deflated once to know their sizes, once to write them"))
            source = kind.cut(found.root, found.source, parameters, processes)
        layout = kind.scaled(source, parameters)
        for line in _lines(layout, source, found.ignored):
            emit(notice(line))
        if mode == "clone":
            data = (file for file in layout.files if file.role != "sidecar")
            check_within(source, ((file.key, file.bytes) for file in data))
        generate(
            layout,
            output,
            processes=processes,
            emit=emit,
            content=Scaled(root=found.root, source=source),
        )
    return ExitCode.DONE


def check_size(found: Input, mode: Mode, size_bytes: int, output: Path) -> None:
    """Refuse what is too large, or cannot be had, before millions of files are planned.

    Raises:
        PathError: the file system is too small, or has too few inodes.
        UsageError: text or rows cannot share blocks beyond their own length.
    """
    source = found.source
    if mode != "clone":
        check_capacity(size_bytes, output)
    if source.files[0].file_class in ("line", "row"):  # one file, however long
        if mode == "clone":
            check_within(source, [(0, size_bytes)])
        return
    turn_bytes = sum(file.bytes for file in source.files)
    # Of bert the evaluation file comes once; of imseg all cases may evaluate.
    turn_files = max(1, len(source.of_role("train")))
    check_inodes(size_bytes // turn_bytes * turn_files, output)


def _begun(output: Path, parameters: Parameters) -> Source | None:
    """Return what an earlier run with these parameters found of the input, where it is there."""
    journal = read_journal(output)
    if journal is not None:
        found = journal[0]
    elif (output / MANIFEST_NAME).exists():
        found = read_manifest(output).parameters
    else:
        return None
    try:
        source = read_source(output) if found == parameters else None
    except DataSetError:  # it can be looked for again
        return None
    is_same = source is not None and source.crc32c == parameters.source_crc32c
    return source if is_same else None


def _lines(layout: Layout, source: Source, ignored: int) -> list[str]:
    parameters = layout.parameters
    taken = sum(file.bytes for file in source.files if file.role != "sidecar")
    beside = f" (and {ignored:,} other names are left alone)" if ignored else ""
    samples = layout.samples("train")
    counted = "samples are counted on the way" if samples == COUNTED else f"{samples:,} training"
    lines = [
        f"asked for {echo_size(parameters.size_requested_bytes)}",
        f"input: {source.workload} {source.format}, {len(source.files):,} files, {taken:,} bytes"
        f"{beside}",
        f"{parameters.origin}: {len(layout.files):,} files, {layout.data_bytes:,} bytes, and "
        f"{layout.sidecar_bytes:,} beside; {counted}",
    ]
    if parameters.size_requested_bytes < taken:
        lines.append("the size is below that of the input: only its beginning is taken")
    return lines
