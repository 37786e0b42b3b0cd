"""The checkpoint that rank 0 leaves behind after the last epoch, in writes as observed."""

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsgen.errors import PathError
from dsgen.seed import named_words
from harness.worker.io import DataCalls, TracedFile
from harness.worker.record import FileClass

# A run that was killed leaves its temporary file. Age tells it from one that is being written, on
# file systems that other hosts write to as well; a lock would not on all of them.
STALE_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointLaw:
    """Writes in cycles: a large one follows each group of small ones.

    Args:
        name: of the file.
        small_bytes: the groups of small writes of a cycle, of these sizes always.
        large_shares: the large write after each group, as shares of all large ones of the cycle.
        cycle_bytes: about what a cycle has; None for a single cycle of any size.
    """

    name: str
    small_bytes: tuple[tuple[int, ...], ...]
    large_shares: tuple[int, ...]
    cycle_bytes: int | None


# A state dictionary is many small writes and few large ones. This cycle of 21 writes, 4 of them
# large, has the observed minimum (64) and lower quartile (1,280); its large writes are sized so
# that the observed mean holds, which gives a deviation of 2.06 times the mean (observed: 2.055).
_IMSEG: Final = CheckpointLaw(
    name="ckpt_mean_dice",
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
_DLRM: Final = CheckpointLaw(
    name="dlrm_checkpoint",
    small_bytes=(
        (98, 7348),
        *(((7348, 7348),) * 6),
        *(((131_072, 524_288),) * 9),
        *(((524_288,),) * 2),
    ),
    large_shares=(*((2147, 2147, 769) * 5), 1338, 290, 201),
    cycle_bytes=None,
)

LAWS: Final = {"imseg": _IMSEG, "dlrm": _DLRM}


def write_sizes(law: CheckpointLaw, total_bytes: int) -> list[int]:
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


class CheckpointWriter:
    """Writes the checkpoint under a temporary name, flushes it, and gives it its name.

    The temporary name is this run's alone: others may train over the same data set. The file before
    it is replaced: one is kept. Content is random, so that storage that reduces data cannot take it
    for less than it is.
    """

    def __init__(
        self, *, directory: Path, law: CheckpointLaw, size_bytes: int, file_id: int, seed: int
    ) -> None:
        self._directory = directory
        self._name = law.name
        self._final = directory / law.name
        self._sizes = write_sizes(law, size_bytes)
        words = named_words("checkpoint", seed).random_raw(-(-max(self._sizes) // 8))
        self._content = memoryview(words.tobytes())
        self.file = TracedFile(
            id=file_id,
            # No process id: each container counts its own from 1.
            path=str(directory / f"{law.name}.{secrets.token_hex(4)}.partial"),
            size_bytes=size_bytes,
            file_class=FileClass.CHECKPOINT,
            role="checkpoint",
        )

    @property
    def calls(self) -> int:
        """How many calls a checkpoint takes, a few partial writes included."""
        return 2 * len(self._sizes) + 3

    def remove_stale(self) -> None:
        """Remove what killed runs left; what cannot be removed is no reason to fail."""
        oldest_s = time.time() - STALE_S
        for path in self._directory.glob(f"{self._name}*.partial"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()

    def write(self, calls: DataCalls) -> None:
        """Write the checkpoint.

        Raises:
            PathError: the directory is not writable or full; what was begun is removed.
        """
        try:
            descriptor = calls.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                self._write_all(calls, descriptor)
                calls.fsync(descriptor, self.file)
            finally:
                calls.close(descriptor, self.file)
            self._rename()
        except BaseException:
            Path(self.file.path).unlink(missing_ok=True)
            raise

    def _write_all(self, calls: DataCalls, descriptor: int) -> None:
        offset = 0
        for size_bytes in self._sizes:
            left = self._content[:size_bytes]
            while left:
                written = calls.write(descriptor, self.file, offset=offset, data=left)
                offset += written
                left = left[written:]

    def _rename(self) -> None:
        try:
            Path(self.file.path).replace(self._final)
        except OSError as error:
            then = "move what stands there away"
            what = f"cannot replace ({error.strerror})"
            raise PathError(what, where=str(self._final), then=then) from error
