"""Which run of a group a result is."""

from harness.analysis.part import Part


class Repeat(Part, frozen=True, kw_only=True):
    """One of several runs of the same configuration over the same data set.

    Args:
        group: name of the group, and of the directory that holds its results.
        index: 1 for the first run.
        of: how many were asked for.
        seed: of what differs between them: order, step times, crops, weights. The seed of the
            configuration is that of the data set, and of the first run.
    """

    group: str
    index: int
    of: int
    seed: int
