"""Layouts become files: in parallel, journalled, resumable, repairable.

Files grow under a temporary name and get their own once all segments are on the device; the
manifest comes last. Whatever stops the writing, the same command continues to the same bytes.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from dsgen import damage
from dsgen.checksum import join_crc32c
from dsgen.content import Content, Drawn
from dsgen.directory import check_complete, check_room, check_unshared, is_link, partial_name
from dsgen.errors import DataSetError, PathError, writing
from dsgen.events import Emit, notice
from dsgen.journal import (
    JOURNAL_NAME,
    Written,
    begin_journal,
    finished_paths,
    read_journal,
)
from dsgen.layout import COUNTED, Layout, Parameters, PlannedFile
from dsgen.lock import hold_exclusive
from dsgen.manifest import (
    MANIFEST_NAME,
    Entropy,
    ManifestFile,
    check_matches,
    read_manifest,
    sync_directory,
    write_manifest,
)
from dsgen.segments import Task, write_segments

_DRAWN = Drawn()


def generate(
    layout: Layout,
    directory: Path,
    *,
    processes: int,
    emit: Emit,
    content: Content = _DRAWN,
) -> None:
    """Make `directory` hold exactly the data set of `layout`: new, continued, repaired or reused.

    Args:
        layout: what is wanted.
        directory: made if it is missing.
        processes: how many write at once, at least 1.
        emit: receives progress and notices.
        content: where the bytes come from.

    Raises:
        DataSetError: a data set of other parameters, or a changed one, is there.
        PathError: not writable, foreign files, no space or inodes, locked.
        WriterDiedError: a writing process was killed.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        then = "name a directory that you may write to"
        raise PathError(
            f"cannot create ({error.strerror})", where=str(directory), then=then
        ) from error
    with hold_exclusive(directory):
        if (directory / MANIFEST_NAME).exists():
            _reuse_or_repair(layout, content, directory, processes, emit)
        else:
            _write(layout, content, directory, processes, emit)


def _reuse_or_repair(
    layout: Layout, content: Content, directory: Path, processes: int, emit: Emit
) -> None:
    manifest = read_manifest(directory)
    _check_same(layout.parameters, manifest.parameters, directory, "another data set is here")
    check_matches(manifest, layout, directory)
    check_unshared(manifest.paths, directory)
    content.begin(directory)
    _make_links(layout, directory)
    _end_journal(directory)  # of a run that was killed after it had written the manifest
    damaged = damage.read(directory)
    if not damaged:
        check_complete(manifest, directory)
        emit(notice(f"{directory} is complete and has these parameters: nothing to write"))
        return
    known = {file.path: file for file in manifest.files}
    by_path = {file.path: file for file in layout.files}
    tasks = [(by_path[path].index, segment) for path, segment in damaged]
    _check_room(layout, content, directory)
    for written in write_segments(
        layout, content, directory, tasks, processes, emit, in_place=True
    ):
        expected = known[layout.files[written.file].path].segments[written.segment]
        if expected != (written.bytes, written.crc32c):
            then = "remove the data set and generate it again with this version"
            where = f"{directory} segment {written.segment} of file {written.file}"
            raise DataSetError("repaired bytes differ from the manifest", where=where, then=then)
    for file in {by_path[path] for path, _ in damaged}:
        with writing(directory / file.path):
            os.truncate(directory / file.path, file.bytes)
        _flush(directory / file.path)
    # Files are now younger than the manifest; renewing it says that they are as it describes.
    with writing(directory / MANIFEST_NAME):
        (directory / MANIFEST_NAME).touch()
        damage.clear(directory)
    emit(notice(f"{len(tasks)} damaged segments were written again"))


def _write(layout: Layout, content: Content, directory: Path, processes: int, emit: Emit) -> None:
    begun = read_journal(directory, layout)
    done: dict[Task, Written] = {}
    if begun is not None:
        parameters, done = begun
        _check_same(layout.parameters, parameters, directory, "another unfinished data set is here")
    check_unshared(set() if begun is None else _own_names(layout, done, directory), directory)
    done = {
        task: entry
        for task, entry in done.items()
        if _on_disk(layout.files[task[0]], task[1], directory)
    }
    missing = [
        (file.index, segment)
        for file in layout.files
        for segment in range(file.segment_count)
        if (file.index, segment) not in done
    ]
    _check_room(layout, content, directory)
    content.begin(directory)
    digests = {task: entry.digest for task, entry in done.items()}
    with begin_journal(directory, layout.parameters, done.values()) as journal:
        left = _segments_left(layout, done)
        for file in layout.files:
            if left[file.index] == 0:
                _finish(file, directory)
        for written in write_segments(
            layout, content, directory, missing, processes, emit, in_place=False, digests=digests
        ):
            journal.add(written)
            done[written.file, written.segment] = written
            left[written.file] -= 1
            if left[written.file] == 0:
                _finish(layout.files[written.file], directory)
    content.check(layout, done.values())
    _make_links(layout, directory)
    sync_directory(directory)
    write_manifest(
        directory,
        layout,
        _manifest_files(layout, done),
        _entropy(done),
        content.allocation(layout, directory),
    )
    _end_journal(directory)


def _end_journal(directory: Path) -> None:
    with writing(directory / JOURNAL_NAME):
        (directory / JOURNAL_NAME).unlink(missing_ok=True)


def _check_room(layout: Layout, content: Content, directory: Path) -> None:
    check_room([file for file in layout.files if content.takes_room(layout, file)], directory)


def _make_links(layout: Layout, directory: Path) -> None:
    """Make the links that are missing; what is no link stays as it is, and is refused later."""
    for link in layout.links:
        path = directory / link.path
        if is_link(directory, link) or (path.exists() and not path.is_symlink()):
            continue
        partial = directory / partial_name(link.path)
        try:
            partial.unlink(missing_ok=True)
            partial.symlink_to(link.target)
            partial.rename(path)
        except OSError as error:
            then = "name a directory on a file system that has symbolic links"
            raise PathError(
                f"cannot link ({error.strerror})", where=str(path), then=then
            ) from error


def _check_same(wanted: Parameters, found: Parameters, directory: Path, what: str) -> None:
    differences = found.differences(wanted)
    if differences:
        then = "name another directory, or remove this data set"
        raise DataSetError(f"{what} ({'; '.join(differences)})", where=str(directory), then=then)


def _own_names(layout: Layout, done: Mapping[Task, Written], directory: Path) -> set[str]:
    """Return the names of an unfinished data set."""
    linked = {link.path for link in layout.links if is_link(directory, link)}
    partial = {partial_name(path) for path in layout.paths}
    return finished_paths(layout, done) | linked | partial


def _on_disk(file: PlannedFile, segment: int, directory: Path) -> bool:
    """Say whether a journalled segment can be there: its file is, and reaches to its end."""
    planned = file.segment(segment)
    for name in (file.path, partial_name(file.path)):
        if (directory / name).is_file():
            size_bytes = (directory / name).stat().st_size
            return size_bytes >= planned.offset_bytes + planned.bytes
    return False


def _segments_left(layout: Layout, done: Mapping[Task, Written]) -> list[int]:
    left = [file.segment_count for file in layout.files]
    for file, _ in done:
        left[file] -= 1
    return left


def _finish(file: PlannedFile, directory: Path) -> None:
    """Give a complete file its name; it has it already when the crash came after this."""
    final, partial = directory / file.path, directory / partial_name(file.path)
    with writing(final):
        try:
            size_bytes = partial.stat().st_size
        except FileNotFoundError:
            return
        # After a crash a file may be longer. All segments are flushed already, their length
        # included; and cutting what has the right length gives a clone a last block of its own.
        if size_bytes != file.bytes:
            os.truncate(partial, file.bytes)
            _flush(partial)
        partial.rename(final)


def _flush(path: Path) -> None:
    with writing(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _manifest_files(layout: Layout, done: dict[Task, Written]) -> tuple[ManifestFile, ...]:
    files = []
    for file in layout.files:
        entries = [done[file.index, segment] for segment in range(file.segment_count)]
        segments = tuple((entry.bytes, entry.crc32c) for entry in entries)
        files.append(
            ManifestFile(
                path=file.path,
                role=file.role,
                file_class=file.file_class,
                bytes=file.bytes,
                samples=_samples(file, entries),
                crc32c=join_crc32c(segments),
                segments=segments,
            )
        )
    return tuple(files)


def _samples(file: PlannedFile, entries: Iterable[Written]) -> int:
    """Return the samples of a file; where they were counted, the segments' digests tell them."""
    if file.samples != COUNTED:
        return file.samples
    return sum(entry.digest or 0 for entry in entries)


def _entropy(done: dict[Task, Written]) -> Entropy:
    entries = done.values()
    sampled = sum(entry.sampled_bytes for entry in entries)
    blocks = sum(entry.sampled_blocks for entry in entries)
    return Entropy(
        deflate1_64kib=sum(entry.deflated_bytes for entry in entries) / max(sampled, 1),
        duplicate_4kib=sum(entry.duplicate_blocks for entry in entries) / max(blocks, 1),
    )
