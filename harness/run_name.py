"""What the directory of a run is called, and until there is a result."""

import secrets
from datetime import datetime
from pathlib import Path


def run_name(started: datetime, kind: str = "") -> str:
    """Return a name that sorts by the start, and that no other run has.

    Args:
        started: in UTC.
        kind: what it is if it is no run: `plan`, or `x3`, a group of three.
    """
    name = f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    return f"{name}-{kind}" if kind else name


def partial_of(directory: Path) -> Path:
    """Return what the directory is called until all of it is there."""
    return directory.with_name(f".{directory.name}.partial")


def is_partial(directory: Path) -> bool:
    """Return whether the directory still has such a name.

    >>> is_partial(partial_of(Path("results/20261124T020000Z-abcdef")))
    True
    """
    return directory.name.startswith(".") and directory.name.endswith(".partial")
