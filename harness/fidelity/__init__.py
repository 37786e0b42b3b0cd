"""The verb `similarity`; `command` alone is light, the rest takes SciPy and matplotlib."""
