"""What a data set will consist of, before a byte exists: files, segments, sizes. Pure values."""

from dataclasses import dataclass
from typing import Any, Literal

# The unit of parallel writing, journal, repair and verify: large enough that a process writes for
# tens of milliseconds, small enough that one 500 GB file keeps every process busy. Where records
# must not be cut, a segment has as many of them as fit.
SEGMENT_BYTES = 64 * 2**20

Role = Literal["train", "eval", "sidecar"]
Entropy = Literal["natural", "incompressible", "holes"]
Compression = Literal["none", "deflate", "stored"]
# Where the content comes from: drawn, or from files that were there before.
Origin = Literal["generate", "copy", "augment", "clone"]

# In the place of a number of samples: it is known when the file has been written.
COUNTED = -1


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
        file_class: what it is to the workload (`x`, `y`, `record`).
        bytes: exact size.
        samples: examples in it (0 where a companion file counts them, or COUNTED).
        shape: of the array it holds; (samples,) where it holds records.
        key: names the sample or the part across its files; part of the seed of what they share.
        starts: where each segment begins, in bytes, the first at 0.
        counts: whether the desired size counts it.
        closing: segments that describe the others and are written after them.
        copy: how many earlier files of a scaled data set have the same source.
    """

    index: int
    path: str
    role: Role
    file_class: str
    bytes: int
    samples: int
    shape: tuple[int, ...]
    key: int
    starts: tuple[int, ...]
    counts: bool = True
    closing: frozenset[int] = frozenset()
    copy: int = 0

    @property
    def segment_count(self) -> int:
        """Number of segments, at least one."""
        return len(self.starts)

    def segment(self, index: int) -> Segment:
        """Return the segment `index`; the last one reaches to the end of the file."""
        start, following = self.starts[index], index + 1
        end = self.starts[following] if following < len(self.starts) else self.bytes
        return Segment(index=index, offset_bytes=start, bytes=end - start)


def even_starts(size_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> tuple[int, ...]:
    """Return where segments of one length begin; an empty file has one empty segment.

    >>> even_starts(10, 4), even_starts(0, 4)
    ((0, 4, 8), (0,))
    """
    return tuple(range(0, max(size_bytes, 1), segment_bytes))


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A second name of a file, as a relative symbolic link beside it."""

    path: str
    target: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """What determines every byte of a data set."""

    workload: str
    format: str
    format_version: int
    law: str
    seed: int
    size_requested_bytes: int
    entropy: Entropy = "natural"
    compression: Compression = "none"
    min_files: int = 0
    origin: Origin | None = "generate"  # None: of a user's own, nobody says
    source_crc32c: str = ""  # of the listing of what was there before, eight hex digits

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
    links: tuple[Link, ...] = ()

    @property
    def data_bytes(self) -> int:
        """Bytes of all files that count towards the desired size."""
        return sum(file.bytes for file in self.files if file.counts)

    @property
    def sidecar_bytes(self) -> int:
        """Bytes of the files beside these: counts, and evaluation data kept apart."""
        return sum(file.bytes for file in self.files if not file.counts)

    @property
    def paths(self) -> set[str]:
        """Every name in the data set's directory that the layout gives."""
        return {file.path for file in self.files} | {link.path for link in self.links}

    def samples(self, role: Role) -> int:
        """Return how many samples training or evaluation has; COUNTED where a file's is."""
        counts = [file.samples for file in self.files if file.role == role]
        return COUNTED if COUNTED in counts else sum(counts)
