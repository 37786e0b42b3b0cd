"""The sides of a comparison, and which of them make a number."""

from typing import Final

# Number -> whose runs are held against whose.
NUMBERS: Final = {
    "reader": ("reference", "original"),
    "data": ("original", "generated"),
    "both": ("reference", "generated"),
}
MEANING: Final = {
    "reference": "a reference reader over the original's files",
    "original": "our reader over the original's files",
    "generated": "our reader over the generated files",
    "control": "another workload",
}
