"""Recordings of other tracers, strace for one, as the rows that our ranks record."""
