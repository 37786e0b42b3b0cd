"""The checkpoint that rank 0 leaves behind after the last epoch, in writes as observed."""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from dsgen.errors import PathError
from dsgen.seed import named_words
from harness.worker.io import DataCalls, TracedFile
from harness.worker.record import FileClass

NAME = "ckpt_mean_dice"

# A run that was killed leaves its temporary file. Age tells it from one that is being written, on
# file systems that other hosts write to as well; a lock would not on all of them.
STALE_S = 24 * 3600.0

# A state dictionary is many small writes and few large ones. This cycle of 21 writes, 4 of them
# large, has the observed minimum (64) and lower quartile (1,280); its large writes are sized so
# that the observed mean holds, which gives a deviation of 2.06 times the mean (observed: 2.055).
_SMALL_BYTES = (
    (64, 1280, 1280, 1280),
    (1280, 1280, 1280, 1280),
    (64, 1280, 1280, 1280),
    (1280, 1280, 1280, 1280, 1280),
)
_MEAN_BYTES = 2_170_231
_CYCLE_WRITES = sum(len(group) + 1 for group in _SMALL_BYTES)
_CYCLE_SMALL_BYTES = sum(sum(group) for group in _SMALL_BYTES)


def write_sizes(total_bytes: int) -> list[int]:
    """Return the sizes of the writes of a checkpoint, which sum to `total_bytes` exactly.

    Source: minimum, lower quartile, mean and deviation of the writes of the published runs.
    """
    cycles = max(1, round(total_bytes / (_CYCLE_WRITES * _MEAN_BYTES)))
    large_total_bytes = total_bytes - cycles * _CYCLE_SMALL_BYTES
    large = cycles * len(_SMALL_BYTES)
    if large_total_bytes < large:
        return [total_bytes]
    sizes: list[int] = []
    for number in range(large):
        sizes += _SMALL_BYTES[number % len(_SMALL_BYTES)]
        sizes.append(large_total_bytes // large)
    sizes[-1] += large_total_bytes % large
    return sizes


class CheckpointWriter:
    """Writes the checkpoint under a temporary name, flushes it, and gives it its name.

    The temporary name is this run's alone: others may train over the same data set. The file before
    it is replaced: one is kept. Content is random, so that storage that reduces data cannot take it
    for less than it is.
    """

    def __init__(self, *, directory: Path, size_bytes: int, file_id: int, seed: int) -> None:
        self._directory = directory
        self._final = directory / NAME
        self._sizes = write_sizes(size_bytes)
        words = named_words("checkpoint", seed).random_raw(-(-max(self._sizes) // 8))
        self._content = memoryview(words.tobytes())
        self.file = TracedFile(
            id=file_id,
            # No process id: each container counts its own from 1.
            path=str(directory / f"{NAME}.{secrets.token_hex(4)}.partial"),
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
        for path in self._directory.glob(f"{NAME}*.partial"):
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
