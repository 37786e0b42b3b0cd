"""What training needs to know of a data set without a manifest, from the files themselves."""

from pathlib import Path

from dsgen.clone import allocation_of
from dsgen.damage import obstacle
from dsgen.errors import DataSetError
from dsgen.input import find_input, holds
from dsgen.layout import COUNTED, Layout, Parameters, PlannedFile, Role
from dsgen.manifest import MANIFEST_NAME, Allocation, Manifest, ManifestFile, read_manifest
from dsgen.source import Source, SourceFile


def manifest_of(directory: Path, workload: str) -> Manifest:
    """Return the manifest of a data set, or what the files of one without say.

    Raises:
        DataSetError: as `read_manifest` and `described` do.
    """
    if (directory / MANIFEST_NAME).exists() or not holds(directory, workload):
        return read_manifest(directory)
    return described(directory, workload)


def described(directory: Path, workload: str) -> Manifest:
    """Return what the files of `workload` in a directory say, which is only looked at.

    Samples are COUNTED where only reading tells how many there are.

    Raises:
        DataSetError: as `find_input`, or a file is a link.
    """
    found = find_input(directory, workload)
    source = found.source
    for file in source.files:
        _check_file(found.root / file.path)
    return Manifest(
        parameters=_parameters(source),
        data_bytes=sum(file.bytes for file in source.files),
        sidecar_bytes=0,
        samples_train=_samples(source, "train"),
        samples_eval=_samples(source, "eval"),
        entropy=None,
        allocation=allocation_of(found.root / file.path for file in source.files),
        files=tuple(map(unread, source.files)),
        links=(),
        crc32c=None,
    )


def unwritten(layout: Layout) -> Manifest:
    """Return the manifest that a data set will have, without what only its bytes tell."""
    return Manifest(
        parameters=layout.parameters,
        data_bytes=layout.data_bytes,
        sidecar_bytes=layout.sidecar_bytes,
        samples_train=layout.samples("train"),
        samples_eval=layout.samples("eval"),
        entropy=None,
        allocation=Allocation(holes_bytes=None, shared_bytes=None),
        files=tuple(map(unread, layout.files)),
        links=layout.links,
        crc32c=None,
    )


def unread(file: PlannedFile | SourceFile) -> ManifestFile:
    """Return the entry of a file whose content nobody has read."""
    return ManifestFile(
        path=file.path,
        role=file.role,
        file_class=file.file_class,
        bytes=file.bytes,
        samples=file.samples,
        crc32c=None,
        segments=(),
    )


def _check_file(path: Path) -> None:
    # It may lead to other storage, which is not to be measured.
    if (what := obstacle(path)) is not None:
        then = "name the directory that holds the files themselves"
        raise DataSetError(f"{what}, not a file", where=str(path), then=then)


def _samples(source: Source, role: Role) -> int:
    counts = [source.files[number].samples for number in source.of_role(role)]
    return COUNTED if COUNTED in counts else sum(counts)


def _parameters(source: Source) -> Parameters:
    return Parameters(
        workload=source.workload,
        format=source.format,
        format_version=0,
        law="",
        seed=0,
        size_requested_bytes=0,
        compression=source.compression,
        origin=None,
        source_crc32c=source.crc32c,
    )
