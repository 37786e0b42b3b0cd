"""Read every byte of a data set and compare it with the manifest, segment by segment."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from dsgen import damage
from dsgen.directory import foreign_names, is_link
from dsgen.errors import DataSetError, PathError
from dsgen.events import Emit, notice, progress
from dsgen.layout import SEGMENT_BYTES
from dsgen.lock import hold_shared
from dsgen.manifest import MANIFEST_NAME, Manifest, check_matches, read_manifest
from dsgen.parallel import run_parallel
from dsgen.plans import is_current, planned, unknown_choice

_READ_BYTES = 2**20
_MISSING = "missing"
_IN_PLACE = ", not a file"  # and has to be moved away before the file is written again


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is not as the manifest says; `segment` is None for a whole file."""

    path: str
    segment: int | None
    what: str

    def __str__(self) -> str:
        place = self.path if self.segment is None else f"{self.path} segment {self.segment}"
        return f"{place}: {self.what}"


def verify(directory: Path, *, processes: int, emit: Emit) -> list[Finding]:
    """Return everything that differs from the manifest, and mark it for `generate` to repair.

    Raises:
        DataSetError: there is no manifest, or one that no data set has.
        PathError: another process writes the data set.
    """
    manifest = read_manifest(directory)
    _check_planned(manifest, directory)
    with hold_shared(directory):
        findings = _sizes(manifest, directory) + _names(manifest, directory)
        findings += _contents(manifest, directory, processes, emit)
    damaged = _damaged_segments(manifest, findings)
    try:
        _keep(directory, damaged)
    except OSError as error:  # a read-only data set can be verified, too
        if damaged:
            emit(notice(f"what was found is not marked for repair ({error.strerror})"))
    for finding in findings:
        emit(notice(str(finding)))
    return findings


def _check_planned(manifest: Manifest, directory: Path) -> None:
    """Compare the manifest with the layout of its parameters, where this version has it."""
    unknown = unknown_choice(manifest.parameters)
    segments = sum(len(file.segments) for file in manifest.files)
    # Planning takes longer the more is asked for, which is no more than so many segments hold.
    drawn = manifest.parameters.origin == "generate"
    if unknown is None and drawn and manifest.data_bytes > segments * 2 * SEGMENT_BYTES:
        unknown = "segments that are too large"
    if unknown is not None:
        then = "verify it with the version that made it, or move its directory away"
        where = str(directory / MANIFEST_NAME)
        raise DataSetError(f"manifest of {unknown}", where=where, then=then)
    if is_current(manifest.parameters):
        check_matches(manifest, planned(manifest.parameters, directory), directory)


def _keep(directory: Path, damaged: damage.Damage) -> None:
    """Mark the damage for repair; where there is none, let the manifest vouch for the files again.

    Files that were copied may be younger than their manifest, which `generate` and training take
    for a change.
    """
    if damaged:
        damage.mark(directory, damaged)
    else:
        damage.clear(directory)
        (directory / MANIFEST_NAME).touch()


def check_sound(findings: list[Finding], directory: Path) -> None:
    """Raise DataSetError when there are findings; the message counts them and names the first.

    What stands in the place of a file comes first: nothing is repaired before it is moved away.
    """
    if findings:
        in_place = [finding for finding in findings if finding.what.endswith(_IN_PLACE)]
        first = (in_place or findings)[0]
        what = f"{len(findings)} differences from the manifest, the first {first}"
        then = "repeat the command that made it to repair it"
        if in_place:
            then = f"move {first.path} away, then {then}"
        raise DataSetError(what, where=str(directory), then=then)


def _sizes(manifest: Manifest, directory: Path) -> list[Finding]:
    findings = []
    for file in manifest.files:
        path = directory / file.path
        what = damage.obstacle(path)
        if what is not None:
            what += _IN_PLACE
        elif not path.is_file():
            what = _MISSING
        elif (size_bytes := path.stat().st_size) != file.bytes:
            what = f"{size_bytes:,} bytes instead of {file.bytes:,}"
        if what is not None:
            findings.append(Finding(path=file.path, segment=None, what=what))
    return findings


def _names(manifest: Manifest, directory: Path) -> list[Finding]:
    """Return the names that should not be there, and the links that should."""
    foreign = [
        Finding(path=name, segment=None, what="not in the manifest")
        for name in foreign_names(manifest.paths, directory)
    ]
    unlinked = [
        Finding(path=link.path, segment=None, what=f"no link to {link.target}")
        for link in manifest.links
        if not is_link(directory, link)
    ]
    return foreign + unlinked


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _contents(manifest: Manifest, directory: Path, processes: int, emit: Emit) -> list[Finding]:
    """Compare the CRC32C of every segment that is there."""
    tasks = [
        (index, segment)
        for index, file in enumerate(manifest.files)
        if _is_regular(directory / file.path)
        for segment in range(len(file.segments))
    ]
    total_bytes = sum(manifest.files[file].segments[segment][0] for file, segment in tasks)
    starts = [
        list(itertools.accumulate((size for size, _ in file.segments), initial=0))
        for file in manifest.files
    ]

    def work(task: tuple[int, int]) -> tuple[int, int, str | None]:
        index, segment = task
        file = manifest.files[index]
        what = _difference(directory / file.path, starts[index][segment], *file.segments[segment])
        return index, segment, what

    findings, done_bytes = [], 0
    for index, segment, what in run_parallel(tasks, work, processes):
        file = manifest.files[index]
        done_bytes += file.segments[segment][0]
        emit(progress("verify", done_bytes, total_bytes))
        if what is not None:
            findings.append(Finding(path=file.path, segment=segment, what=what))
    return sorted(findings, key=lambda finding: (finding.path, finding.segment))


def _difference(path: Path, start: int, size_bytes: int, expected: int) -> str | None:
    crc, left = 0, size_bytes
    try:
        with path.open("rb", buffering=0) as stream:
            stream.seek(start)
            while left and (data := stream.read(min(left, _READ_BYTES))):
                crc, left = google_crc32c.extend(crc, data), left - len(data)
    except OSError as error:
        then = "check the device and the rights"
        raise PathError(
            f"cannot read ({os.strerror(error.errno or 0)})", where=str(path), then=then
        ) from error
    if left:
        return f"{left:,} bytes missing at its end"
    return None if crc == expected else f"CRC32C {crc:08x} instead of {expected:08x}"


def _damaged_segments(manifest: Manifest, findings: list[Finding]) -> damage.Damage:
    """Return the segments to write again: those found, and all of a missing file."""
    files = {file.path: file for file in manifest.files}
    damaged: dict[tuple[str, int], None] = {}
    for finding in findings:
        if finding.path not in files:
            continue
        if finding.segment is not None:
            damaged[finding.path, finding.segment] = None
        elif finding.what == _MISSING or finding.what.endswith(_IN_PLACE):
            for segment in range(len(files[finding.path].segments)):
                damaged[finding.path, segment] = None
        else:
            # Of the wrong length: the last segment is the least that has to be written.
            damaged[finding.path, len(files[finding.path].segments) - 1] = None
    return list(damaged)
