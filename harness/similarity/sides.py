"""The sides of a comparison, which of them make a number, and where it is written."""

from typing import Final

DOCUMENT_NAME: Final = "similarity.json"
PAGE_NAME: Final = "similarity.html"
# Number -> whose runs are held against whose.
NUMBERS: Final = {
    "reader": ("reference", "original"),
    "data": ("original", "generated"),
    "both": ("reference", "generated"),
}
CONTROL: Final = "control"
MEANING: Final = {
    "reference": "a reference reader over the original's files",
    "original": "our reader over the original's files",
    "generated": "our reader over the generated files",
    CONTROL: "another workload",
}
