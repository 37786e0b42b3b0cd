"""Small dlrm data sets of any number of rows, for the tests of harness.worker."""

import json
from pathlib import Path

import numpy as np

from tests.unit.worker_run import entry, make_spec, sync

# Small enough that a row of a large number is beyond some table.
COUNTS = np.arange(10, 36)


def rows_of(count: int, *, seed: int = 1) -> np.ndarray:
    """Return rows that training can take, no two alike: X_int 0 is the row's number."""
    words = np.random.default_rng(seed)
    rows = words.integers(0, 10, (count, 40)).astype("<i4")
    rows[:, 0] %= 2
    rows[:, 1] = np.arange(count)
    return rows


def make_rows(directory: Path, *, train: int, test: int = 0) -> Path:
    """Write rows for training and tests, the counts, the link, and the manifest."""
    directory.mkdir()
    rows_of(train).tofile(directory / "preprocessed.bin")
    (directory / "preprocessed_train.bin").symlink_to("preprocessed.bin")
    files = [entry(directory / "preprocessed.bin", "train", "row", train)]
    if test:
        rows_of(test, seed=2).tofile(directory / "preprocessed_test.bin")
        files.append(entry(directory / "preprocessed_test.bin", "eval", "row", test))
    links = [{"path": "preprocessed_train.bin", "target": "preprocessed.bin"}]
    _finish(directory, "bin", files, train=train, evaluation=test, links=links)
    return directory


def make_days(directory: Path, rows: list[int], *, compression: str = "deflate") -> Path:
    """Write a day of each number of rows, both files of counts, and the manifest."""
    directory.mkdir()
    save = np.savez_compressed if compression == "deflate" else np.savez
    files = []
    for day, (count, arrays) in enumerate(zip(rows, days_of(rows), strict=True)):
        path = directory / f"day_{day}_reordered.npz"
        save(path, **arrays)
        files.append(entry(path, "train", "day", count))
    np.savez(directory / "day_day_count.npz", total_per_file=np.array(rows))
    files.append(entry(directory / "day_day_count.npz", "sidecar", "counts", 0))
    _finish(directory, "npz", files, train=sum(rows), evaluation=0, compression=compression)
    return directory


def days_of(rows: list[int]) -> list[dict[str, np.ndarray]]:
    """Return the arrays of each day in the archive's order; no two rows are alike."""
    parts = np.split(rows_of(sum(rows)).astype(np.float64), np.cumsum(rows)[:-1])
    return [{"X_cat": day[:, 14:], "X_int": day[:, 1:14], "y": day[:, 0]} for day in parts]


def make_text(directory: Path, lines: int) -> Path:
    """Write lines of growing length, and the manifest."""
    directory.mkdir()
    path = directory / "train.txt"
    path.write_text("".join(f"0\t{'7' * (line % 300)}\t{line:08x}\n" for line in range(lines)))
    files = [entry(path, "train", "line", lines)]
    _finish(directory, "text", files, train=lines, evaluation=0)
    return directory


def dlrm_spec(tmp_path: Path, data_dir: Path, **changes):
    """Return a spec of one quick rank that trains dlrm."""
    return make_spec(tmp_path, data_dir, **({"workload": "dlrm", "batch_size": 64} | changes))


def _finish(directory, format_, files, *, train, evaluation, links=(), compression="none"):
    np.savez(directory / "day_fea_count.npz", counts=COUNTS)
    files.append(entry(directory / "day_fea_count.npz", "sidecar", "counts", 0))
    (directory / ".feedrate.lock").touch()
    document = {
        "schema_version": 1,
        "generator": {"version": "0", "format_version": 1},
        "workload": "dlrm",
        "format": format_,
        "law": "criteo",
        "seed": 1,
        "size_requested_bytes": 1,
        "options": {"entropy": "natural", "compression": compression, "min_files": 0},
        "data_bytes": sum(file["bytes"] for file in files),
        "sidecar_bytes": 0,
        "samples": {"train": train, "eval": evaluation},
        "origin": {"kind": "generate", "source_crc32c": None},
        "allocation": {"holes_bytes": 0, "shared_bytes": 0},
        "entropy": {"deflate1_64kib": 1.0, "duplicate_4kib": 0.0},
        "files": files,
        "links": list(links),
    }
    (directory / "manifest.json").write_text(json.dumps(document))
    sync(directory)
