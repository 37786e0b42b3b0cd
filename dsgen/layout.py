"""What a data set will consist of, before a byte exists: files, segments, sizes. Pure values."""

from dataclasses import dataclass
from typing import Any, Literal

# The unit of parallel writing, journal, repair and verify: large enough that a process writes for
# tens of milliseconds, small enough that one 500 GB file keeps every process busy.
SEGMENT_BYTES = 64 * 2**20

Role = Literal["train", "eval", "sidecar"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A fixed range of a file, with its own seed and CRC32C."""

    index: int
    offset_bytes: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFile:
    """One file of the data set.

    Args:
        index: position in the layout; part of the seed of its content.
        path: relative to the data set's directory, with `/`.
        role: what training uses it for.
        file_class: what it is to the workload (`x`, `y`).
        bytes: exact size.
        samples: training examples that start in it (0 where a companion file counts them).
        shape: of the array it holds.
        key: names the sample across its files; part of the seed of what they share.
    """

    index: int
    path: str
    role: Role
    file_class: str
    bytes: int
    samples: int
    shape: tuple[int, ...]
    key: int

    @property
    def segment_count(self) -> int:
        """Number of segments; an empty file has one empty segment."""
        return max(1, -(-self.bytes // SEGMENT_BYTES))

    def segment(self, index: int) -> Segment:
        """Return the segment `index`; the last one is as long as what is left."""
        offset = index * SEGMENT_BYTES
        length = min(SEGMENT_BYTES, self.bytes - offset)
        return Segment(index=index, offset_bytes=offset, bytes=length)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """What determines every byte of a data set."""

    workload: str
    format: str
    format_version: int
    law: str
    seed: int
    size_requested_bytes: int

    def differences(self, other: "Parameters") -> list[str]:
        """Return one `name here, not there` text a field in which the two differ."""
        mine, theirs = self.as_json(), other.as_json()
        return [
            f"{name} {mine[name]}, not {theirs[name]}"
            for name in mine
            if mine[name] != theirs[name]
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the fields in their order in manifest and journal."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The files of a data set, in the order in which they are written."""

    parameters: Parameters
    files: tuple[PlannedFile, ...]

    @property
    def data_bytes(self) -> int:
        """Bytes of all files that count towards the desired size."""
        return sum(file.bytes for file in self.files if file.role != "sidecar")

    @property
    def sidecar_bytes(self) -> int:
        """Bytes of the files beside the data."""
        return sum(file.bytes for file in self.files if file.role == "sidecar")

    def samples(self, role: Role) -> int:
        """Return how many samples training or evaluation has."""
        return sum(file.samples for file in self.files if file.role == role)
