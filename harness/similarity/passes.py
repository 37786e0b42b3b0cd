"""What an epoch reads of its files, and in which order it comes to them."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from harness.analysis.recording import Records
from harness.similarity.pattern import Pattern, is_transfer, read_bytes
from harness.worker.record import Phase


def mean_fraction_read(pattern: Pattern, rows: Records) -> float | None:
    """Return the mean over epochs and files of the share of a file that the epoch read.

    What is read twice counts once. Files that an epoch does not touch are not its files.

    Args:
        pattern: knows how large the files are.
        rows: its data rows.

    Returns:
        0 to 1; None where nothing was read at a known place.
    """
    read = read_bytes(rows)
    kept = (read > 0) & (rows["offset"] >= 0)
    rows, read = rows[kept], read[kept]
    if not len(rows):
        return None
    group = _group(rows)
    order = np.lexsort((rows["offset"], group))
    group, start = group[order], rows["offset"][order]
    end = start + read[order]
    # How far the group was read before, by ranks of ends: offsets would overflow beside groups.
    ends, rank = np.unique(end, return_inverse=True)
    reached = np.maximum.accumulate(group * len(ends) + rank)
    new = np.concatenate(([True], group[1:] != group[:-1]))
    before = np.where(new, start, ends[np.concatenate(([0], reached[:-1])) % len(ends)])
    fresh = np.maximum(end - np.maximum(start, before), 0)
    covered = np.add.reduceat(fresh, np.flatnonzero(new))
    sizes = _sizes(pattern, rows["file"][order][new])
    shares = np.minimum(covered / np.maximum(sizes, 1), 1.0)
    # Sorted, so that the names of files do not change the rounding of the sum.
    return float(np.sort(shares).mean())


def order_correlation(rows: Records) -> float | None:
    """Return the mean Kendall tau of the file order of successive training epochs.

    The order is that of the first transfers, of all ranks together; of two epochs the files count
    that both have.

    Returns:
        -1 to 1; None where no two successive epochs share two files.
    """
    rows = rows[is_transfer(rows) & (rows["phase"] == Phase.TRAIN)]
    taus = []
    previous: NDArray[np.int64] | None = None
    for epoch in np.unique(rows["epoch"]):
        files, first = np.unique(rows["file"][rows["epoch"] == epoch], return_index=True)
        own = files[np.argsort(first)].astype(np.int64)
        if previous is not None:
            taus += _tau(previous, own)
        previous = own
    return float(np.mean(taus)) if taus else None


def _tau(one: NDArray[np.int64], other: NDArray[np.int64]) -> list[float]:
    _, places, other_places = np.intersect1d(one, other, return_indices=True)
    if len(places) < 2:
        return []
    # By the first order, so that the numbers of files do not change the rounding.
    order = np.argsort(places)
    return [float(kendalltau(places[order], other_places[order]).statistic)]


def _group(rows: Records) -> NDArray[np.int64]:
    """Return one number for each phase, epoch and file."""
    keys = rows[["phase", "epoch", "file"]]
    _, epoch = np.unique(keys["epoch"].astype(np.int64) * 256 + keys["phase"], return_inverse=True)
    files, file = np.unique(keys["file"], return_inverse=True)
    _, group = np.unique(epoch * len(files) + file, return_inverse=True)
    numbers: NDArray[np.int64] = group.astype(np.int64)
    return numbers


def _sizes(pattern: Pattern, files: NDArray[np.uint32]) -> NDArray[np.int64]:
    numbers, inverse = np.unique(files, return_inverse=True)
    sizes = np.array([pattern.files[int(number)].size_bytes for number in numbers], np.int64)
    found: NDArray[np.int64] = sizes[inverse]
    return found
