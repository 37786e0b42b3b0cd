"""Which files each workload takes for a scaling, and how they continue. A line for each format."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from dsgen.layout import Layout, Parameters
from dsgen.source import Source
from dsgen.workloads import bert_source, dlrm_source, imseg_source

Cut = Callable[[Path, Source, Parameters, int], Source]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceKind:
    """The files of one format of a workload.

    Args:
        name: which of a directory's files are taken, by their whole name.
        inspect: looks at the named files of a directory, and refuses what is wrong with them.
        scaled: what the data set of these parameters consists of; pure.
        cut: looks where files end, in so many processes, and returns the source that says it.
    """

    name: re.Pattern[str]
    inspect: Callable[[Path, list[str]], Source]
    scaled: Callable[[Source, Parameters], Layout]
    cut: Cut


def _no_cut(_: Path, source: Source, __: Parameters, ___: int) -> Source:
    return source


SOURCES: Final[dict[str, dict[str, SourceKind]]] = {
    "imseg": {
        "npy": SourceKind(
            name=imseg_source.NAME,
            inspect=imseg_source.inspect,
            scaled=imseg_source.scaled,
            cut=_no_cut,
        )
    },
    "bert": {
        "tfrecord": SourceKind(
            name=bert_source.NAME,
            inspect=bert_source.inspect,
            scaled=bert_source.scaled,
            cut=bert_source.cut,
        )
    },
    "dlrm": {
        format_: SourceKind(
            name=name,
            inspect=partial(dlrm_source.inspect, format_=format_),
            scaled=dlrm_source.scaled,
            cut=dlrm_source.cut,
        )
        for format_, name in dlrm_source.NAMES.items()
    },
}
