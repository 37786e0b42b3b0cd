"""Stand-ins of the originals: data sets with their names and sizes, as far as these are known."""

from dataclasses import dataclass, replace
from typing import Final

from dsgen.choices import Wanted
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
    """

    wanted: Wanted
    bytes: int
    known: str

    def filled(self, *, holes: bool) -> Wanted:
        """Return what is asked of the writer: real bytes, or holes for them."""
        return replace(self.wanted, entropy="holes") if holes else self.wanted

    def sentence(self, size_bytes: int) -> str:
        """Return what a stand-in of this size is."""
        times = size_bytes / self.bytes
        if size_bytes == self.bytes:
            extent = "all of it"
        elif size_bytes < self.bytes:
            extent = f"the first {100 * times:.3g} % of it, the last file cut where a sample ends"
        else:
            extent = f"{times:.3g} times over, the same sizes again under new numbers"
        return f"stand-in of the original, {extent}: {self.known}"


STAND_INS: Final = {
    "imseg": StandIn(
        wanted=Wanted(format="npy", law="original"),
        bytes=30_786_131_935,
        known="names and sizes of all 210 cases are the original's",
    ),
    "bert": StandIn(
        wanted=Wanted(format="tfrecord", law="original-mean"),
        bytes=bert.ORIGINAL_BYTES,
        known="the sizes of part-00000, part-00499 and eval_10k are the original's; those of the "
        "other parts are not known one by one, and are their mean",
    ),
    # Of its other formats the rows are known, and no sizes.
    "dlrm": StandIn(
        wanted=Wanted(format="bin", law="criteo"),
        bytes=671_231_630_720,
        known="rows and sizes of both files are the original's; test rows stay in its proportion",
    ),
}
