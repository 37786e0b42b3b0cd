"""The list of damaged segments that `verify` leaves for `generate` to write again."""

import json
from pathlib import Path

from dsgen.errors import DataSetError

DAMAGE_NAME = ".feedrate-damage.json"

Damage = list[tuple[str, int]]  # path and segment


def read(directory: Path) -> Damage:
    """Return the damaged segments, none where nothing was marked.

    Raises:
        DataSetError: the list cannot be read.
    """
    path = directory / DAMAGE_NAME
    if not path.exists():
        return []
    try:
        return [(str(name), int(segment)) for name, segment in json.loads(path.read_text("utf-8"))]
    except OSError as error:
        then = "check its rights, then run verify again"
        raise DataSetError(f"cannot read ({error.strerror})", where=str(path), then=then) from error
    except (ValueError, TypeError) as error:
        then = "run verify again"
        raise DataSetError("malformed list of damage", where=str(path), then=then) from error


def mark(directory: Path, damage: Damage) -> None:
    """Write the list, beside its name first."""
    temporary = directory / f"{DAMAGE_NAME}.partial"
    temporary.write_text(json.dumps(damage) + "\n", encoding="utf-8")
    temporary.rename(directory / DAMAGE_NAME)


def clear(directory: Path) -> None:
    """Forget all damage: it was repaired, or a whole verification found none."""
    (directory / DAMAGE_NAME).unlink(missing_ok=True)
