"""imseg: a user's cases, and how they continue in a larger data set.

A copy has the bytes of its case under the next free number. The reference evaluates on 42 numbers
below 210, so copies are numbered from 210 on, and train.
"""

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from dsgen.errors import DataSetError
from dsgen.layout import Layout, Parameters, PlannedFile, Role, even_starts
from dsgen.npy import NPY_MAGIC, read_npy_header
from dsgen.source import Source, SourceFile, listed, unreadable
from dsgen.workloads.imseg import originals

NAME: Final = re.compile(r"(?P<case>.+_(?P<number>\d+))_(?P<kind>[xy])\.npy")

DTYPES: Final[dict[str, np.dtype[Any]]] = {"x": np.dtype("<f4"), "y": np.dtype("u1")}
# numpy writes 128 bytes; a header of version 1.0 may be as long as this.
_HEADER_BYTES: Final = 2**16
_THEN = "leave it out, or make it again"


def inspect(root: Path, names: list[str]) -> Source:
    """Return the cases of `names`, sorted, each an image and a label.

    Raises:
        DataSetError: no pair, another type or shape, or a file of another length than it says.
    """
    evaluation = {case.case for case in originals() if case.role == "eval"}
    cases: dict[str, dict[str, str]] = {}
    numbers: dict[str, int] = {}
    for name in names:
        match = NAME.fullmatch(name)
        assert match is not None  # that is how they were chosen
        cases.setdefault(match["case"], {})[match["kind"]] = name
        numbers[match["case"]] = int(match["number"])
    files: list[SourceFile] = []
    for case in sorted(cases):
        pair = cases[case]
        for kind in "xy":
            if kind not in pair:
                there = next(iter(pair.values()))
                what = f"no {case}_{kind}.npy beside {there}"
                raise DataSetError(what, where=str(root), then="add it, or leave the other out")
        role: Role = "eval" if numbers[case] in evaluation else "train"
        image = _file(root, pair["x"], "x", role, samples=1)
        label = _file(root, pair["y"], "y", role, samples=0)
        if image.shape != label.shape:
            what = f"image {image.shape} and label {label.shape} differ"
            raise DataSetError(what, where=str(root / pair["y"]), then=_THEN)
        files += [image, label]
    return Source(workload="imseg", format="npy", compression="none", files=tuple(files))


def scaled(source: Source, parameters: Parameters) -> Layout:
    """Return the cases of the smallest data set of at least the size, in turns over the input."""
    files: list[PlannedFile] = []
    total_bytes = 0
    cases = len(source.files) // 2
    for place, case in zip(itertools.count(), _names(source), strict=False):
        number = place % cases
        for kind, offset in (("x", 0), ("y", 1)):
            of = source.files[2 * number + offset]
            files.append(
                PlannedFile(
                    index=len(files),
                    path=of.path if place < cases else f"{case}_{kind}.npy",
                    role=of.role if place < cases else "train",
                    file_class=kind,
                    bytes=of.bytes,
                    samples=of.samples,
                    shape=of.shape,
                    key=2 * number + offset,
                    starts=even_starts(of.bytes),
                    copy=place // cases,
                )
            )
            total_bytes += of.bytes
        if total_bytes >= parameters.size_requested_bytes:
            break
    return Layout(parameters=parameters, files=tuple(files))


def _names(source: Source) -> Iterator[str]:
    """Yield what stands before `_x.npy`: the input's own, then the numbers that follow."""
    matches = [NAME.fullmatch(file.path) for file in source.files[::2]]
    own = [match["case"] for match in matches if match]
    yield from own
    prefix = own[0].rpartition("_")[0]
    highest = max(int(match["number"]) for match in matches if match)
    for number in itertools.count(max(highest + 1, len(originals()))):
        yield f"{prefix}_{number:05d}"


def _file(root: Path, name: str, kind: str, role: Role, *, samples: int) -> SourceFile:
    path = root / name
    file = listed(root, name, role=role, file_class=kind, samples=samples)
    try:
        with path.open("rb") as stream:
            start = stream.read(128)
            header = _header(start) or _header(start + stream.read(_HEADER_BYTES))
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise DataSetError("not a .npy file of version 1.0", where=str(path), then=_THEN) from error
    if header is None:
        raise DataSetError("truncated .npy header", where=str(path), then=_THEN)
    header_bytes, shape, dtype, fortran = header
    if dtype != DTYPES[kind] or len(shape) != 4 or shape[0] != 1 or min(shape) < 1 or fortran:
        order = "Fortran" if fortran else "C"
        what = f"{dtype} {shape} in {order} order where {DTYPES[kind]} (1, D, H, W) in C belongs"
        raise DataSetError(what, where=str(path), then=_THEN)
    expected = header_bytes + math.prod(shape) * dtype.itemsize
    if file.bytes != expected:
        what = f"{file.bytes:,} bytes where its header says {expected:,}"
        raise DataSetError(what, where=str(path), then=_THEN)
    return replace(file, shape=shape)


@lru_cache(maxsize=1024)  # of a million small cases many have the same
def _header(start: bytes) -> tuple[int, tuple[int, ...], np.dtype[np.generic], bool] | None:
    """Return length, shape, type and whether in Fortran order; None where more bytes are needed."""
    if not start.startswith(NPY_MAGIC):
        raise ValueError("another version")
    if len(start) < 10 + int.from_bytes(start[8:10], "little"):
        return None
    stream = BytesIO(start)
    shape, fortran, dtype = read_npy_header(stream)
    return stream.tell(), shape, dtype, fortran
