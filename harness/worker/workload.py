"""What the training loop asks of a workload: which batches, and how one is read.

Arguments go by their places: a workload that has no use for one gives it another name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.worker.record import Phase
from harness.worker.recording.io import DataCalls, TracedFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What one step reads: `samples` are the workload's own values, steps count from 1."""

    step: int
    samples: Sequence[Any]


class Batches(Protocol):
    """The batches of a phase in their order; a list, or what makes each when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Batch: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PartOfBatches:
    """Some of the batches of a phase: those at `places`, from 0."""

    batches: Batches
    places: range

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int, /) -> Batch:
        """Return a batch as it is of the whole."""
        return self.batches[self.places[index]]


def sample_count(batches: Batches) -> int:
    """Return how many samples are in all batches together."""
    return sum(len(batches[index].samples) for index in range(len(batches)))


def mean_bytes(files: Iterable[TracedFile], samples: int) -> float:
    """Return the mean bytes of the training samples that these files hold."""
    return sum(file.size_bytes for file in files if file.role == "train") / max(1, samples)


class BatchReader(Protocol):
    """Reads batches in one thread; its memory is made at once, not while reading."""

    def read(self, batch: Batch, slot: int, /) -> None:
        """Read a batch and leave what training needs of it in slot number `slot`."""

    def batch(self, slot: int, /) -> Any:
        """Return what `read` left in a slot, as an accelerator takes it."""

    def end(self) -> None:
        """End a phase: let go of what the next one does not continue. May be called again."""


class Reading(Protocol):
    """How the reference training of a workload reads one data set. Pure but for `reader`."""

    @property
    def files(self) -> tuple[TracedFile, ...]:
        """Every file that may be read, by id."""

    @property
    def readers(self) -> int:
        """How many ranks read, the first ones. The others have no batches, but take every step."""

    @property
    def computes(self) -> bool:
        """Whether accelerators compute; where they do not, nothing is trained and saved."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the same for every rank."""

    @property
    def train_samples(self) -> int | None:
        """Training samples of the data set, None where only reading all of it would tell."""

    @property
    def sample_bytes(self) -> float:
        """Mean bytes of a training sample, as the files hold them."""

    @property
    def epoch_samples(self) -> int:
        """Training samples that an epoch reads, all ranks together."""

    @property
    def open_files(self) -> int:
        """Descriptors that one reader holds at a time."""

    @property
    def opening_calls(self) -> int:
        """Calls that making a reader takes."""

    @property
    def reader_bytes(self) -> int:
        """Memory that one reader keeps for the whole run."""

    @property
    def slot_bytes(self) -> int:
        """Memory that the outcome of one batch takes."""

    def calls(self, phase: Phase, batches: int, /) -> int:
        """Return how many calls a reader makes for so many batches of a phase, at most."""

    def train(self, epoch: int, rank: int, /) -> Batches:
        """Return the batches of an epoch, of a rank that reads."""

    def evaluation(self, epoch: int, rank: int, /) -> Batches:
        """Return the evaluation batches after an epoch, of a rank that reads."""

    def slots(self, count: int, /) -> Any:
        """Return memory for the outcome of `count` batches, shared by a rank's readers."""

    def reader(self, calls: DataCalls, slots: Any, /) -> BatchReader:
        """Return a reader whose calls are recorded by `calls` and whose batches go to `slots`."""
