"""Delete a data set: what its manifest or its journal names, and nothing else."""

from pathlib import Path

from dsgen.directory import OWN_NAMES, foreign_names, partial_name
from dsgen.errors import DataSetError, PathError
from dsgen.events import Emit, notice
from dsgen.journal import JOURNAL_NAME, finished_paths, read_journal
from dsgen.lock import hold_exclusive
from dsgen.manifest import MANIFEST_NAME, read_manifest
from dsgen.plans import planned, unknown_choice


def remove(directory: Path, *, emit: Emit) -> None:
    """Delete the data set in `directory`, finished or not, and the directory if then empty.

    Raises:
        DataSetError: there is none.
        PathError: another process uses it, or a file cannot be deleted.
    """
    paths, links = _names(directory)
    with hold_exclusive(directory):
        # In the place of a link a file may stand that is not ours.
        names = paths | {path for path in links if (directory / path).is_symlink()}
        try:
            # The manifest last: until then the command can be repeated.
            for name in [*sorted(names), *sorted(OWN_NAMES - {MANIFEST_NAME}), MANIFEST_NAME]:
                (directory / name).unlink(missing_ok=True)
        except IsADirectoryError as error:
            then = "move it away, then run the same command again"
            where = str(directory / name)
            raise PathError("a directory in the place of a file", where=where, then=then) from error
        except OSError as error:
            then = "check the directory's rights, then run the same command again"
            raise PathError(
                f"cannot delete ({error.strerror})", where=str(directory), then=then
            ) from error
    foreign = foreign_names(set(), directory)
    if foreign:
        emit(notice(f"{len(foreign)} files that are not of the data set stay in {directory}"))
        return
    try:
        directory.rmdir()
    except OSError as error:  # a mount point, or in a directory that is not ours
        emit(notice(f"{directory} is empty, and stays ({error.strerror})"))


def _names(directory: Path) -> tuple[set[str], set[str]]:
    """Return the names of files to delete, and those of links."""
    try:
        is_complete = (directory / MANIFEST_NAME).exists()
    except OSError as error:
        then = "check the directory's rights"
        what = f"cannot look into it ({error.strerror})"
        raise PathError(what, where=str(directory), then=then) from error
    if is_complete:
        manifest = read_manifest(directory)
        return {file.path for file in manifest.files}, {link.path for link in manifest.links}
    begun = read_journal(directory) if directory.is_dir() else None
    if begun is None:
        then = "name the directory that holds manifest.json"
        raise DataSetError("no data set here", where=str(directory), then=then)
    unknown = unknown_choice(begun[0])
    if unknown is not None:
        then = "remove it with the version that began it, or delete its files"
        where = str(directory / JOURNAL_NAME)
        raise DataSetError(f"journal of {unknown}", where=where, then=then)
    layout, done = planned(begun[0], directory), begun[1]
    partial = {partial_name(path) for path in layout.paths}
    return finished_paths(layout, done) | partial, {link.path for link in layout.links}
