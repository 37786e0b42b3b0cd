"""A user's own imseg cases, as an older numpy wrote them: headers of 80 bytes, no manifest."""

from pathlib import Path

import numpy as np

from dsgen.workloads.imseg import originals

HEADER_BYTES = 80


def write_cases(directory: Path, count: int, *, side: int = 24) -> Path:
    """Write so many pairs, each larger than the one before."""
    directory.mkdir(parents=True)
    for case in range(count):
        shape = (1, side + case, side, side + 3)
        voxels = np.random.default_rng(case).random(shape, dtype=np.float32)
        for kind, volume in (("x", voxels), ("y", (voxels > 0.5).astype(np.uint8))):
            path = directory / f"case_{case:05d}_{kind}.npy"
            path.write_bytes(_header(volume) + volume.tobytes())
            assert np.array_equal(np.load(path), volume)
    return directory


def _header(volume: np.ndarray) -> bytes:
    text = f"{{'descr': {volume.dtype.str!r}, 'fortran_order': False, 'shape': {volume.shape}, }}"
    return b"\x93NUMPY\x01\x00" + bytes((HEADER_BYTES - 10, 0)) + f"{text:<69}\n".encode()


def files_of(directory: Path, role: str) -> list[Path]:
    """Return the files of the cases that the reference trains or evaluates on, by their number."""
    evaluated = {case.case for case in originals() if case.role == "eval"}
    return [
        path
        for path in directory.glob("case_*.npy")
        if (int(path.name.split("_")[1]) in evaluated) == (role == "eval")
    ]


def cost_bytes(files: list[Path]) -> int:
    """Return what np.load of each reads: all of it, its header again, and a block."""
    status = [path.stat() for path in files]
    return sum(one.st_size + HEADER_BYTES + min(one.st_blksize, one.st_size) for one in status)


def snapshot(directory: Path) -> dict[str, tuple[int, int]]:
    """Return names, sizes and times of what is in a directory."""
    return {
        path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in directory.iterdir()
    }
