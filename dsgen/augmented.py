"""The bytes of new samples: what each format makes of the input's own. A line for each format."""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen import copied
from dsgen.errors import DataSetError
from dsgen.journal import Written
from dsgen.layout import Layout, PlannedFile
from dsgen.source import Source, SourceFile, reading
from dsgen.workloads import Blocks, bert_augment, dlrm_bin_augment, dlrm_text_augment, imseg_augment

# From an open source to one segment of a file that is made of it, for a seed.
Augment = Callable[[int, SourceFile, PlannedFile, int, int], Blocks]

# Of formats with whole files in turns, those after the first turn are made anew.
_OF_COPIES: Final[dict[tuple[str, str], Augment]] = {
    ("imseg", "npy"): imseg_augment.blocks,
    ("bert", "tfrecord"): bert_augment.blocks,
}
# Others turn over a source in one file.
_OF_TURNS: Final[dict[tuple[str, str], Augment]] = {
    ("dlrm", "text"): dlrm_text_augment.blocks,
    ("dlrm", "bin"): dlrm_bin_augment.blocks,
}


def blocks(root: Path, source: Source, file: PlannedFile, segment: int, seed: int) -> Blocks:
    """Return one segment: the input's own bytes in the first turn over it, then new samples.

    Raises:
        DataSetError: the source cannot be read, has changed, or is none of its format.
    """
    of = source.files[file.key]
    key = source.workload, source.format
    if key in _OF_TURNS:
        return _made(root, of, file, segment, seed, _OF_TURNS[key])
    if file.copy == 0:
        return copied.blocks(root, of, file, segment)
    return _made(root, of, file, segment, seed, _OF_COPIES[key])


def check_distinct(root: Path, source: Source, layout: Layout, written: Iterable[Written]) -> None:
    """Look for volumes that are equal: one may be its own mirror image, or that of another.

    Raises:
        DataSetError: there is one.
    """
    crcs: dict[int, dict[int, int]] = defaultdict(dict)
    for entry in written:
        crcs[entry.file][entry.segment] = entry.crc32c
    alike: dict[tuple[int, ...], list[PlannedFile]] = defaultdict(list)
    for file in layout.files:
        if file.file_class == "x":
            own = (crcs[file.index][segment] for segment in range(file.segment_count))
            alike[file.bytes, *own].append(file)
    seed = layout.parameters.seed
    for files in alike.values():
        for one, other in itertools.combinations(files, 2):
            # Two of the input's own may be equal; of others, the CRCs alone may be.
            if other.copy and len({_sha256(root, source, x, seed) for x in (one, other)}) == 1:
                what = f"a mirrored volume equals {one.path}"
                then = f"leave {source.files[other.key].path} out of the input, or use --mode copy"
                raise DataSetError(what, where=other.path, then=then)


def _made(
    root: Path, source: SourceFile, file: PlannedFile, segment: int, seed: int, augment: Augment
) -> Generator[NDArray[np.uint8], None, int | None]:
    with reading(root, source) as descriptor:
        return (yield from augment(descriptor, source, file, segment, seed))


def _sha256(root: Path, source: Source, file: PlannedFile, seed: int) -> bytes:
    digest = hashlib.sha256()
    for segment in range(file.segment_count):
        for block in blocks(root, source, file, segment, seed):
            digest.update(block.data)
    return digest.digest()
