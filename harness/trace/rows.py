"""From a foreign trace to rows: which files count, what their calls are, and what is left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from errno import errorcode
from fnmatch import fnmatchcase
from typing import Final

import numpy as np

from harness.analysis.recording import DataFile, Records
from harness.similarity.pattern import TRANSFERS, phase_of
from harness.trace.calls import Call, Trace, Traced
from harness.trace.marks import Label, find_marks
from harness.trace.readers import Readers, Seat, seats
from harness.worker.record import ROW, FileClass, Op

_OPS: Final = {op.name.lower(): op for op in Op} | {
    "readv": Op.READ,
    "writev": Op.WRITE,
    "pwrite": Op.WRITE,
    "fdatasync": Op.FSYNC,
}
_MOST_IN_ROW: Final = 2**63 - 1  # more is asked for by mistake, and has 64 bits without a sign
_ERRNO: Final = {name: number for number, name in errorcode.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
    """Files whose path, or name where the pattern has no slash, matches `pattern`."""

    pattern: str
    file_class: FileClass
    role: str

    def matches(self, path: str) -> bool:
        """Return whether a file is one of these."""
        own = path if "/" in self.pattern else path.rsplit("/", 1)[-1]
        return fnmatchcase(own, self.pattern)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """What a trace had and the rows have not.

    Args:
        other_files: calls on files that no pattern matches.
        other_calls: calls on mapped files that are no Op, by name.
        failed_opens: of mapped files that are not there, or may not be opened.
        unreturned: calls that were never seen to return, by name.
        unreadable_lines: of the log.
        unfollowed: calls that moved bytes of nobody knows which file, by name: see Trace.
        sizes_unknown: files that were read and whose size nobody told: the end of the last read
            stands for it.
    """

    other_files: int
    other_calls: Mapping[str, int]
    failed_opens: int
    unreturned: Mapping[str, int]
    unreadable_lines: int
    unfollowed: Mapping[str, int]
    sizes_unknown: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """Rows of a foreign trace in the order of time, with their files.

    `labelled`: marks told epochs and phases; `timed`: the trace had durations; `sizes_elsewhere`:
    files whose size is known otherwise than from the trace.
    """

    rows: Records
    files: Mapping[int, DataFile]
    dropped: Dropped
    labelled: bool
    timed: bool
    sizes_elsewhere: int


def import_rows(
    trace: Trace, maps: Sequence[Mapped], *, readers: Readers = "thread", sizes: Mapping[str, int]
) -> Imported:
    """Return the rows of a trace.

    Args:
        trace: of a program and its children.
        maps: which files count, and as what; the first that matches decides.
        readers: see harness/trace/readers.py.
        sizes: path -> bytes, where they are known otherwise than from the trace.
    """
    kinds = {path: _kind(path, maps) for path in {one.call.path for one in trace.calls}}
    kept, other_calls, failed_opens, other_files = [], Counter[str](), 0, 0
    for number, one in enumerate(trace.calls):
        if (kind := kinds[one.call.path]) is None:
            other_files += 1
        elif one.call.name not in _OPS:
            other_calls[one.call.name] += 1
        elif one.call.name == "open" and one.call.returned < 0:
            failed_opens += 1
        else:
            kept.append((number, one, kind))
    marks = find_marks(trace.calls)
    seated = seats(trace, [one for _, one, _ in kept], marks.ranks, readers)
    paths = dict.fromkeys(one.call.path for _, one, _ in kept)
    numbers = {path: number for number, path in enumerate(paths)}
    calls = [one.call for _, one, _ in kept]
    reached = _reached(calls)
    told = {**_ends(calls, reached), **trace.sizes}
    files = _files(reached, numbers, kinds, {**sizes, **told})
    read = {one.path for one in calls if _is_read(one) and one.returned > 0}
    labels = [marks.label(seated[one.thread].rank, number) for number, one, _ in kept]
    rows = np.array(
        [
            _row(one, number, numbers[one.call.path], kind, seated[one.thread], label)
            for (number, one, kind), label in zip(kept, labels, strict=True)
        ],
        ROW,
    )
    return Imported(
        rows=rows,
        files=files,
        dropped=Dropped(
            other_files=other_files,
            other_calls=dict(other_calls),
            failed_opens=failed_opens,
            unreturned=trace.log.unreturned,
            unreadable_lines=len(trace.log.unreadable),
            unfollowed=trace.unfollowed,
            sizes_unknown=len(read - told.keys() - sizes.keys()),
        ),
        labelled=None not in labels,
        timed=all(one.t1_ns is not None for _, one, _ in kept),
        sizes_elsewhere=len(numbers.keys() & sizes.keys() - told.keys()),
    )


def _kind(path: str, maps: Sequence[Mapped]) -> Mapped | None:
    return next((own for own in maps if own.matches(path)), None)


def _row(
    one: Traced, number: int, file: int, kind: Mapped, seat: Seat, label: Label | None
) -> tuple[int, ...]:
    # Without times the order stands in their place.
    t0_ns = number if one.t0_ns is None else one.t0_ns
    t1_ns = t0_ns if one.t1_ns is None else one.t1_ns
    phase, epoch, step = label or (phase_of(kind.role), 0, 0)
    call = one.call
    return (
        *(t0_ns, t1_ns, -1),  # nobody saw the processor's time
        *(
            max(-_MOST_IN_ROW, min(size, _MOST_IN_ROW))
            for size in (call.offset, call.requested, call.returned)
        ),
        *(file, epoch, step, seat.rank, seat.loader),
        *(_OPS[call.name], kind.file_class, phase, _ERRNO.get(one.errno, 0)),
    )


def _reached(calls: Sequence[Call]) -> dict[str, int]:
    """Return path -> the end of what was read or written of it."""
    reached: Counter[str] = Counter()
    for call in calls:
        if _OPS[call.name] in TRANSFERS and call.offset >= 0 and call.returned > 0:
            reached[call.path] = max(reached[call.path], call.offset + call.returned)
    return reached


def _is_read(call: Call) -> bool:
    return _OPS[call.name] in (Op.READ, Op.PREAD)


def _ends(calls: Sequence[Call], reached: Mapping[str, int]) -> dict[str, int]:
    """Return path -> bytes of files whose end was met: a read there returned nothing."""
    return {
        one.path: one.offset
        for one in calls
        if _is_read(one)
        and (one.returned, one.offset) == (0, reached.get(one.path, 0))
        and one.requested > 0
    }


def _files(
    reached: Mapping[str, int],
    numbers: Mapping[str, int],
    kinds: Mapping[str, Mapped | None],
    known: Mapping[str, int],
) -> dict[int, DataFile]:
    """Return the file table; a size that is not known is the end of what was read or written."""
    files = {}
    for path, number in numbers.items():
        kind = kinds[path]
        if kind is None:  # such paths have no number
            continue
        files[number] = DataFile(
            path=path,
            size_bytes=max(known.get(path, 0), reached.get(path, 0)),
            file_class=kind.file_class,
            role=kind.role,
        )
    return files
