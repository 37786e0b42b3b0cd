"""The page cache before an epoch: emptied of the data set, filled with it, or left as it is."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.worker.host.residency import evict, resident_fraction, warm
from harness.worker.record import Eviction
from harness.worker.recording.io import TracedFile
from harness.worker.recording.whereabouts import Place, Post
from harness.worker.spec import WorkerSpec


class PageCache:
    """One rank's part of the work on the page cache, which all ranks share.

    Args:
        spec: for the state that is asked for.
        files: of the data set.
        rank: this one's number.
        post: of its main thread.

    `evictions` are told by the first rank.
    """

    def __init__(
        self, spec: WorkerSpec, files: Sequence[TracedFile], *, rank: int, post: Post
    ) -> None:
        self._state = spec.cache
        self._files = files
        self._own = files[rank :: spec.accelerators]
        self._rank = rank
        self._post = post
        self.evictions: list[Eviction] = []

    def is_due(self, epoch: int) -> bool:
        """Return whether there is anything to do before this epoch."""
        return self._state == "cold" or (self._state in ("once", "warm") and epoch == 1)

    def arrange(self, epoch: int, meet: Callable[[], None]) -> None:
        """Bring the cache into the state asked for; `meet` returns when all ranks have called it.

        Raises:
            DataSetError: a file cannot be opened.
        """
        meet()
        started_ns = time.monotonic_ns()
        if self._state == "warm":
            warm(self._posted(Place.WARMING, self._own))
        else:
            evict(self._posted(Place.EVICTION, self._own))
        meet()
        if self._rank == 0 and self._state != "warm":
            self.evictions.append(
                Eviction(
                    epoch=epoch,
                    files=len(self._files),
                    bytes=sum(file.size_bytes for file in self._files),
                    seconds=(time.monotonic_ns() - started_ns) / 1e9,
                    resident_fraction=self._resident_fraction() if epoch == 1 else None,
                )
            )

    def _resident_fraction(self) -> float | None:
        return resident_fraction(self._posted(Place.PROBE, self._files))

    def _posted(self, place: Place, files: Iterable[TracedFile]) -> Iterator[str]:
        """Yield the files' paths, and say of each that it is its turn."""
        for file in files:
            self._post.enter(place, time.monotonic_ns(), file.id)
            yield file.path
