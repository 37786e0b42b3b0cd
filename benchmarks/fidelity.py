"""What acceptance asks of similarity: readers, laws of sizes, measured runs, and what it costs."""

import shutil
from dataclasses import replace
from pathlib import Path

import bert_readers
import measured
import similarity
from commands import Outcome

from harness.fidelity.run import said

_READER_L = 0.99


def readers_of_bert(directory: Path) -> Outcome:
    """Read bert by eight pipelines for 2,400 steps: L of 0.99 or at the reference's floor."""
    place = directory / "bert-readers"
    shutil.rmtree(place, ignore_errors=True)
    found = bert_readers.measure(place)
    readers = {loader: document.reader for loader, document in found.items()}
    good = all(
        one is not None and (one.holds is True or (one.L or 0) >= _READER_L)
        for one in readers.values()
    )
    figures = (f"{loader} {number and number.statement}" for loader, number in readers.items())
    return good, "; ".join(figures)


def size_laws(_: Path) -> Outcome:
    """Planned imseg: at the floor at 200 and 500 GiB, and each coarser law of sizes scores less.

    At 500 GiB against the original's cases in orders of the seed: in its own order the last turn is
    the same each time, and the floor has no room for another choice of it, which is printed.
    """
    laws = ["kits19", "lognormal", "normal", "uniform", "constant"]
    smaller = similarity.Wanted(workload="imseg", size="200GiB")
    found = similarity.measure(smaller, laws, range(1, 4))
    own = replace(smaller, size="500GiB", equal_counts=True)
    larger = {"its own order": own, "orders of the seed": replace(own, drawn_original=True)}
    at_500 = {
        order: similarity.measure(wanted, ["kits19"], range(1, 4))["kits19"]
        for order, wanted in larger.items()
    }
    scores = [found[law].L or 0 for law in laws]
    ordered = scores == sorted(scores, reverse=True)
    good = found["kits19"].holds is True and at_500["orders of the seed"].holds is True and ordered
    figures = [f"{law} {found[law].statement}" for law in laws]
    figures += [f"500 GiB, {order}: {one.statement}" for order, one in at_500.items()]
    return good, "; ".join(figures)


def million_rows(_: Path) -> Outcome:
    """Compare two recordings of a million rows each, calls and times, in 10 s and 1 GB."""
    cost = similarity.score_cost(similarity.Wanted(workload="imseg", size="200GiB"))
    good = cost.rows >= 10**6 and cost.seconds <= 10 and cost.peak_bytes <= 10**9
    figure = f"{cost.seconds:.1f} s (10), {cost.peak_bytes / 1e9:.2f} GB (1)"
    return good, f"two of {cost.rows:,} rows in {figure}"


def measured_numbers(directory: Path, regime: str) -> Outcome:
    """Train over the original's sizes and over generated ones: L at the floor, T of ours, too.

    A reference reader's calls under strace take longer, and have no T. Four seeds have wide
    intervals: this finds what is wrong by 0.03 in L or 0.05 in T, and size_laws what is less in L.
    """
    place, traced = directory / f"measured-{regime}", regime == "cold"
    shutil.rmtree(place, ignore_errors=True)
    found = measured.measure(place, measured.REGIMES[regime], 4, traced=traced)
    numbers = [found.data, *((found.reader, found.both) if traced else ())]
    held = all(one is not None and one.holds is True for one in numbers)
    timed = found.data is not None and found.data.holds_time is True
    return held and timed, "; ".join(said(found))
