"""The list of damaged segments that `verify` leaves for `generate` to write again."""

import json
import stat
from pathlib import Path

from dsgen.errors import DataSetError
from dsgen.manifest import read_manifest

DAMAGE_NAME = ".feedrate-damage.json"

Damage = list[tuple[str, int]]  # path and segment


def read(directory: Path) -> Damage:
    """Return the damaged segments, each once; none where nothing was marked.

    Raises:
        DataSetError: the list cannot be read, names what the manifest does not, or a file in the
            place of which there is something else.
    """
    path = directory / DAMAGE_NAME
    if not path.exists():
        return []
    segments = {file.path: len(file.segments) for file in read_manifest(directory).files}
    try:
        marked = json.loads(path.read_text("utf-8"))
        damage = dict.fromkeys((name, segment) for name, segment in marked)
    except OSError as error:
        then = "check its rights, then run verify again"
        raise DataSetError(f"cannot read ({error.strerror})", where=str(path), then=then) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise _malformed(path) from error
    for name, segment in damage:
        if type(segment) is not int or not 0 <= segment < segments.get(name, 0):
            raise _malformed(path)
        if (what := obstacle(directory / name)) is not None:
            then = "move it away, then run the same command again"
            raise DataSetError(f"{what}, not a file", where=str(directory / name), then=then)
    return list(damage)


def obstacle(path: Path) -> str | None:
    """Return what has to be moved away before a file can be written here, if there is something.

    A link may lead to other storage, which is not to be measured, and to what is not to be written.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a directory" if stat.S_ISDIR(mode) else "a device, pipe or socket"


def _malformed(path: Path) -> DataSetError:
    return DataSetError("malformed list of damage", where=str(path), then="run verify again")


def mark(directory: Path, damage: Damage) -> None:
    """Write the list, beside its name first."""
    temporary = directory / f"{DAMAGE_NAME}.partial"
    temporary.write_text(json.dumps(damage) + "\n", encoding="utf-8")
    temporary.rename(directory / DAMAGE_NAME)


def clear(directory: Path) -> None:
    """Forget all damage: it was repaired, or a whole verification found none."""
    (directory / DAMAGE_NAME).unlink(missing_ok=True)
