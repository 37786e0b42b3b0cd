"""One row for each call on data: how it is made, timed, kept and counted."""
