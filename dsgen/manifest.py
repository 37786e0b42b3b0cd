"""manifest.json: what a complete data set is. Written last; its CRC32C is the set's identity."""

import itertools
import json
import math
import os
import reprlib
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, cast, get_args

import google_crc32c

from dsgen import __version__
from dsgen.checksum import join_crc32c
from dsgen.errors import DataSetError, writing
from dsgen.layout import COUNTED, Compression, Layout, Link, Origin, Parameters, PlannedFile, Role
from dsgen.layout import Entropy as WantedEntropy

MANIFEST_NAME = "manifest.json"
# 1 had neither options nor links at first: without them all are at their defaults.
SCHEMA_VERSION = 1

_LIMIT = 2**63  # of everything that is counted
_RESTORE = "restore it, or move its directory away and generate again"

# Parameters that most data sets have at their defaults. "entropy" alone names what was measured.
_OPTIONS = ("entropy", "compression", "min_files")


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestFile:
    """One file as it was written; `segments` holds (bytes, CRC32C) pairs.

    Without a manifest there are none, and what only reading tells is None.
    """

    path: str
    role: Role
    file_class: str
    bytes: int
    samples: int
    crc32c: int | None
    segments: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entropy:
    """How far the content can be reduced, measured on samples of 64 KiB in every 16 MiB.

    Args:
        deflate1_64kib: compressed over original bytes, deflate level 1 on each 64 KiB.
        duplicate_4kib: share of 4 KiB blocks that repeat an earlier one of their segment's samples.
    """

    deflate1_64kib: float
    duplicate_4kib: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """How far files have the device's blocks to themselves; None where nobody could tell.

    Args:
        holes_bytes: that no block was given to.
        shared_bytes: in blocks that other files have as well.
    """

    holes_bytes: int | None
    shared_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A complete data set; None is what nobody can tell of one without a manifest."""

    parameters: Parameters
    data_bytes: int
    sidecar_bytes: int
    samples_train: int
    samples_eval: int
    entropy: Entropy | None
    allocation: Allocation
    files: tuple[ManifestFile, ...]
    links: tuple[Link, ...]
    crc32c: str | None  # of manifest.json itself, eight hex digits

    @property
    def workload(self) -> str:
        """The workload's name."""
        return self.parameters.workload

    @property
    def law(self) -> str:
        """The name of the law of sizes."""
        return self.parameters.law

    @property
    def seed(self) -> int:
        """The root seed."""
        return self.parameters.seed

    @property
    def paths(self) -> set[str]:
        """Every name in the data set's directory that the manifest gives."""
        return {file.path for file in self.files} | {link.path for link in self.links}


def write_manifest(
    directory: Path,
    layout: Layout,
    files: tuple[ManifestFile, ...],
    entropy: Entropy,
    allocation: Allocation,
) -> None:
    """Write the manifest beside its name, flush it, and rename it into place.

    Raises:
        PathError: it cannot be written.
    """
    text = json.dumps(_document(layout, files, entropy, allocation), indent=1) + "\n"
    path, temporary = directory / MANIFEST_NAME, directory / f"{MANIFEST_NAME}.partial"
    with writing(path):
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
    sync_directory(directory)


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of a complete data set.

    Raises:
        DataSetError: none here, malformed, contradicting itself, of another schema, or naming files
            outside.
    """
    path = directory / MANIFEST_NAME
    content = _content(path)
    try:
        document = json.loads(content)
        if document["schema_version"] != SCHEMA_VERSION:
            then = f"this version reads {SCHEMA_VERSION}; move its directory away, generate again"
            what = f"manifest of schema {reprlib.repr(document['schema_version'])}"
            raise DataSetError(what, where=str(path), then=then)
        manifest = _from_document(document, crc32c=f"{google_crc32c.value(content):08x}")
        _check_consistent(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"malformed manifest ({error!r})"
        raise DataSetError(what, where=str(path), then=_RESTORE) from error
    for name in [*manifest.paths, *(link.target for link in manifest.links)]:
        _check_inside(name, path)
    return manifest


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        then = "generate the data set, or let an interrupted generation finish"
        where = str(path.parent)
        raise DataSetError("no complete data set", where=where, then=then) from error
    except OSError as error:
        then = "check the directory's rights"
        raise DataSetError(f"cannot read ({error.strerror})", where=str(path), then=then) from error


def check_matches(manifest: Manifest, layout: Layout, directory: Path) -> None:
    """Check that the manifest describes the files, segments and links of `layout`.

    Raises:
        DataSetError: it describes others, the first of them named.
    """
    counted = {file.path for file in layout.files if file.samples == COUNTED}
    described = [*(_as_described(file, counted) for file in manifest.files)]
    described += _as_pairs(manifest.links)
    planned = [*map(_as_planned, layout.files), *_as_pairs(layout.links)]
    for found, wanted in itertools.zip_longest(described, planned):
        if found != wanted:
            _refuse_other((wanted or found)[0], directory)
    if (manifest.data_bytes, manifest.sidecar_bytes) != (layout.data_bytes, layout.sidecar_bytes):
        _refuse_other("data_bytes", directory)


def _refuse_other(what: str, directory: Path) -> NoReturn:
    what = f"manifest says other than its parameters give, first of {what}"
    raise DataSetError(what, where=str(directory / MANIFEST_NAME), then=_RESTORE)


def sync_directory(directory: Path) -> None:
    """Flush a directory, so that the names in it survive a loss of power.

    Raises:
        PathError: the system refuses.
    """
    with writing(directory):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _document(
    layout: Layout,
    files: tuple[ManifestFile, ...],
    entropy: Entropy,
    allocation: Allocation,
) -> dict[str, Any]:
    parameters = layout.parameters.as_json()
    format_version = parameters.pop("format_version")
    options = {name: parameters.pop(name) for name in _OPTIONS}
    kind, source_crc32c = parameters.pop("origin"), parameters.pop("source_crc32c")
    return {
        "schema_version": SCHEMA_VERSION,
        "generator": {"version": __version__, "format_version": format_version},
        **parameters,
        "options": options,
        "data_bytes": layout.data_bytes,
        "sidecar_bytes": layout.sidecar_bytes,
        "samples": {role: _samples(files, role) for role in ("train", "eval")},
        "origin": {"kind": kind, "source_crc32c": source_crc32c or None},
        "allocation": {
            "holes_bytes": allocation.holes_bytes,
            "shared_bytes": allocation.shared_bytes,
        },
        "entropy": {
            "deflate1_64kib": round(entropy.deflate1_64kib, 4),
            "duplicate_4kib": round(entropy.duplicate_4kib, 4),
        },
        "files": [
            {
                "path": file.path,
                "role": file.role,
                "class": file.file_class,
                "bytes": file.bytes,
                "samples": file.samples,
                "crc32c": file.crc32c,
                "segments": file.segments,
            }
            for file in files
        ],
        "links": [{"path": link.path, "target": link.target} for link in layout.links],
    }


def _from_document(document: dict[str, Any], *, crc32c: str) -> Manifest:
    return Manifest(
        parameters=Parameters(
            workload=_text(document["workload"]),
            format=_text(document["format"]),
            format_version=_count(document["generator"]["format_version"]),
            law=_text(document["law"]),
            seed=_count(document["seed"], limit=None),
            size_requested_bytes=_count(document["size_requested_bytes"]),
            **_options_from(document.get("options", {})),
            **_origin_from(document["origin"]),
        ),
        data_bytes=_count(document["data_bytes"]),
        sidecar_bytes=_count(document["sidecar_bytes"]),
        samples_train=_count(document["samples"]["train"]),
        samples_eval=_count(document["samples"]["eval"]),
        entropy=Entropy(
            deflate1_64kib=_ratio(document["entropy"]["deflate1_64kib"]),
            duplicate_4kib=_ratio(document["entropy"]["duplicate_4kib"]),
        ),
        allocation=Allocation(
            holes_bytes=_count_or_none(document["allocation"]["holes_bytes"]),
            shared_bytes=_count_or_none(document["allocation"]["shared_bytes"]),
        ),
        files=tuple(_file_from(entry) for entry in document["files"]),
        links=tuple(
            Link(path=_text(entry["path"]), target=_text(entry["target"]))
            for entry in document.get("links", ())
        ),
        crc32c=crc32c,
    )


def _options_from(options: dict[str, Any]) -> dict[str, Any]:
    for name in options:
        _one_of(_OPTIONS, name)
    return {
        "entropy": _one_of(get_args(WantedEntropy), options.get("entropy", "natural")),
        "compression": _one_of(get_args(Compression), options.get("compression", "none")),
        "min_files": _count(options.get("min_files", 0)),
    }


def _origin_from(origin: dict[str, Any]) -> dict[str, Any]:
    kind, source = _one_of(get_args(Origin), origin["kind"]), origin["source_crc32c"]
    if (kind == "generate") != (source is None):
        raise ValueError(f"{kind} of {reprlib.repr(source)}")
    return {"origin": kind, "source_crc32c": "" if source is None else _text(source)}


def _one_of(known: tuple[str, ...], value: object) -> str:
    if value not in known:
        raise ValueError(f"{reprlib.repr(value)} is none of {', '.join(known)}")
    return str(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{reprlib.repr(value)} is no line of text")
    return value


def _count(value: object, *, limit: int | None = _LIMIT) -> int:
    # True is an int, too, and 1.0 equals one.
    if type(value) is not int or value < 0 or (limit is not None and value >= limit):
        raise ValueError(f"{reprlib.repr(value)} is no whole number in its range")
    return value


def _count_or_none(value: object) -> int | None:
    return None if value is None else _count(value)


def _ratio(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(ratio := cast(float, value)):
        raise ValueError(f"{reprlib.repr(value)} is no number")
    return float(ratio)


def _file_from(entry: dict[str, Any]) -> ManifestFile:
    role = _one_of(get_args(Role), entry["role"])
    return ManifestFile(
        path=_text(entry["path"]),
        role=cast(Role, role),
        file_class=_text(entry["class"]),
        bytes=_count(entry["bytes"]),
        samples=_count(entry["samples"]),
        crc32c=_count(entry["crc32c"], limit=2**32),
        segments=tuple((_count(size), _count(crc, limit=2**32)) for size, crc in entry["segments"]),
    )


def _check_consistent(manifest: Manifest) -> None:
    """Raise ValueError where one part of a manifest contradicts another."""
    for file in manifest.files:
        if not file.segments or sum(size for size, _ in file.segments) != file.bytes:
            raise ValueError(f"the segments of {file.path!r} are not its {file.bytes} bytes")
        first, *more = file.segments
        if (join_crc32c(file.segments) if more else first[1]) != file.crc32c:
            raise ValueError(f"the segments of {file.path!r} have another CRC32C")
    names = [file.path for file in manifest.files] + [link.path for link in manifest.links]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice or not manifest.files:
        raise ValueError(f"{twice[0]!r} is there twice" if twice else "there are no files")
    _check_sums(manifest)


def _check_sums(manifest: Manifest) -> None:
    if manifest.data_bytes + manifest.sidecar_bytes != sum(file.bytes for file in manifest.files):
        raise ValueError("data_bytes and sidecar_bytes are not those of the files")
    if manifest.data_bytes < manifest.parameters.size_requested_bytes:
        raise ValueError("data_bytes are fewer than were asked for")
    for role, samples in (("train", manifest.samples_train), ("eval", manifest.samples_eval)):
        if samples != _samples(manifest.files, role):
            raise ValueError(f"the samples of {role} are not those of its files")


def _samples(files: tuple[ManifestFile, ...], role: str) -> int:
    return sum(file.samples for file in files if file.role == role)


def _as_described(file: ManifestFile, counted: Set[str]) -> tuple[Any, ...]:
    sizes = [size for size, _ in file.segments]
    samples = COUNTED if file.path in counted else file.samples
    return file.path, file.role, file.file_class, samples, sizes


def _as_pairs(links: tuple[Link, ...]) -> list[tuple[str, str]]:
    return [(link.path, link.target) for link in links]


def _as_planned(file: PlannedFile) -> tuple[Any, ...]:
    sizes = [file.segment(index).bytes for index in range(file.segment_count)]
    return file.path, file.role, file.file_class, file.samples, sizes


def _check_inside(path: str, manifest: Path) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        then = "do not use this data set; generate another"
        raise DataSetError(
            f"manifest names {path!r}, outside its directory", where=str(manifest), then=then
        )
