"""`trace --import LOG`: a recording of strace becomes a directory like a run's, for `similarity`.

The directory has `trace/rank-00000.npy` and on, `trace/files.json`, and `trace/source.json`, which
says where the rows are from and what was left out of them.
"""

import contextlib
import json
import shlex
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, get_args

import numpy as np

from dsgen.errors import UsageError
from harness.errors import ResultError, TargetError
from harness.similarity.pattern import DATA_CLASSES, moved_bytes
from harness.trace.calls import Log, Trace
from harness.trace.readers import Readers
from harness.trace.rows import Imported, Mapped, import_rows
from harness.trace.strace import ASYNCHRONOUS, OPTIONS, parse
from harness.worker.record import FileClass
from harness.worker.recording.io import TracedFile
from harness.worker.recording.recorder import Role
from harness.worker.summary import files_table

SOURCE_NAME: Final = "source.json"
RECORD: Final = f"strace {shlex.join(OPTIONS)} LOG COMMAND"
_NO_LABELS: Final = "none: epochs will be how often a file was opened, phases its role"
_NOT_PERMITTED: Final = (
    "if tracing was not permitted, allow it (capability SYS_PTRACE in a container, "
    "kernel.yama.ptrace_scope below 2), or use a run of our ranks, whose rows need no tracing"
)
_SHOWN: Final = 3
_MAPPED_MEMORY: Final = ("mmap", "sendfile", "splice", "copy_file_range")


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """What is to be done.

    Args:
        log: of strace.
        maps: which files count, and as what.
        output: the directory to make.
        readers: a thread reads for itself, or a process by whichever of its threads.
        memory_bytes: what could hold the data in memory, where it is known.
        partial: take a log that was cut off.
    """

    log: Path
    maps: tuple[Mapped, ...]
    output: Path
    readers: Readers = "thread"
    memory_bytes: int | None = None
    partial: bool = False


def parse_map(text: str) -> Mapped:
    """Return what PATTERN=CLASS or PATTERN=CLASS:ROLE says.

    Raises:
        UsageError: no pattern, or a class or role that there is not.

    >>> parse_map("*_x.npy=x").role, parse_map("eval_10k=record:eval").file_class.name
    ('train', 'RECORD')
    """
    pattern, equals, kind = text.rpartition("=")
    name, _, role = kind.partition(":")
    classes = [own.name.lower() for own in FileClass]
    then = f"write PATTERN=CLASS or PATTERN=CLASS:ROLE; classes: {', '.join(classes)}"
    if not equals or not pattern or name not in classes:
        raise UsageError(f"--map {text!r}: no class of files", then=then)
    by_class = {"checkpoint": "checkpoint", "counts": "sidecar"}
    role = role or by_class.get(name, "train")
    roles = get_args(Role)
    if role not in roles:
        raise UsageError(f"--map {text!r}: no role {role!r}", then=f"roles: {', '.join(roles)}")
    return Mapped(pattern=pattern, file_class=FileClass[name.upper()], role=role)


def import_trace(wanted: Import, say: Callable[[str], None]) -> Path:
    """Write the recording that a log is, and return its directory.

    Raises:
        ResultError: no log of strace, one without times, cut off, or without calls on data.
        TargetError: the output is there already or cannot be written.
    """
    _check_output(wanted.output)
    trace = _read(wanted.log)
    check_log(trace.log, wanted.log, partial=wanted.partial)
    imported = import_rows(
        trace, wanted.maps, readers=wanted.readers, sizes=local_sizes(trace, wanted.maps)
    )
    _check_data(imported, trace, wanted)
    for line in report_lines(imported):
        say(line)
    _write(imported, wanted, _source(imported, trace.log, wanted))
    return wanted.output


def check_log(log: Log, path: Path, *, partial: bool) -> None:
    """Check that a log can be compared.

    Raises:
        ResultError: what is wrong with it, where, and how to record it.
    """
    readable = log.lines - len(log.unreadable)
    if log.lines == 0 or readable <= len(log.unreadable):
        line = log.unreadable[0] if log.unreadable else 1
        what = "no log of strace" if log.lines else "an empty log"
        then = f"record by `{RECORD}`" if log.lines else _NOT_PERMITTED
        raise ResultError(what, where=f"{path}, line {line}", then=then)
    if log.calls == 0:
        raise ResultError("no call that returned", where=str(path), then=_NOT_PERMITTED)
    if log.clock != "unix":
        what = "its lines have no times" if log.clock == "none" else "times of another clock"
        then = f"-ttt is needed, seconds since 1970: record by `{RECORD}`"
        raise ResultError(what, where=str(path), then=then)
    if log.partial and not partial:
        what = f"cut off: {log.unended:,} of its threads were not seen to end"
        if log.cut:
            what = "cut off: its last line does not end"
        then = "record to the end, or take what is there with --partial"
        raise ResultError(what, where=f"{path}, line {log.lines}", then=then)


def local_sizes(trace: Trace, maps: Sequence[Mapped]) -> dict[str, int]:
    """Return the sizes of files that are on this machine and that no call of the trace told.

    Where a relative path begins is known to the traced program alone.
    """
    paths = {one.call.path for one in trace.calls} - trace.sizes.keys()
    found = {}
    for path in paths:
        if not (Path(path).is_absolute() and any(own.matches(path) for own in maps)):
            continue
        with contextlib.suppress(OSError, ValueError):  # not there, or not ours to look at
            status = Path(path).stat()
            if stat.S_ISREG(status.st_mode):
                found[path] = status.st_size
    return found


def report_lines(imported: Imported) -> list[str]:
    """Return what was found and what was dropped, a line each."""
    rows, dropped = imported.rows, imported.dropped
    lines = [
        f"rows    {len(rows):,} calls on {len(imported.files):,} files by "
        f"{len(np.unique(rows[['rank', 'loader']])):,} readers",
        f"labels  {'of marks' if imported.labelled else _NO_LABELS}",
        f"dropped {dropped.other_files:,} calls on files that no --map names",
    ]
    for said, counts in (
        ("other calls on the files", dropped.other_calls),
        ("calls that never returned", dropped.unreturned),
        ("calls by descriptors whose opening is not in the log", dropped.unfollowed),
    ):
        if counts:
            each = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
            lines.append(f"dropped {sum(counts.values()):,} {said}: {each}")
    for said, count in (
        ("opens of such files that failed", dropped.failed_opens),
        ("lines that are not strace's", dropped.unreadable_lines),
    ):
        if count:
            lines.append(f"dropped {count:,} {said}")
    if dropped.sizes_unknown:
        lines.append(f"sizes   {dropped.sizes_unknown:,} files: the end of what was read of them")
    if imported.sizes_elsewhere:
        lines.append(f"sizes   {imported.sizes_elsewhere:,} files: what such files have here")
    unseen = sorted(set(dropped.other_calls) & set(_MAPPED_MEMORY))
    if unseen := [*unseen, *sorted(set(dropped.unfollowed) & set(ASYNCHRONOUS))]:
        lines.append(f"warning data may have moved by {', '.join(unseen)}, which no row can show")
    if not imported.timed:
        lines.append("warning no durations (-T): calls can be compared, times cannot")
    return lines


def _check_output(path: Path) -> None:
    try:
        is_taken = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        what = f"cannot look into the output ({error.strerror})"
        raise TargetError(what, where=str(path), then="name another --output") from error
    if is_taken:
        what, then = "the output is not empty", "name a directory that is not there yet"
        raise TargetError(what, where=str(path), then=then)


def _read(path: Path) -> Trace:
    try:
        with path.open(errors="replace") as lines:
            return parse(lines)
    except OSError as error:
        what = f"cannot read the log ({error.strerror})"
        raise ResultError(what, where=str(path), then=f"record by `{RECORD}`") from error


def _check_data(imported: Imported, trace: Trace, wanted: Import) -> None:
    rows = imported.rows
    if moved_bytes(rows[np.isin(rows["class"], DATA_CLASSES)]).any():
        return
    read: Counter[str] = Counter()
    for one in trace.calls:
        if one.call.requested >= 0:
            read[one.call.path] += max(one.call.returned, 0)
    most = [path for path, _ in read.most_common(_SHOWN)]
    then = "map the files of the data set" + (
        f"; most was read of {', '.join(most)}" if most else ""
    )
    if not trace.calls:
        then = f"record the whole program with its children, by `{RECORD}`"
    what = "no data was read of a file that a --map names"
    raise ResultError(what, where=str(wanted.log), then=then)


def _source(imported: Imported, log: Log, wanted: Import) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "source": "strace",
        "log": str(wanted.log.absolute()),
        "lines": log.lines,
        "cut": log.partial,
        "rows": len(imported.rows),
        "clock": "CLOCK_REALTIME",
        "readers": wanted.readers,
        "labelled": imported.labelled,
        "timed": imported.timed,
        "sizes_elsewhere": imported.sizes_elsewhere,
        "memory_bytes": wanted.memory_bytes,
        "dropped": asdict(imported.dropped),
        "unread_cpu": "cpu_ns is -1: strace does not see it",
    }


def _write(imported: Imported, wanted: Import, source: Mapping[str, Any]) -> None:
    partial: Path | None = None
    try:
        wanted.output.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(mkdtemp(prefix=f"{wanted.output.name}.", dir=wanted.output.parent))
        trace = partial / "trace"
        trace.mkdir()
        ranks = imported.rows["rank"]
        for rank in range(int(ranks.max()) + 1):
            np.save(trace / f"rank-{rank:05d}.npy", imported.rows[ranks == rank])
        files = [TracedFile(id=number, **asdict(file)) for number, file in imported.files.items()]
        for name, document in (("files.json", files_table(files)), (SOURCE_NAME, source)):
            said = json.dumps(document, indent=1)
            (trace / name).write_text(said + "\n", encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(wanted.output)
    except OSError as error:
        what = f"cannot write ({error.strerror})"
        then = "free space, or name another --output"
        raise TargetError(what, where=str(wanted.output), then=then) from error
    finally:
        if partial is not None:  # and was not renamed
            shutil.rmtree(partial, ignore_errors=True)
