"""manifest.json: what a complete data set is. Written last; its CRC32C is the set's identity."""

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast, get_args

import google_crc32c

from dsgen import __version__
from dsgen.errors import DataSetError, writing
from dsgen.layout import Compression, Layout, Link, Parameters, Role
from dsgen.layout import Entropy as WantedEntropy

MANIFEST_NAME = "manifest.json"
# 1 had neither options nor links at first: without them all are at their defaults.
SCHEMA_VERSION = 1

# Parameters that most data sets have at their defaults. "entropy" alone names what was measured.
_OPTIONS = ("entropy", "compression", "min_files")


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestFile:
    """One file as it was written; `segments` holds (bytes, CRC32C) pairs."""

    path: str
    role: Role
    file_class: str
    bytes: int
    samples: int
    crc32c: int
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
class Manifest:
    """A complete data set."""

    parameters: Parameters
    data_bytes: int
    sidecar_bytes: int
    samples_train: int
    samples_eval: int
    entropy: Entropy
    files: tuple[ManifestFile, ...]
    links: tuple[Link, ...]
    crc32c: str  # of manifest.json itself, eight hex digits

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
    directory: Path, layout: Layout, files: tuple[ManifestFile, ...], entropy: Entropy
) -> None:
    """Write the manifest beside its name, flush it, and rename it into place.

    Raises:
        PathError: it cannot be written.
    """
    text = json.dumps(_document(layout, files, entropy), indent=1) + "\n"
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
        DataSetError: none here, malformed, of another schema, or naming files outside.
    """
    path = directory / MANIFEST_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        then = "generate the data set, or let an interrupted generation finish"
        raise DataSetError("no complete data set", where=str(directory), then=then) from error
    except OSError as error:
        then = "check the directory's rights"
        raise DataSetError(f"cannot read ({error.strerror})", where=str(path), then=then) from error
    try:
        document = json.loads(content)
        if document["schema_version"] != SCHEMA_VERSION:
            then = f"this version reads schema {SCHEMA_VERSION}; delete this file, generate again"
            what = f"manifest of schema {document['schema_version']}"
            raise DataSetError(what, where=str(path), then=then)
        manifest = _from_document(document, crc32c=f"{google_crc32c.value(content):08x}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        then = "restore it, or delete this one file and generate again"
        raise DataSetError(f"malformed manifest ({error!r})", where=str(path), then=then) from error
    for name in [*manifest.paths, *(link.target for link in manifest.links)]:
        _check_inside(name, path)
    return manifest


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


def _document(layout: Layout, files: tuple[ManifestFile, ...], entropy: Entropy) -> dict[str, Any]:
    parameters = layout.parameters.as_json()
    format_version = parameters.pop("format_version")
    options = {name: parameters.pop(name) for name in _OPTIONS}
    return {
        "schema_version": SCHEMA_VERSION,
        "generator": {"version": __version__, "format_version": format_version},
        **parameters,
        "options": options,
        "data_bytes": layout.data_bytes,
        "sidecar_bytes": layout.sidecar_bytes,
        "samples": {"train": layout.samples("train"), "eval": layout.samples("eval")},
        "origin": {"kind": "generate", "source_crc32c": None},
        "allocation": {"holes_bytes": 0, "shared_bytes": 0},
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
            workload=str(document["workload"]),
            format=str(document["format"]),
            format_version=int(document["generator"]["format_version"]),
            law=str(document["law"]),
            seed=int(document["seed"]),
            size_requested_bytes=int(document["size_requested_bytes"]),
            **_options_from(document.get("options", {})),
        ),
        data_bytes=int(document["data_bytes"]),
        sidecar_bytes=int(document["sidecar_bytes"]),
        samples_train=int(document["samples"]["train"]),
        samples_eval=int(document["samples"]["eval"]),
        entropy=Entropy(
            deflate1_64kib=float(document["entropy"]["deflate1_64kib"]),
            duplicate_4kib=float(document["entropy"]["duplicate_4kib"]),
        ),
        files=tuple(_file_from(entry) for entry in document["files"]),
        links=tuple(
            Link(path=str(entry["path"]), target=str(entry["target"]))
            for entry in document.get("links", ())
        ),
        crc32c=crc32c,
    )


def _options_from(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "entropy": _one_of(get_args(WantedEntropy), options.get("entropy", "natural")),
        "compression": _one_of(get_args(Compression), options.get("compression", "none")),
        "min_files": int(options.get("min_files", 0)),
    }


def _one_of(known: tuple[str, ...], value: object) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return str(value)


def _file_from(entry: dict[str, Any]) -> ManifestFile:
    role = _one_of(get_args(Role), entry["role"])
    return ManifestFile(
        path=str(entry["path"]),
        role=cast(Role, role),
        file_class=str(entry["class"]),
        bytes=int(entry["bytes"]),
        samples=int(entry["samples"]),
        crc32c=int(entry["crc32c"]),
        segments=tuple((int(size), int(crc)) for size, crc in entry["segments"]),
    )


def _check_inside(path: str, manifest: Path) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        then = "do not use this data set; generate another"
        raise DataSetError(
            f"manifest names {path!r}, outside its directory", where=str(manifest), then=then
        )
