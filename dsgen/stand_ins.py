"""Stand-ins of the originals: data sets with their names and sizes, as far as these are known."""

from dataclasses import dataclass, replace
from typing import Final

from dsgen.choices import Wanted
from dsgen.layout import Layout
from dsgen.workloads import bert

STAND_IN_SIZE_HELP: Final = "default: the original's; below it its beginning, above it again"
HOLES_HELP: Final = "no data, but what readers follow: for calls alone, never for a verdict"


@dataclass(frozen=True, kw_only=True, slots=True)
class StandIn:
    """What is laid out for a workload.

    Args:
        wanted: the law and format that have the original's sizes.
        bytes: of the original, without evaluation data kept apart.
        known: a sentence: which names and sizes are the original's own.
        smaller, larger: what there is of it below and above its size.
    """

    wanted: Wanted
    bytes: int
    known: str
    smaller: str
    larger: str

    def filled(self, *, holes: bool) -> Wanted:
        """Return what is asked of the writer: real bytes, or holes for them."""
        return replace(self.wanted, entropy="holes") if holes else self.wanted

    def sentence(self, size_bytes: int) -> str:
        """Return what a stand-in of this size is."""
        times = size_bytes / self.bytes
        if size_bytes == self.bytes:
            extent = "all of it"
        elif size_bytes < self.bytes:
            extent = f"{100 * times:.3g} % of its size, {self.smaller}"
        else:
            extent = f"{times:.3g} times its size, {self.larger}"
        return f"stand-in of the original, {extent}: {self.known}"


STAND_INS: Final = {
    "imseg": StandIn(
        wanted=Wanted(format="npy", law="original"),
        bytes=30_786_131_935,
        known="names and sizes of its 210 cases are the original's",
        smaller="its first cases, each whole",
        larger="its cases again under new numbers",
    ),
    "bert": StandIn(
        wanted=Wanted(format="tfrecord", law="original-mean"),
        bytes=bert.ORIGINAL_BYTES,
        known="those of part-00000, part-00499 and eval_10k that it has whole have the original's "
        "sizes; those of the other parts are not known one by one, and are their mean",
        smaller="its first parts, the last one cut where a record ends",
        larger="its parts again under new numbers, the last one cut where a record ends",
    ),
    # Of its other formats the rows are known, and no sizes.
    "dlrm": StandIn(
        wanted=Wanted(format="bin", law="criteo"),
        bytes=671_231_630_720,
        known="rows and sizes of both files are the original's; test rows stay in its proportion",
        smaller="fewer rows in both files",
        larger="more rows in both files",
    ),
}


def other_file_count(layout: Layout) -> str | None:
    """Return a sentence where a bert data set has not as many files as the original at its size.

    Their number is what storage sees of a small one: a pipeline opens all of its files at once. One
    that was asked for is taken as it is.
    """
    parameters = layout.parameters
    if parameters.workload != "bert" or parameters.min_files:
        return None
    law = STAND_INS["bert"].wanted.law
    original = bert.plan(replace(parameters, law=str(law), entropy="natural"))
    files, theirs = (sum(file.role == "train" for file in one.files) for one in (layout, original))
    if files == theirs:
        return None
    return f"the original has {theirs} files at this size, not {files}: --law {law} has its sizes"
