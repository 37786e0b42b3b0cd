"""Finding a user's data set: which files of a directory are whose, all of one kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dsgen.directory import OWN_NAMES, check_complete
from dsgen.errors import DataSetError, UsageError
from dsgen.journal import JOURNAL_NAME
from dsgen.layout import Origin, Parameters
from dsgen.lock import LOCK_NAME, hold_shared
from dsgen.manifest import MANIFEST_NAME, read_manifest
from dsgen.source import FORMAT_VERSION, Source, unreadable
from dsgen.workloads import workload as registered
from dsgen.workloads.sources import SOURCES

# Where one file is a whole data set, its test rows are called after it.
_TRAIN_SUFFIXES = ("_train.bin", ".bin")


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """A user's data set.

    Args:
        root: its directory, absolute, without links.
        source: what is in it.
        ignored: how many other names are there.
    """

    root: Path
    source: Source
    ignored: int

    def parameters(self, *, mode: Origin, size_bytes: int, seed: int) -> Parameters:
        """Return what determines every byte of the scaled data set."""
        return Parameters(
            workload=self.source.workload,
            format=self.source.format,
            format_version=FORMAT_VERSION,
            law="source",
            # Copies are the same whatever the seed is.
            seed=seed if mode == "augment" else 0,
            size_requested_bytes=size_bytes,
            compression=self.source.compression,
            origin=mode,
            source_crc32c=self.source.crc32c,
        )


def holds(directory: Path, workload: str) -> bool:
    """Say whether a directory itself is a data set: it has a manifest, or files of the workload."""
    kinds = SOURCES[workload].values()
    try:
        names = (entry.name for entry in directory.iterdir())
        return any(
            name == MANIFEST_NAME or any(kind.name.fullmatch(name) for kind in kinds)
            for name in names
        )
    except OSError:
        return False


def find_input(path: Path, workload: str) -> Input:
    """Return the data set of `workload` at `path`: a directory, or dlrm's text or rows alone.

    Raises:
        UsageError: there is no such workload.
        DataSetError: none is there, parts of several, one that is incomplete, or a wrong file.
    """
    registered(workload)
    try:
        root = path.resolve(strict=True)
        names = [root.name] if root.is_file() else sorted(entry.name for entry in root.iterdir())
    except OSError as error:
        raise unreadable(path, error) from error
    if root.is_file():
        root, names = root.parent, _with_tests(root)
        kind = "bin" if names[0].endswith(".bin") else "text"
        if workload != "dlrm":
            then = "name the directory that holds it"
            raise DataSetError(f"a file, where {workload} has many", where=str(path), then=then)
        return Input(root=root, source=SOURCES["dlrm"][kind].inspect(root, names), ignored=0)
    _check_whole(root, names, workload)
    names = [name for name in names if name not in OWN_NAMES]
    matching = {
        (owner, format_): [name for name in names if kind.name.fullmatch(name)]
        for owner, kinds in SOURCES.items()
        for format_, kind in kinds.items()
    }
    there = [key for key, found in matching.items() if found]
    if not any(owner == workload for owner, _ in there):
        expected = " or ".join(kind.name.pattern for kind in SOURCES[workload].values())
        then = f"name a directory with files such as {expected}"
        raise DataSetError(f"no files of {workload}", where=str(root), then=then)
    if len(there) > 1:
        both = " and ".join(f"{' '.join(key)} ({matching[key][0]})" for key in there)
        raise DataSetError(f"files of {both}", where=str(root), then="leave one kind in the input")
    (key,) = there
    if odd := [name for name in matching[key] if not name.isprintable()]:
        where = ascii(str(root / odd[0]))
        raise DataSetError("a name that no manifest could have", where=where, then="rename it")
    source = SOURCES[key[0]][key[1]].inspect(root, matching[key])
    return Input(root=root, source=source, ignored=len(names) - len(matching[key]))


def _with_tests(path: Path) -> list[str]:
    """Return the names of a file of rows and of the test rows that belong to it."""
    for suffix in _TRAIN_SUFFIXES:
        if path.name.endswith(suffix):
            test = f"{path.name.removesuffix(suffix)}_test.bin"
            return [path.name, test] if (path.parent / test).is_file() else [path.name]
    return [path.name]


def _check_whole(root: Path, names: list[str], workload: str) -> None:
    """Refuse what this tool has not finished, or what was changed after it."""
    if JOURNAL_NAME in names and MANIFEST_NAME not in names:
        then = "let the command that makes it finish"
        raise DataSetError("an unfinished data set", where=str(root), then=then)
    if MANIFEST_NAME not in names:
        return
    manifest = read_manifest(root)
    check_complete(manifest, root)
    if manifest.workload != workload:
        what = f"a data set of {manifest.workload}"
        raise DataSetError(what, where=str(root), then=f"name one of {workload}")


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Keep writers of this tool out of the input while the block runs."""
    if (root / LOCK_NAME).exists():
        with hold_shared(root):
            yield
    else:
        yield


def check_apart(given: Path, output: Path) -> None:
    """Refuse an output that is the input, lies in it, or around it; both without links.

    Raises:
        UsageError: it is so.
    """
    if given == output or given in output.parents or output in given.parents:
        how = "is" if given == output else "lies in" if given in output.parents else "holds"
        then = "name a directory apart from it"
        raise UsageError(f"the output {how} the input", where=str(output), then=then)
