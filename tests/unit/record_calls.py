"""Calls on bert's files: of strace's logs, and of recorded rows."""

import re

from harness.worker.record import Op

OPENED = re.compile(r'openat\(AT_FDCWD\S*, "([^"]*/(?:part-[^"]*|eval_10k))", .*\) += (\d+)')
CALL = re.compile(r"(\w+)\(\d+<([^>]*/(?:part-[^>]*|eval_10k))>(?:, )?(.*)\) += (-?\d+|0x\w+)")
STRACE = ["strace", "-ff", "-y", "-s", "0", "-e", "trace=%file,%desc", "-o"]
NAMES = {Op.OPEN: "openat", Op.PREAD: "pread64", Op.CLOSE: "close"}


def thread_calls(log):
    """Return (call, path, requested, offset, returned) of a thread on records, in its order."""
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        if found := OPENED.match(line):
            calls.append(("openat", found[1], None, None, None))
        elif found := CALL.match(line):
            name, path, detail, result = found.groups()
            if name == "pread64":
                asked, offset = map(int, detail.rsplit(", ", 2)[1:])
                calls.append((name, path, asked, offset, int(result)))
            else:
                calls.append((name, path, None, None, None))
    return calls


def recorded_calls(rows, files):
    """Return the same of recorded rows."""
    calls = []
    for row in rows:
        name, path = NAMES[Op(int(row["op"]))], files[str(row["file"])]["path"]
        where = [int(row[field]) for field in ("requested", "offset", "returned")]
        calls.append((name, path, *(where if name == "pread64" else [None] * 3)))
    return calls
