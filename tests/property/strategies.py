"""What the laws are tried on: every format, with sizes that are small enough to write often."""

from dataclasses import dataclass, field, fields

from dsgen.choices import Wanted
from dsgen.workloads import WORKLOADS, plan


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The parameters of a data set."""

    workload: str
    size_bytes: int
    wanted: Wanted = field(default_factory=Wanted)

    @property
    def name(self):
        """Key of its hashes, and name of its tests."""
        given = [str(value) for value in self.options().values()]
        return "-".join([self.workload, *given, str(self.size_bytes)])

    def options(self):
        """Return the wishes that are no defaults."""
        every = {one.name: getattr(self.wanted, one.name) for one in fields(Wanted)}
        return {name: value for name, value in every.items() if value}

    def layout(self, seed=1):
        """Return its layout."""
        return plan(self.workload, size_bytes=self.size_bytes, seed=seed, wanted=self.wanted)

    def command(self, directory):
        """Return the words after `python -m dsgen` that make it."""
        flags = [
            word
            for name, value in self.options().items()
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        place = ["--output", str(directory), "--size", str(self.size_bytes)]
        return ["generate", self.workload, *place, *flags]


def data_set(workload, size_bytes, **wanted):
    """Return a data set."""
    return DataSet(workload=workload, size_bytes=size_bytes, wanted=Wanted(**wanted))


# One of each format, of a few segments or files.
FORMATS = [
    data_set("imseg", 70_000_000, law="small"),
    data_set("bert", 150_000_000),
    data_set("dlrm", 150_000_000, format="text"),
    data_set("dlrm", 60_000_000, format="npz"),
    data_set("dlrm", 150_000_000, format="bin"),
]
# Each choice at least once.
DATA_SETS = [
    *FORMATS,
    data_set("imseg", 150_000_000, law="kits19"),
    data_set("imseg", 150_000_000, law="original"),
    data_set("imseg", 150_000_000, law="uniform"),
    data_set("imseg", 70_000_000, law="small", entropy="incompressible"),
    data_set("bert", 30_000_000, law="original", min_files=12),
    data_set("bert", 30_000_000, law="original-mean", min_files=12),
    data_set("bert", 30_000_000, law="documented", min_files=12),
    data_set("dlrm", 20_000_000, format="text", entropy="incompressible"),
    data_set("dlrm", 60_000_000, format="npz", compression="stored"),
    data_set("dlrm", 30_000_000, format="npz", entropy="incompressible"),
    data_set("dlrm", 70_000_000, format="bin", entropy="incompressible"),
]

# Every (workload, format) that there is.
REGISTERED = {(name, format_) for name, kind in WORKLOADS.items() for format_ in kind.FORMATS}
assert {(one.workload, one.layout().parameters.format) for one in FORMATS} == REGISTERED
