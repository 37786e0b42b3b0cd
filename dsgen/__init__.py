"""Data sets for storage benchmarks: the layout, bytes and laws of each training workload."""

__version__ = "0.1.0"
