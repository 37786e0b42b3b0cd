"""Bytes: asked, returned, from the device, from memory."""

from collections.abc import Iterable
from typing import Literal

from harness.analysis.part import Part
from harness.analysis.recording import Eviction, Records

# np.load reads a header three times, and read-ahead fetches more than was asked: the shares of
# cold and warm leave room for both.
COLD_DEVICE_SHARE = 0.98
WARM_DEVICE_SHARE = 0.02

Client = Literal["cold", "warm", "unknown"]


class DeviceBytes(Part, frozen=True, kw_only=True):
    """Bytes that the block device delivered; null when no counter can be trusted."""

    value: int | None
    source: str


class Volume(Part, frozen=True, kw_only=True):
    """Bytes of some windows, null without a window. `page_cache` is what came without the device.

    It is summed epoch by epoch, so that what one fetched for nothing (read-ahead, pages that were
    lost and fetched again) cannot hide that memory answered in another.
    """

    asked: int | None
    returned: int | None
    device: DeviceBytes
    page_cache: int | None

    @property
    def memory_share(self) -> float | None:
        """Share of the returned bytes that came from memory, 0 to 1; None when unknown."""
        if self.page_cache is None or not self.returned:
            return None
        return self.page_cache / self.returned


def volume(windows: Iterable[Records], *, byte_source: str) -> Volume:
    """Return the bytes of WINDOW rows; one rank without a device counter makes it unknown.

    Args:
        windows: arrays of WINDOW, one an epoch.
        byte_source: where device bytes of the target come from; `none` says that they do not.
    """
    tables = list(windows)
    measured = any(len(rows) for rows in tables)
    known = measured and byte_source != "none"
    known = known and all(bool((rows["device_bytes"] >= 0).all()) for rows in tables)
    device = sum(int(rows["device_bytes"].sum()) for rows in tables) if known else None
    missing = [int((rows["row_bytes"] - rows["device_bytes"]).sum()) for rows in tables]
    return Volume(
        asked=sum(int(rows["asked_bytes"].sum()) for rows in tables) if measured else None,
        returned=sum(int(rows["row_bytes"].sum()) for rows in tables) if measured else None,
        device=DeviceBytes(value=device, source=byte_source if known else "none"),
        page_cache=sum(max(0, own) for own in missing) if known else None,
    )


def client_state(total: Volume, evictions: tuple[Eviction, ...], *, cache: str) -> Client:
    """Return whether this client's memory held the data: proven, or `unknown`.

    Proof is bytes from the device against bytes returned. Where no counter is to be had, evictions
    count as proof of cold when every probe after one found next to nothing left in memory.
    """
    share = total.memory_share
    if share is not None:
        if 1 - share >= COLD_DEVICE_SHARE:
            return "cold"
        return "warm" if 1 - share <= WARM_DEVICE_SHARE else "unknown"
    # Probing loads what it probes, so not every eviction is followed by one.
    probes = [one.resident_fraction for one in evictions if one.resident_fraction is not None]
    emptied = bool(probes) and max(probes) <= WARM_DEVICE_SHARE
    return "cold" if cache == "cold" and emptied else "unknown"
