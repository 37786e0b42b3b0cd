"""Whether what was read lies on the device: holes in files do not, whatever their lengths say."""

from collections.abc import Mapping
from typing import Any, Final

from harness.analysis.wording import percent

# Below this share, holes are where a file system left a block out, not what a data set is made of.
_NOTABLE_HOLES: Final = 0.01


def holes_reason(dataset: Mapping[str, Any]) -> str | None:
    """Return why nothing can be said of the storage under these files, None where it can.

    Args:
        dataset: facts of the data set; `entropy` "holes" or `allocation.holes_bytes` tell.
    """
    holes_bytes = (dataset.get("allocation") or {}).get("holes_bytes") or 0
    share = holes_bytes / max(1, dataset.get("bytes") or 0)
    if share <= _NOTABLE_HOLES:
        return None
    return f"{percent(min(1.0, share))} of the data set is holes, which no storage has to read"
