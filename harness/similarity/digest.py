"""All that components need of a pattern, taken from its rows once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.memory import Regime
from harness.analysis.recording import Records
from harness.similarity.distances import Floats, Weighted, weighted
from harness.similarity.passes import mean_fraction_read, order_correlation
from harness.similarity.pattern import (
    Pattern,
    data_rows,
    excluded,
    is_transfer,
    moved_bytes,
    read_bytes,
    unlabelled,
)
from harness.similarity.reuse import miss_ratios

# Think times below are noise of whoever records.
THINK_FLOOR_NS = 1_000
SEQUENTIAL, FORWARD, BACKWARD, OTHER_FILE = range(4)


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """What is known only of calls that were made.

    `profiles` is phase -> when its bytes moved, 0 to 1 of the makespan. `gaps` and `service` are in
    log10 of seconds: from the end of a call to the next of its reader, and the time of a transfer
    by its bytes.
    """

    profiles: Mapping[int, Weighted]
    gaps: Weighted | None
    service: Weighted | None
    makespan_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """A pattern as components compare it. None is what its calls do not define.

    Args:
        calls: on data files; `bytes` is what they moved.
        mix_calls, mix_bytes: over (phase, op, class).
        size_calls, size_bytes: log2(1 + bytes) of transfers, by number and by bytes.
        files: of which any byte was read.
        file_bytes: log2 of the bytes read of each file.
        sequence: how a reader's transfer lies to its last one.
        coverage, order: see harness/similarity/passes.py.
        shares: of the bytes, by reader, descending.
        misses: see harness/similarity/reuse.py.
        excluded: rows on other files, by class.
    """

    calls: int
    bytes: int
    files: int
    mix_calls: Weighted | None
    mix_bytes: Weighted | None
    size_calls: Weighted | None
    size_bytes: Weighted | None
    file_bytes: Weighted | None
    sequence: Weighted | None
    coverage: float | None
    order: float | None
    shares: Floats | None
    misses: Floats | None
    times: Times | None
    excluded: Mapping[str, int]
    regime: Regime | None


def digest_of(pattern: Pattern, *, labelled: bool, sized: bool = True) -> Digest:
    """Return the digest of a pattern.

    Args:
        pattern: it.
        labelled: its own epochs and phases count.
        sized: its files' own sizes count; else nobody knows what share of them was read.
    """
    own = pattern if labelled else unlabelled(pattern)
    rows = data_rows(own)
    moved = moved_bytes(rows)
    transfers = is_transfer(rows)
    sizes = np.log2(1 + moved[transfers])
    labels = (rows["phase"].astype(np.int64) << 16) + (rows["op"].astype(np.int64) << 8)
    labels += rows["class"]
    per_file = _sums(rows["file"], read_bytes(rows))
    return Digest(
        calls=len(rows),
        bytes=int(moved.sum()),
        files=len(per_file),
        mix_calls=weighted(labels),
        mix_bytes=weighted(labels, moved),
        size_calls=weighted(sizes),
        size_bytes=weighted(sizes, moved[transfers]),
        file_bytes=weighted(np.log2(per_file)),
        sequence=_sequence(rows[transfers & (rows["offset"] >= 0)]),
        coverage=mean_fraction_read(own, rows) if sized else None,
        order=order_correlation(rows),
        shares=_shares(rows, moved),
        misses=miss_ratios(rows),
        times=_times(rows, moved) if own.timed and len(rows) else None,
        excluded=excluded(own),
        regime=own.regime,
    )


def readers(rows: Records) -> NDArray[np.int64]:
    """Return a number for each row's reader: a rank's main thread or one of its loaders."""
    numbers: NDArray[np.int64] = (rows["rank"].astype(np.int64) << 16) + rows["loader"]
    return numbers


def _sums(keys: NDArray[np.generic], moved: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bytes of each key that has any."""
    _, inverse = np.unique(keys, return_inverse=True)
    sums = np.bincount(inverse, moved).astype(np.int64)
    kept: NDArray[np.int64] = sums[sums > 0]
    return kept


def _shares(rows: Records, moved: NDArray[np.int64]) -> Floats | None:
    sums = np.sort(_sums(readers(rows), moved))[::-1]
    if not len(sums):
        return None
    shares: Floats = sums / sums.sum()
    return shares


def _sequence(rows: Records) -> Weighted | None:
    """Return how transfers of each reader follow one another."""
    reader = readers(rows)
    order = np.argsort(reader, kind="stable")
    rows, reader = rows[order], reader[order]
    end = rows["offset"] + moved_bytes(rows)
    one_reader = reader[1:] == reader[:-1]
    one_file = rows["file"][1:] == rows["file"][:-1]
    distance = rows["offset"][1:] - end[:-1]
    places = [distance == 0, distance > 0, distance < 0]
    kinds = np.select(
        [one_file & place for place in places], [SEQUENTIAL, FORWARD, BACKWARD], OTHER_FILE
    )
    return weighted(kinds[one_reader])


def _times(rows: Records, moved: NDArray[np.int64]) -> Times:
    begin_ns = int(rows["t0_ns"].min())
    makespan_ns = int(rows["t1_ns"].max()) - begin_ns
    places = (rows["t0_ns"] - begin_ns) / max(makespan_ns, 1)
    profiles = {}
    for phase in np.unique(rows["phase"]):
        own = rows["phase"] == phase
        if (profile := weighted(places[own], moved[own])) is not None:
            profiles[int(phase)] = profile
    service_ns = np.maximum(rows["t1_ns"] - rows["t0_ns"], 1)
    return Times(
        profiles=profiles,
        gaps=_gaps(rows),
        service=weighted(np.log10(service_ns / 1e9), moved),
        makespan_ns=makespan_ns,
    )


def _gaps(rows: Records) -> Weighted | None:
    reader = readers(rows)
    order = np.argsort(reader, kind="stable")
    rows, reader = rows[order], reader[order]
    gap_ns = rows["t0_ns"][1:] - rows["t1_ns"][:-1]
    kept = gap_ns[reader[1:] == reader[:-1]]
    return weighted(np.log10(np.maximum(kept, THINK_FLOOR_NS) / 1e9))
