"""Bytes: asked, returned, from the device, from memory."""

from collections.abc import Iterable
from typing import Literal

from msgspec import field

from harness.analysis.counted import NOTHING_COUNTED, Counted, device_bytes
from harness.analysis.part import Part
from harness.analysis.recording import ByRank, total
from harness.worker.record import Eviction

# np.load reads a header three times, and read-ahead fetches more than was asked: the shares of
# cold and warm leave room for both.
COLD_DEVICE_SHARE = 0.98
WARM_DEVICE_SHARE = 0.02

Client = Literal["cold", "warm", "unknown"]


class DeviceBytes(Part, frozen=True, kw_only=True):
    """Bytes that the storage delivered; null, with the reason, when no counter can be trusted."""

    value: int | None
    source: str
    reason: str = ""


class RankBytes(Part, frozen=True, kw_only=True):
    """One rank's bytes; `device` null where only all ranks together are counted."""

    rank: int
    asked: int
    returned: int
    device: int | None


class Volume(Part, frozen=True, kw_only=True):
    """Bytes of some windows, null without a window. `page_cache` is what came without the device.

    `group` is what the ranks' control group had from the device, a second count of the same; null
    where it was not asked. `page_cache` is summed epoch by epoch, so that what one fetched for
    nothing (read-ahead, pages that were lost and fetched again) cannot hide that memory answered in
    another.
    """

    asked: int | None
    returned: int | None
    device: DeviceBytes
    page_cache: int | None
    group: DeviceBytes | None = None
    per_rank: list[RankBytes] = field(default_factory=list)

    @property
    def memory_share(self) -> float | None:
        """Share of the returned bytes that came from memory, 0 to 1; None when unknown."""
        if self.page_cache is None or not self.returned:
            return None
        return self.page_cache / self.returned


def volume(
    windows: Iterable[ByRank], *, byte_source: str, counted: Counted = NOTHING_COUNTED
) -> Volume:
    """Return the bytes of WINDOW rows; one rank without a device counter makes it unknown.

    Args:
        windows: of each epoch or evaluation the WINDOW rows, an array a rank, the same ranks in
            all.
        byte_source: where device bytes of the target come from; `none` says that they do not.
        counted: by other sources, for all ranks together.
    """
    tables = [by_rank for by_rank in windows if any(map(len, by_rank))]
    if not tables:
        nothing = DeviceBytes(value=None, source="none", reason="no window was measured")
        return Volume(asked=None, returned=None, device=nothing, page_cache=None)
    device = _device(tables, counted, byte_source)
    return Volume(
        asked=sum(total(by_rank, "asked_bytes") for by_rank in tables),
        returned=sum(total(by_rank, "row_bytes") for by_rank in tables),
        device=device,
        page_cache=_page_cache(tables, counted, byte_source) if device.value is not None else None,
        group=_group(tables, counted) if byte_source == "proc" else None,
        per_rank=_per_rank(tables, known=device.source == "proc"),
    )


def _device(tables: list[ByRank], counted: Counted, byte_source: str) -> DeviceBytes:
    value, source, reason = device_bytes(tables, counted, byte_source=byte_source)
    return DeviceBytes(value=value, source=source, reason=reason)


def _page_cache(tables: list[ByRank], counted: Counted, byte_source: str) -> int:
    answered = 0
    for by_rank in tables:
        value, _, _ = device_bytes([by_rank], counted, byte_source=byte_source)
        answered += max(0, total(by_rank, "row_bytes") - (value or 0))
    return answered


def _group(tables: list[ByRank], counted: Counted) -> DeviceBytes:
    value = counted.over("cgroup", tables)
    if value is None:
        return DeviceBytes(value=None, source="none", reason=counted.why("cgroup"))
    return DeviceBytes(value=value, source="cgroup")


def _per_rank(tables: list[ByRank], *, known: bool) -> list[RankBytes]:
    return [
        RankBytes(
            rank=rank,
            asked=total(own, "asked_bytes"),
            returned=total(own, "row_bytes"),
            device=total(own, "device_bytes") if known else None,
        )
        for rank, own in enumerate(zip(*tables, strict=True))
    ]


def client_state(data: Volume, evictions: tuple[Eviction, ...], *, cache: str) -> Client:
    """Return whether this client's memory held the data: proven, or `unknown`.

    Proof is bytes from the device against bytes returned. Where no counter is to be had, evictions
    count as proof of cold when every probe after one found next to nothing left in memory.
    """
    share = data.memory_share
    if share is not None:
        if 1 - share >= COLD_DEVICE_SHARE:
            return "cold"
        return "warm" if 1 - share <= WARM_DEVICE_SHARE else "unknown"
    # Probing loads what it probes, so not every eviction is followed by one.
    probes = [one.resident_fraction for one in evictions if one.resident_fraction is not None]
    emptied = bool(probes) and max(probes) <= WARM_DEVICE_SHARE
    return "cold" if cache == "cold" and emptied else "unknown"
