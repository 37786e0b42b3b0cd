"""How image segmentation reads: whole volumes by np.load, of which a crop is kept.

A case is a pair of files, image and label, both read to their end in this order. Training takes
a crop of 128 voxels a side from the same place of both. The reference forces 40 % of the crops
to hold a labelled voxel, for which it searches the label; that is computation, not reading, and
it is not done here. Evaluation needs the whole volume: nothing is cropped.

Source: the image segmentation reference of MLPerf Training, in the variant of the published runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from dsgen.errors import DataSetError
from dsgen.manifest import Manifest, ManifestFile
from dsgen.memory import Bytes, held_bytes, touched
from dsgen.seed import named_words
from harness.worker.loading.npy import CALLS_PER_FILE, NpyReader
from harness.worker.order import (
    Samples,
    check_steps,
    eval_order,
    in_turn,
    steps_per_epoch,
    train_batches,
    typical,
)
from harness.worker.record import FileClass, Phase
from harness.worker.recording.io import DataCalls, TracedFile
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Batch, mean_bytes

CROP = 128
_DTYPES = {FileClass.X: np.dtype("<f4"), FileClass.Y: np.dtype("|u1")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A pair of files."""

    x: TracedFile
    y: TracedFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A case to read; `corner` holds three random words that place the crop, None for no crop."""

    case: Case
    corner: tuple[int, int, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CropSlots:
    """Crops of some batches: shapes (slots, batch, 128, 128, 128)."""

    x: NDArray[np.float32]
    y: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImsegReading:
    """The training and evaluation cases of a data set, and who reads them when."""

    spec: WorkerSpec
    train_cases: tuple[Case, ...]
    eval_cases: tuple[Case, ...]

    @property
    def files(self) -> tuple[TracedFile, ...]:
        """All files of all cases."""
        cases = self.train_cases + self.eval_cases
        return tuple(file for case in cases for file in (case.x, case.y))

    @property
    def computes(self) -> bool:
        """A batch is trained on."""
        return True

    @property
    def steps_per_epoch(self) -> int:
        """Full steps of an epoch, or fewer where fewer are asked for."""
        return self.spec.steps or self.full_steps

    @property
    def full_steps(self) -> int:
        """Full steps that the data set has."""
        spec = self.spec
        return steps_per_epoch(
            self.train_samples, ranks=spec.accelerators, batch_size=spec.batch_size
        )

    @property
    def readers(self) -> int:
        """Every rank reads its own cases."""
        return self.spec.accelerators

    @property
    def train_samples(self) -> int:
        """Training cases."""
        return len(self.train_cases)

    @property
    def sample_bytes(self) -> float:
        """Of the training files, spread over their samples."""
        return mean_bytes(self.files, self.train_samples)

    @property
    def epoch_samples(self) -> int:
        """Cases of whole steps."""
        return self.steps_per_epoch * self.spec.batch_size * self.spec.accelerators

    @property
    def open_files(self) -> int:
        """A file, and its duplicate while np.load has it."""
        return 2

    def calls(self, phase: Phase, batches: int) -> int:
        """Return the calls of the pairs of so many batches."""
        pairs = batches * (self.spec.batch_size if phase is Phase.TRAIN else 1)
        return pairs * 2 * CALLS_PER_FILE

    @property
    def opening_calls(self) -> int:
        """None: files are opened when they are read."""
        return 0

    def train(self, epoch: int, rank: int) -> Sequence[Batch]:
        """Return the rank's batches, each case with the place of its crop."""
        spec = self.spec
        order = self._order(epoch, rank)
        words = named_words("imseg crop", spec.seed, epoch, rank).random_raw(3 * order.size)
        corners = iter(words.reshape(-1, 3).tolist())
        return [
            Batch(
                step=step,
                samples=tuple(
                    Sample(
                        case=self.train_cases[number],
                        corner=cast(tuple[int, int, int], tuple(next(corners))),
                    )
                    for number in batch
                ),
            )
            for step, batch in enumerate(order, 1)
        ]

    def _order(self, epoch: int, rank: int) -> Samples:
        spec = self.spec
        if spec.rehearsal is not None:
            sizes = [case.x.size_bytes + case.y.size_bytes for case in self.train_cases]
            pool = typical(sizes, spec.rehearsal.samples)
            return in_turn(
                pool,
                rank=rank,
                ranks=spec.accelerators,
                batch_size=spec.batch_size,
                steps=self.steps_per_epoch,
            )
        return train_batches(
            self.train_samples,
            seed=spec.seed,
            epoch=epoch,
            rank=rank,
            ranks=spec.accelerators,
            batch_size=spec.batch_size,
        )[: self.steps_per_epoch]

    def evaluation(self, epoch: int, rank: int) -> Sequence[Batch]:
        """Return the rank's evaluation cases, one a batch."""
        order = eval_order(
            len(self.eval_cases),
            seed=self.spec.seed,
            epoch=epoch,
            rank=rank,
            ranks=self.spec.accelerators,
        )
        return [
            Batch(step=step, samples=(Sample(case=self.eval_cases[number], corner=None),))
            for step, number in enumerate(order, 1)
        ]

    def slots(self, count: int) -> CropSlots:
        """Return memory for the crops of `count` batches."""
        shape = (count, self.spec.batch_size, CROP, CROP, CROP)
        voxels = int(np.prod(shape, dtype=np.int64))
        return CropSlots(
            x=touched(4 * voxels).view(np.float32).reshape(shape),
            y=touched(voxels).reshape(shape),
        )

    def reader(self, calls: DataCalls, slots: CropSlots) -> "ImsegReader":
        """Return a reader with memory for the largest case, unless each file shall have its own."""
        # Of the directory: to ask for a file's would be a call on data that leaves no row.
        block_bytes = Path(self.spec.data_dir).stat().st_blksize
        return ImsegReader(
            npy=NpyReader(calls, block_bytes=block_bytes),
            slots=slots,
            x_buffer=self._buffer(FileClass.X),
            y_buffer=self._buffer(FileClass.Y),
        )

    @property
    def reader_bytes(self) -> int:
        """A volume and its label, unless each file has its own."""
        if self.spec.buffer == "fresh":
            return 0
        return sum(held_bytes(self._largest(one)) for one in (FileClass.X, FileClass.Y))

    @property
    def slot_bytes(self) -> int:
        """Crops of float32 and uint8."""
        return 5 * self.spec.batch_size * CROP**3

    def _largest(self, file_class: FileClass) -> int:
        return max(file.size_bytes for file in self.files if file.file_class is file_class)

    def _buffer(self, file_class: FileClass) -> Bytes | None:
        if self.spec.buffer == "fresh":
            return None
        return touched(self._largest(file_class))


class ImsegReader:
    """Reads cases in one thread."""

    def __init__(
        self, *, npy: NpyReader, slots: CropSlots, x_buffer: Bytes | None, y_buffer: Bytes | None
    ) -> None:
        self._npy = npy
        self._slots = slots
        self._x_buffer = x_buffer
        self._y_buffer = y_buffer

    def read(self, batch: Batch, slot: int) -> None:
        """Read each case of the batch, keep its crop, drop the volume.

        Raises:
            DataSetError: a file is unreadable or not what a case consists of.
        """
        for place, sample in enumerate(batch.samples):
            case: Case = sample.case
            x = self._npy.load(case.x, self._x_buffer)
            y = self._npy.load(case.y, self._y_buffer)
            _check(case.x, x)
            _check(case.y, y)
            if x.shape != y.shape:
                what = f"image {x.shape} and label {y.shape} differ"
                raise DataSetError(what, where=case.x.path, then="`verify` the data set")
            if sample.corner is not None:
                _crop(x, sample.corner, self._slots.x[slot, place])
                _crop(y, sample.corner, self._slots.y[slot, place])

    def batch(self, slot: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the crops in a slot: images and labels."""
        return self._slots.x[slot], self._slots.y[slot]

    def end(self) -> None:
        """Nothing: every case is read whole."""


def plan_imseg(spec: WorkerSpec, manifest: Manifest) -> ImsegReading:
    """Return how `spec` reads the data set of `manifest`.

    Raises:
        DataSetError: another workload's, unpaired files, or too few cases for these ranks.
    """
    if manifest.workload != "imseg":
        what = f"a data set of {manifest.workload}, not imseg"
        raise DataSetError(what, where=spec.data_dir, then="name the directory of an imseg set")
    data = sorted((f for f in manifest.files if f.role != "sidecar"), key=lambda f: f.path)
    reading = ImsegReading(
        spec=spec,
        train_cases=_cases(spec, data, "train"),
        eval_cases=_cases(spec, data, "eval"),
    )
    _check_enough(spec, reading)
    return reading


def _cases(
    spec: WorkerSpec, data: list[ManifestFile], role: Literal["train", "eval"]
) -> tuple[Case, ...]:
    traced = {
        file.path: TracedFile(
            id=number,
            path=str(Path(spec.data_dir) / file.path),
            size_bytes=file.bytes,
            file_class=FileClass.X if file.path.endswith("_x.npy") else FileClass.Y,
            role=role,
        )
        for number, file in enumerate(data)
        if file.role == role
    }
    images = [path for path in traced if path.endswith("_x.npy")]
    labels = [f"{path.removesuffix('_x.npy')}_y.npy" for path in images]
    if set(images + labels) != set(traced):
        alone = ", ".join(sorted(set(images + labels) ^ set(traced))[:3])
        what = f"not pairs of _x.npy and _y.npy ({alone})"
        raise DataSetError(what, where=spec.data_dir, then="generate the data set again")
    return tuple(Case(x=traced[x], y=traced[y]) for x, y in zip(images, labels, strict=True))


def _check_enough(spec: WorkerSpec, reading: ImsegReading) -> None:
    ranks, batch_size = spec.accelerators, spec.batch_size
    if reading.full_steps == 0:
        what = (
            f"{reading.train_samples} training cases, and a step of {ranks} accelerators x "
            f"batch {batch_size} takes {ranks * batch_size}"
        )
        then = "use a larger data set, fewer accelerators, a smaller batch"
        raise DataSetError(what, where=spec.data_dir, then=then)
    if spec.rehearsal is None:
        check_steps(spec, reading.full_steps)
    cases = len(reading.eval_cases)
    if 0 < spec.eval_from <= spec.epochs and cases < ranks:
        what = f"{cases} evaluation cases for {ranks} accelerators, which need one each"
        then = "use a larger data set or fewer accelerators, or switch evaluation off"
        raise DataSetError(what, where=spec.data_dir, then=then)


def _check(file: TracedFile, volume: NDArray[np.generic]) -> None:
    dtype = _DTYPES[file.file_class]
    if volume.dtype != dtype or volume.ndim != 4 or volume.shape[0] != 1:
        what = f"{volume.dtype} {volume.shape} where {dtype} (1, D, H, W) belongs"
        raise DataSetError(what, where=file.path, then="`verify` the data set")


def _crop(
    volume: NDArray[np.generic], corner: tuple[int, int, int], target: NDArray[np.generic]
) -> None:
    # A side shorter than the crop is taken whole.
    sides = [min(CROP, length) for length in volume.shape[1:]]
    starts = [
        word % (length - side + 1)
        for word, length, side in zip(corner, volume.shape[1:], sides, strict=True)
    ]
    z, y, x = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    target[: sides[0], : sides[1], : sides[2]] = volume[0, z, y, x]
