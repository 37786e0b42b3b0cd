"""What processes did with the files of a data set, seen by strace."""

import re
import subprocess
from pathlib import Path

from harness.worker.record import Op
from tests.unit.worker_run import REPOSITORY, load, load_json

# A log for each thread: no call is torn apart by another one's.
STRACE = ("strace", "-ff", "-y", "-s", "0", "-e", "trace=%file,%desc", "-o")
DATA = re.compile(r".*\.(bin|npz|txt)")
_BY_PATH = re.compile(r'(openat|newfstatat|stat)\((?:AT_FDCWD[^,]*, )?"([^"]+)", .*\) += (\d+)')
_BY_DESCRIPTOR = re.compile(r"(\w+)\(\d+<([^>]*)>(?:, )?(.*)\) += (-?\d+)")


def strace(output: Path, arguments: list[str]) -> list[list[tuple]]:
    """Return the calls of each thread that made any on a data file: (call, file, detail, result).

    Files go by the name that they are opened by, without the directory.
    """
    output.mkdir(parents=True)
    done = subprocess.run(
        [*STRACE, str(output / "log"), *arguments],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return calls_of_threads(output)


def calls_of_threads(output: Path) -> list[list[tuple]]:
    """Return the same from the logs that strace left in a directory."""
    threads = [_calls(log.read_text(errors="replace")) for log in sorted(output.iterdir())]
    return [calls for calls in threads if calls]


def recorded(spec, rank: int = 0) -> list[tuple]:
    """Return the same of the rows that a rank left."""
    files = load_json(spec, "trace/files.json")
    names = {number: _name(facts["path"]) for number, facts in files.items()}
    rows = load(spec, f"trace/rank-{rank:05d}.npy")
    return [_recorded(row, names[str(row["file"])]) for row in rows]


def _calls(text: str) -> list[tuple]:
    calls = []
    for line in text.splitlines():
        if found := _BY_PATH.match(line):
            call, path, _ = found.groups()
            call = "open" if call == "openat" else "stat"
            if DATA.fullmatch(_name(path)):
                calls.append((call, _name(path), None, None))
        elif (found := _BY_DESCRIPTOR.match(line)) and DATA.fullmatch(_name(found[2])):
            call, path, detail, result = found.groups()
            calls.append((*_normal(call, _name(path), detail), int(result)))
    return calls


def _name(path: str) -> str:
    # A link's other name is the one that strace knows a descriptor by.
    return Path(path).name.replace("preprocessed_train", "preprocessed")


def _normal(call: str, name: str, detail: str) -> tuple:
    if call == "read":
        return call, name, int(detail.rsplit(", ", 1)[1])
    if call == "lseek":
        return call, name, None
    return {"newfstatat": "fstat"}.get(call, call), name, None


def _recorded(row, name: str) -> tuple:
    op, result = Op(int(row["op"])), int(row["returned"])
    if op is Op.READ:
        return "read", name, int(row["requested"]), result
    if op in (Op.OPEN, Op.STAT):
        return op.name.lower(), name, None, None
    return op.name.lower(), name, None, result
