"""Checkpoints that ranks leave behind, in writes as observed."""

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from dsgen.errors import PathError
from dsgen.seed import named_words
from harness.worker.record import FileClass
from harness.worker.recording.io import DataCalls, TracedFile

# A run that was killed leaves its temporary file. Age tells it from one that is being written, on
# file systems that other hosts write to as well; a lock would not on all of them.
STALE_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteLaw:
    """Writes in cycles: a large one follows each group of small ones.

    Args:
        small_bytes: the groups of small writes of a cycle, of these sizes always.
        large_shares: the large write after each group, as shares of all large ones of the cycle.
        cycle_bytes: about what a cycle has; None for a single cycle of any size.
    """

    small_bytes: tuple[tuple[int, ...], ...]
    large_shares: tuple[int, ...]
    cycle_bytes: int | None


# A state dictionary is many small writes and few large ones. This cycle of 21 writes, 4 of them
# large, has the observed minimum (64) and lower quartile (1,280); its large writes are sized so
# that the observed mean holds, which gives a deviation of 2.06 times the mean (observed: 2.055).
_IMSEG_LAW: Final = WriteLaw(
    small_bytes=(
        (64, 1280, 1280, 1280),
        (1280, 1280, 1280, 1280),
        (64, 1280, 1280, 1280),
        (1280, 1280, 1280, 1280, 1280),
    ),
    large_shares=(1, 1, 1, 1),
    cycle_bytes=21 * 2_170_231,
)

# Embedding tables are a write each, which the kernel cuts at 2,147,479,552 bytes: five tables are
# three writes, three more are large; others, and what belongs to them, are small beside these.
# Observed at 27,129,166,561 bytes: minimum 98, lower quartile 7,348, mean 517,653,535 (so 52
# writes), deviation 841,116,648. These 52 writes have that minimum and quartile, and at that size
# mean and deviation within 1 %. Large shares are MB at that size.
_DLRM_LAW: Final = WriteLaw(
    small_bytes=(
        (98, 7348),
        *(((7348, 7348),) * 6),
        *(((131_072, 524_288),) * 9),
        *(((524_288,),) * 2),
    ),
    large_shares=(*((2147, 2147, 769) * 5), 1338, 290, 201),
    cycle_bytes=None,
)

# A table of variables goes through a buffer of 8 MiB, of which a first block is written alone.
_BLOCK_BYTES = 4096
_BUFFER_BYTES = 8 << 20


def law_writes(law: WriteLaw, total_bytes: int) -> list[int]:
    """Return the sizes of the writes of a checkpoint, which sum to `total_bytes` exactly.

    Source: minimum, lower quartile, mean and deviation of the writes of the published runs.
    """
    cycles = 1
    if law.cycle_bytes is not None:
        cycles = max(1, round(total_bytes / law.cycle_bytes))
    small_bytes = cycles * sum(map(sum, law.small_bytes))
    parts = cycles * sum(law.large_shares)
    large_bytes = total_bytes - small_bytes
    if large_bytes < parts:
        return [total_bytes]
    sizes: list[int] = []
    for small, share in list(zip(law.small_bytes, law.large_shares, strict=True)) * cycles:
        sizes += small
        sizes.append(large_bytes * share // parts)
    sizes[-1] += total_bytes - sum(sizes)
    return sizes


def bert_writes(total_bytes: int) -> list[int]:
    """Return 4,096 and 8,384,512 in turns, the last ones less, which sum to `total_bytes`.

    Source: the writes of the published runs, discslab-dl-bench/dlio_benchmark2,
    src/framework/tf_framework.py.

    >>> bert_writes(16_777_217)
    [4096, 8384512, 4096, 8384512, 1]
    """
    buffers, rest = divmod(total_bytes, _BUFFER_BYTES)
    sizes = [_BLOCK_BYTES, _BUFFER_BYTES - _BLOCK_BYTES] * buffers
    return [*sizes, *(part for part in (min(rest, _BLOCK_BYTES), rest - _BLOCK_BYTES) if part > 0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What a workload's checkpoint is.

    Args:
        name: of the file; of each rank's, with its number, where every one of them writes.
        of_every_reader: whether all ranks that read write one of their own, or the first alone.
        after_tests: whether one is written after each evaluation, over the one before, and not
            only at the end of training.
        writes: from the bytes of a file to the sizes of its writes.
    """

    name: str
    of_every_reader: bool
    after_tests: bool
    writes: Callable[[int], list[int]]

    def file_name(self, rank: int) -> str:
        """Return the name of a rank's file."""
        return f"{self.name}-{rank:05d}" if self.of_every_reader else self.name


KINDS: Final = {
    "imseg": Kind(
        name="ckpt_mean_dice",
        of_every_reader=False,
        after_tests=False,
        writes=partial(law_writes, _IMSEG_LAW),
    ),
    "bert": Kind(name="model.ckpt", of_every_reader=True, after_tests=False, writes=bert_writes),
    "dlrm": Kind(
        name="dlrm_checkpoint",
        of_every_reader=False,
        after_tests=True,
        writes=partial(law_writes, _DLRM_LAW),
    ),
}


class Checkpoint:
    """The checkpoints of a run: one file, or one of each rank that reads, written over and over.

    Args:
        kind: of the workload.
        directory: where it goes.
        size_bytes: of each file.
        readers: ranks that read.
        times: that each is written.
        first_id: of the files in the trace.
        seed: of the content.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        directory: Path,
        size_bytes: int,
        readers: int,
        first_id: int,
        seed: int,
        times: int = 1,
    ) -> None:
        self._kind = kind
        self._times = times
        self._directory = directory
        self._sizes = kind.writes(size_bytes)
        self._seed = seed
        # A name of this run alone, and no process id: each container counts its own from 1.
        self._token = secrets.token_hex(4)
        self.files = tuple(
            TracedFile(
                id=first_id + rank,
                path=str(directory / f"{kind.file_name(rank)}.{self._token}.partial"),
                size_bytes=size_bytes,
                file_class=FileClass.CHECKPOINT,
                role="checkpoint",
            )
            for rank in range(readers if kind.of_every_reader else 1)
        )

    @property
    def after_tests(self) -> bool:
        """Whether one follows each evaluation."""
        return self._kind.after_tests

    def calls(self, rank: int) -> int:
        """Return how many calls a rank's checkpoints take, a few partial writes included."""
        return self._times * (2 * len(self._sizes) + 3) if rank < len(self.files) else 0

    def remove_stale(self) -> None:
        """Remove what killed runs left; what cannot be removed is no reason to fail."""
        oldest_s = time.time() - STALE_S
        for path in self._directory.glob(f"{self._kind.name}*.partial"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()

    def writer(self, rank: int, turn: int = 0) -> "CheckpointWriter | None":
        """Return what writes a rank's file for the `turn`-th time; None where it has none."""
        if rank >= len(self.files):
            return None
        return CheckpointWriter(
            file=self.files[rank],
            final=self._directory / self._kind.file_name(rank),
            sizes=self._sizes,
            key=(self._seed, rank, turn),
        )


class CheckpointWriter:
    """Writes a file under a temporary name, flushes it, and gives it its name.

    The temporary name is this run's alone: others may train over the same data set. The file before
    it is replaced: one is kept. Content is random, and another one for each `key` of seed, rank and
    turn, so that storage that reduces data cannot take it for less than it is.
    """

    def __init__(
        self, *, file: TracedFile, final: Path, sizes: list[int], key: tuple[int, int, int]
    ) -> None:
        self._file = file
        self._final = final
        self._sizes = sizes
        words = named_words("checkpoint", *key).random_raw(-(-max(sizes) // 8))
        self._content = words.view(np.uint8).data

    def write(self, calls: DataCalls) -> None:
        """Write the checkpoint.

        Raises:
            PathError: the directory is not writable or full; what was begun is removed.
        """
        try:
            self.save(calls)
            self._rename()
        except BaseException:
            Path(self._file.path).unlink(missing_ok=True)
            raise

    def save(self, calls: DataCalls) -> None:
        """Write the file under its temporary name, and flush it."""
        descriptor = calls.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            self._write_all(calls, descriptor)
            calls.fsync(descriptor, self._file)
        finally:
            calls.close(descriptor, self._file)

    def _write_all(self, calls: DataCalls, descriptor: int) -> None:
        offset = 0
        for size_bytes in self._sizes:
            left = self._content[:size_bytes]
            while left:
                written = calls.write(descriptor, self._file, offset=offset, data=left)
                offset += written
                left = left[written:]

    def _rename(self) -> None:
        try:
            Path(self._file.path).replace(self._final)
        except OSError as error:
            then = "move what stands there away"
            what = f"cannot replace ({error.strerror})"
            raise PathError(what, where=str(self._final), then=then) from error
