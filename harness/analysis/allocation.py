"""Whether what was read lies on the device: holes in files do not, whatever their lengths say."""

from collections.abc import Mapping
from typing import Any, Final

from harness.analysis.wording import percent

# Below this share, holes are where a file system left a block out, not what a data set is made of.
_NOTABLE_HOLES: Final = 0.01


def is_sparse(dataset: Mapping[str, Any]) -> bool | None:
    """Return whether holes are a notable part of these files; None where that is unknown.

    Args:
        dataset: facts of the data set; `made_of_holes` or `allocation.holes_bytes` tell.
    """
    share = _holes_share(dataset)
    return None if share is None else share > _NOTABLE_HOLES


def holes_reason(dataset: Mapping[str, Any]) -> str | None:
    """Return why nothing can be said of the storage under these files, None where it can."""
    if not is_sparse(dataset):
        return None
    share = percent(_holes_share(dataset) or 0)
    return f"{share} of the data set is holes, which no storage has to read"


def _holes_share(dataset: Mapping[str, Any]) -> float | None:
    # Where a file system has no holes, zeros are in their place, which some storage does not keep.
    if dataset.get("made_of_holes"):
        return 1.0
    holes_bytes: int | None = (dataset.get("allocation") or {}).get("holes_bytes")
    if holes_bytes is None:
        return None
    data_bytes: int = dataset.get("bytes") or 0
    return min(1.0, holes_bytes / max(1, data_bytes))
