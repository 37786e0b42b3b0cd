"""Files that are there whole or not at all: written beside their place, then renamed."""

from pathlib import Path


def write_beside(path: Path, content: bytes) -> None:
    """Write a file, replacing one that is there; what was begun is gone where it fails.

    Raises:
        OSError: no space, or no right.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
