"""What a pipeline of bert reads, and in which order: for our reader and for tf.data's. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from dsgen.seed import named_words, permutation
from harness.worker.recording.io import TracedFile

SHUFFLE_RECORDS: Final = 1_000

_WORDS_AT_ONCE: Final = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """What a pipeline reads in one phase; a sample of a batch is the next record of its stream.

    Args:
        files: in the order of their names.
        key: seed, epoch and rank that the order of files and records follows from; None for
            one pass as they are.
        repeats: whether passes follow one another without end.
    """

    files: tuple[TracedFile, ...]
    key: tuple[int, int, int] | None
    repeats: bool

    def passes(self) -> Iterator[int]:
        """Return the numbers of its passes, from 0."""
        return count() if self.repeats else iter(range(1))

    def order(self, number: int) -> Sequence[TracedFile]:
        """Return the files in the order of pass `number`."""
        if self.key is None:
            return self.files
        words = named_words("bert file order", *self.key, number)
        return [self.files[place] for place in permutation(words, len(self.files))]

    def draws(self, number: int) -> Iterator[int]:
        """Return the words that shuffle the records of pass `number`."""
        words = named_words("bert record order", *(self.key or (0, 0, 0)), number)
        while True:
            yield from words.random_raw(_WORDS_AT_ONCE).tolist()
