"""How alike two I/O patterns are: components from 0 to 1, of the calls (L) and their times (T)."""
