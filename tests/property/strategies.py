"""What the laws are tried on: every workload, with sizes that are small enough to write often."""

from dsgen.workloads import WORKLOADS

# The smallest data set that has more than one file of a class, per workload and law: its size and
# the CRC32C of its manifest, which covers the CRC32C of every byte.
SMALL_SETS = [
    ("imseg", "small", 70_000_000),
    ("imseg", "kits19", 150_000_000),
    ("imseg", "original", 150_000_000),
    ("imseg", "uniform", 150_000_000),
]

assert {name for name, _, _ in SMALL_SETS} == set(WORKLOADS), "every workload is tried"
