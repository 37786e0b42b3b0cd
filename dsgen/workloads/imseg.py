"""imseg: volumes and label masks as U-Net3D training on preprocessed KiTS19 reads them.

A case is a pair: `case_00000_x.npy`, float32 of shape (1, D, H, W), and `case_00000_y.npy`, uint8
of the same shape. A law gives the shapes, and with them every file's size; the sizes are what
storage sees. Source of shapes and of the evaluation ids: `originals/kits19_shapes.csv`.
"""

import csv
import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsgen import holes
from dsgen.choices import Choices
from dsgen.layout import Layout, Parameters, PlannedFile, Role, even_starts
from dsgen.npy import HEADER_BYTES, npy_header
from dsgen.seed import below, named_words, permutation
from dsgen.workloads import imseg_voxels

Shape = tuple[int, int, int]

FORMAT_VERSION: Final = 1
FORMATS: Final = {
    "npy": Choices(
        laws=("kits19", "original", "uniform", "small"),
        entropies=("natural", "incompressible", "holes"),
    )
}

_SMALL_SHAPES = 32
_STRATA = 8
# Bounds of the original's shapes, as the `uniform` law of the published generator uses them.
_DEPTHS = range(128, 472)
_HEIGHTS = range(186, 445)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A case's number, its role and its shape (D, H, W)."""

    case: int
    role: Role
    shape: Shape


def plan(parameters: Parameters) -> Layout:
    """Return the cases of the smallest data set of at least the size, at least one case."""
    files: list[PlannedFile] = []
    total_bytes = 0
    for case in cases(parameters.law, parameters.seed):
        both = pair(case, first_index=len(files))
        files += both
        total_bytes += sum(file.bytes for file in both)
        if total_bytes >= parameters.size_requested_bytes:
            break
    return Layout(parameters=parameters, files=tuple(files))


def blocks(
    layout: Layout, file: PlannedFile, segment: int, _: Mapping[int, int], /
) -> Generator[NDArray[np.uint8], None, None]:
    """Return the bytes of one segment of a volume or of a mask."""
    if layout.parameters.entropy == "holes":
        descr = "<f4" if file.file_class == "x" else "|u1"
        return holes.after(npy_header(descr, file.shape), file.segment(segment))
    seed, natural = layout.parameters.seed, layout.parameters.entropy == "natural"
    if file.file_class == "x":
        return imseg_voxels.volume_blocks(file, file.segment(segment), seed, natural=natural)
    return imseg_voxels.mask_blocks(file, file.segment(segment), seed)


def cases(law: str, seed: int) -> Iterator[Case]:
    """Yield the endless cases of a law, in the order in which a data set takes them."""
    if law == "original":
        yield from _original_cases()
        return
    identities = _interleaved(train_per_eval=3 if law == "small" else 4)
    train_shapes, eval_shapes = _shapes(law, seed)
    for case, role in identities:
        yield Case(
            case=case, role=role, shape=next(eval_shapes if role == "eval" else train_shapes)
        )


@cache
def originals() -> tuple[Case, ...]:
    """Return the 210 cases of the original, in its order."""
    text = resources.files("dsgen.originals").joinpath("kits19_shapes.csv").read_text("utf-8")
    return tuple(
        Case(
            case=int(row["case"]),
            role="eval" if row["split"] == "eval" else "train",
            shape=(int(row["depth"]), int(row["height"]), int(row["width"])),
        )
        for row in csv.DictReader(text.splitlines())
    )


def pair(case: Case, *, first_index: int) -> tuple[PlannedFile, PlannedFile]:
    """Return the image and the label of a case, the first with this index in its layout."""
    depth, height, width = case.shape
    voxels = depth * height * width

    def planned(index: int, file_class: str, voxel_bytes: int, samples: int) -> PlannedFile:
        size_bytes = HEADER_BYTES + voxel_bytes * voxels
        return PlannedFile(
            index=index,
            path=f"case_{case.case:05d}_{file_class}.npy",
            role=case.role,
            file_class=file_class,
            bytes=size_bytes,
            samples=samples,
            shape=(1, depth, height, width),
            key=case.case,
            starts=even_starts(size_bytes),
        )

    return planned(first_index, "x", 4, 1), planned(first_index + 1, "y", 1, 0)


def _original_cases() -> Iterator[Case]:
    """Yield the original's cases in its order, then again under new numbers, all for training."""
    originals_ = originals()
    for number in itertools.count():
        original = originals_[number % len(originals_)]
        role: Role = original.role if number < len(originals_) else "train"
        yield Case(case=number, role=role, shape=original.shape)


def _interleaved(*, train_per_eval: int) -> Iterator[tuple[int, Role]]:
    """Yield case numbers with their roles, an evaluation case after every few training cases.

    The reference decides by number which cases evaluate: 42 fixed ones of the first 210. Taking
    them in proportion gives a data set of any size enough of them for every rank.
    """
    evaluation = [original.case for original in originals() if original.role == "eval"]
    training = (number for number in itertools.count() if number not in set(evaluation))
    for eval_case in evaluation:
        yield from ((number, "train") for number in itertools.islice(training, train_per_eval))
        yield eval_case, "eval"
    yield from ((number, "train") for number in training)


def _shapes(law: str, seed: int) -> tuple[Iterator[Shape], Iterator[Shape]]:
    """Return the endless shapes of training and of evaluation cases."""
    if law == "uniform":
        return _uniform(seed, 0), _uniform(seed, 1)
    everything = [original.shape for original in originals()]
    if law == "small":
        smallest = sorted(everything, key=_volume)[:_SMALL_SHAPES]
        shapes = _stratified_blocks(itertools.repeat(smallest), seed, 0)
        return shapes, shapes
    train = [original.shape for original in originals() if original.role == "train"]
    evaluation = [original.shape for original in originals() if original.role == "eval"]
    # The first 210 cases are the original's own, each role its own; later ones train on all.
    return (
        _stratified_blocks(itertools.chain([train], itertools.repeat(everything)), seed, 0),
        _stratified_blocks(itertools.repeat(evaluation), seed, 1),
    )


def _uniform(seed: int, stream: int) -> Iterator[Shape]:
    words = named_words("imseg-uniform", seed, stream)
    while True:
        depth = _DEPTHS[below(words, len(_DEPTHS))]
        side = _HEIGHTS[below(words, len(_HEIGHTS))]
        yield depth, side, side


def _stratified_blocks(
    endless: Iterable[Sequence[Shape]], seed: int, stream: int
) -> Iterator[Shape]:
    """Yield every shape of each block once, in rounds that take one of every size class.

    So a small data set has the original's spread of sizes, too, instead of a lucky draw.
    """
    words = named_words("imseg-shapes", seed, stream)
    for block in endless:
        ordered = sorted(block, key=_volume)
        bounds = [len(ordered) * index // _STRATA for index in range(_STRATA + 1)]
        strata = [ordered[low:high] for low, high in itertools.pairwise(bounds)]
        shuffled = [[stratum[i] for i in permutation(words, len(stratum))] for stratum in strata]
        while any(shuffled):
            for index in permutation(words, _STRATA):
                if shuffled[index]:
                    yield shuffled[index].pop()


def _volume(shape: Shape) -> tuple[int, Shape]:
    depth, height, width = shape
    return depth * height * width, shape
