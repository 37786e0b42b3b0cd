"""Recorded rows as calls on files, and how two sequences of calls differ."""

from collections import defaultdict
from itertools import zip_longest

from harness.trace.calls import Call, outcome
from harness.worker.record import Op

_CONTEXT = 3
_SHOWN_FILES = 5


def recorded_calls(rows, files):
    """Return the calls of recorded rows; `files` is what files.json holds."""
    return [_recorded(row, files[str(row["file"])]["path"]) for row in rows]


def _recorded(row, path):
    name = Op(int(row["op"])).name.lower()
    offset, requested, returned = (int(row[key]) for key in ("offset", "requested", "returned"))
    return Call(path, name, offset, requested, outcome(name, returned))


def by_file(calls):
    """Return path -> its calls, in their order; the paths in the order of their first call."""
    files = defaultdict(list)
    for call in calls:
        files[call.path].append(call)
    return dict(files)


def compare(reference, ours):
    """Return where two sequences of calls part, with what went before; empty if they are equal."""
    pairs = enumerate(zip_longest(reference, ours))
    number = next((number for number, (one, other) in pairs if one != other), None)
    if number is None:
        return ""
    start = max(0, number - _CONTEXT)
    lines = [f"call {number + 1} differs ({len(reference)} of the reference, {len(ours)} ours)"]
    lines += [f"  both       {call}" for call in reference[start:number]]
    for whose, calls in (("reference", reference), ("ours", ours)):
        lines += [f"  {whose:10} {call}" for call in calls[number : number + _CONTEXT]]
        if number >= len(calls):
            lines.append(f"  {whose:10} no more")
    return "\n".join(lines)


def compare_files(reference, ours):
    """Return how the calls on each file differ, whatever the order of the files; empty if not.

    For readers that advance many files at once, and are stopped somewhere: but for its close, of
    the two sequences of a file one must begin the other. Those of a file that both have read to
    its end must be equal.
    """
    one, other = by_file(reference), by_file(ours)
    texts = {path: _compare_file(one[path], other[path]) for path in one if path in other}
    differing = {path: text for path, text in texts.items() if text}
    lines = [f"{path}: {text}" for path, text in list(differing.items())[:_SHOWN_FILES]]
    if len(differing) > _SHOWN_FILES:
        lines.append(f"and {len(differing) - _SHOWN_FILES} more files")
    return "\n".join(lines)


def read_to_the_end(calls):
    """Return whether one of the calls found nothing more to read."""
    return any(call.name in ("read", "pread") and call.returned == 0 for call in calls)


def _compare_file(reference, ours):
    if read_to_the_end(reference) and read_to_the_end(ours):
        return compare(reference, ours)
    open_ended = [[call for call in calls if call.name != "close"] for calls in (reference, ours)]
    common = min(map(len, open_ended))
    return compare(*(calls[:common] for calls in open_ended))
