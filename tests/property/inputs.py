"""Data sets of a user's: what the generator makes, without what it says of it."""

import subprocess
import sys
from dataclasses import dataclass

from dsgen.directory import OWN_NAMES
from dsgen.write import generate
from tests.property.strategies import data_set


@dataclass(frozen=True, kw_only=True)
class Example:
    """A format, what its input is made from, and a size beyond that of the input."""

    name: str
    data_set: object
    size_bytes: int

    @property
    def workload(self):
        return self.data_set.workload

    def make(self, directory):
        """Write the input into `directory`, without a manifest."""
        generate(self.data_set.layout(), directory, processes=2, emit=lambda _: None)
        for name in OWN_NAMES:
            (directory / name).unlink(missing_ok=True)


# Beyond one segment of 64 MiB where the format has one file, and beyond one turn of the input.
EXAMPLES = [
    Example(
        name="imseg", data_set=data_set("imseg", 70_000_000, law="small"), size_bytes=250_000_000
    ),
    Example(
        name="bert", data_set=data_set("bert", 40_000_000, min_files=3), size_bytes=150_000_000
    ),
    Example(
        name="text", data_set=data_set("dlrm", 30_000_000, format="text"), size_bytes=150_000_000
    ),
    Example(
        name="npz",
        data_set=data_set("dlrm", 30_000_000, format="npz", compression="stored"),
        size_bytes=80_000_000,
    ),
    Example(
        name="bin", data_set=data_set("dlrm", 30_000_000, format="bin"), size_bytes=150_000_000
    ),
]


def make_all(root):
    """Write the input of every example into a directory of its name."""
    for example in EXAMPLES:
        example.make(root / example.name)


def words(workload, source, output, size_bytes, *more):
    """Return the command that scales."""
    place = ["--input", str(source), "--output", str(output), "--size", str(size_bytes)]
    command = [sys.executable, "-m", "dsgen", "scale", workload, *place, *map(str, more)]
    return command if "--processes" in more else [*command, "--processes", "2"]


def scaled(workload, source, output, size_bytes, *more):
    """Scale, and return the ended process."""
    return subprocess.run(
        words(workload, source, output, size_bytes, *more),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
