"""Write dlrm_day.npz with numpy's own savez_compressed, from the arrays of a generated day.

Run once, in an empty directory's name: python -m tests.golden.dlrm DIRECTORY
"""

import sys
from pathlib import Path

import numpy as np

from dsgen.write import generate
from tests.property.strategies import data_set


def main():
    directory = Path(sys.argv[1])
    layout = data_set("dlrm", 1_000_000, format="npz").layout()
    generate(layout, directory, processes=1, emit=lambda _: None)
    with np.load(directory / "day_0_reordered.npz") as arrays:
        np.savez_compressed(Path(__file__).parent / "dlrm_day.npz", **arrays)


if __name__ == "__main__":
    main()
