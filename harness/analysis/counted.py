"""Which counter tells the bytes from storage, and whether those that count the same agree. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.analysis.recording import ByRank, WorkerFacts, total
from harness.analysis.wording import size

# Per rank, then what may stand in for it where a kernel has no such counter.
_OWN = "proc"
_INSTEAD = "cgroup"
# Two counters of the same bytes: metadata, headers, and what else the container's processes read.
AGREE_SHARE = 0.02
AGREE_BYTES = 16 << 20
# Replies of NFS have headers: of the smallest reads, 4 KiB, they are three in a hundred.
_REPLY_SHARE = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What counted bytes beside the ranks' own counters, and why others did not.

    Args:
        bytes: (source, start of the first rank's window in ns) -> bytes; None where a counter could
            not be read then.
        missing: source -> why it has no figure.
    """

    bytes: Mapping[tuple[str, int], int | None] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def over(self, source: str, windows: Iterable[ByRank]) -> int | None:
        """Return the bytes of a source over all windows, None where one of them is missing."""
        if source in self.missing:
            return None
        parts: list[int] = []
        for by_rank in windows:
            for start_ns in by_rank[0]["start_ns"]:
                part = self.bytes.get((source, int(start_ns)))
                if part is None:
                    return None
                parts.append(part)
        return sum(parts) if parts else None

    def why(self, source: str) -> str:
        """Return why a source has no figure."""
        return self.missing.get(source, f"{source} was not read in every window")


NOTHING_COUNTED = Counted()


def counted_of(worker: WorkerFacts, *, unknown: str = "") -> Counted:
    """Return what the worker's sources counted; `unknown` is why nothing counts on the target."""
    return Counted(
        bytes={(one.source, one.start_ns): one.bytes for one in worker.counts},
        missing={**worker.uncounted, **({"none": unknown} if unknown else {})},
    )


def own_bytes(windows: Iterable[ByRank]) -> int | None:
    """Return the ranks' own count, None where the kernel of one has none."""
    tables = list(windows)
    if not all(bool((own["device_bytes"] >= 0).all()) for by_rank in tables for own in by_rank):
        return None
    return sum(total(by_rank, "device_bytes") for by_rank in tables)


def device_bytes(
    windows: Iterable[ByRank], counted: Counted, *, byte_source: str
) -> tuple[int | None, str, str]:
    """Return the bytes from the device, their source, and why there are none.

    Args:
        windows: of each epoch or evaluation the WINDOW rows, an array a rank.
        counted: what others than the ranks counted.
        byte_source: of the target.
    """
    tables = list(windows)
    if byte_source == "none":
        return None, "none", counted.missing.get("none", "nothing counts them on this target")
    if byte_source != _OWN:
        value = counted.over(byte_source, tables)
        if value is None:
            return None, "none", counted.why(byte_source)
        return value, byte_source, ""
    value = own_bytes(tables)
    if value is not None:
        return value, _OWN, ""
    instead = counted.over(_INSTEAD, tables)
    if instead is not None:
        return instead, _INSTEAD, ""
    reason = "this kernel has no read_bytes in /proc/PID/io"
    return None, "none", f"{reason}, and of the control group: {counted.why(_INSTEAD)}"


def source_notices(windows: Iterable[ByRank], counted: Counted, *, byte_source: str) -> list[str]:
    """Return what is to be said of the sources: that one fails, or that two contradict each other.

    A target on which nothing counts is spoken of before the run.
    """
    tables = list(windows)
    if not tables or byte_source == "none":
        return []
    value, _, reason = device_bytes(tables, counted, byte_source=byte_source)
    if value is None:
        return [f"Bytes from the device are unknown: {reason}."]
    return [
        *_about_others(tables, byte_source, value),
        *_disagreement(tables, counted, byte_source, value),
    ]


def _about_others(tables: list[ByRank], byte_source: str, value: int) -> list[str]:
    """Return what is to be said where a source that counts for the whole host counted too much."""
    returned = sum(total(by_rank, "row_bytes") for by_rank in tables)
    if byte_source == _OWN or value <= returned + max(AGREE_BYTES, AGREE_SHARE * returned):
        return []
    return [
        f"{byte_source} counts for all of this host, and counted {size(value)}, where the run read "
        f"{size(returned)}: others read there as well, and what memory answered is hidden by it."
    ]


def _disagreement(
    tables: list[ByRank], counted: Counted, byte_source: str, value: int
) -> list[str]:
    returned = sum(total(by_rank, "row_bytes") for by_rank in tables)
    first, (count, second, share) = {
        "proc": ("/proc/PID/io", (own_bytes(tables), "cgroup", AGREE_SHARE)),
        "nfs-mountstats": ("the mount's bytes", (value, "nfs-read-replies", _REPLY_SHARE)),
        # Not what came from servers, but what read calls returned.
        "lustre-osc": ("read calls", (returned, "lustre-llite", AGREE_SHARE)),
    }[byte_source]
    other = counted.over(second, tables)
    if count is None or other is None:
        return []
    if abs(count - other) <= max(AGREE_BYTES, share * max(count, other)):
        return []
    return [
        f"Two sources count the same bytes and contradict each other: {first} {size(count)}, "
        f"{second} {size(other)}."
    ]
