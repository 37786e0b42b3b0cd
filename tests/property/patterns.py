"""Patterns made without any data: volumes read whole, in a random order, by synchronised ranks."""

from dataclasses import replace

import numpy as np

from harness.analysis.recording import DataFile
from harness.similarity.pattern import Pattern
from harness.worker.record import ROW, FileClass, Op, Phase

HEADER_BYTES, BLOCK_BYTES = 128, 4096
STEP_NS = 1_100_000_000
BANDWIDTH_BYTES_PER_NS = 1.0
LATENCY_NS = 200_000
MEMORY_BYTES = 1 << 50
# Of a volume: op, where it begins, how much of the file it asks for.
CALLS = (Op.OPEN, Op.FSTAT, Op.READ, Op.LSEEK, Op.READ, Op.CLOSE)
HEAD, BODY = 2, 4


def volumes(images, *, seed=1, ranks=8, batch_size=4, epochs=3, shuffled=True, memory=MEMORY_BYTES):
    """Return the pattern of training over images of these sizes, each with a mask of a quarter."""
    files = {}
    for number, size_bytes in enumerate(images):
        for place, (file_class, own) in enumerate(
            ((FileClass.X, size_bytes), (FileClass.Y, size_bytes // 4 + HEADER_BYTES))
        ):
            path = f"/d/case_{number:05d}_{file_class.name.lower()}.npy"
            files[2 * number + place] = DataFile(
                path=path, size_bytes=int(own), file_class=file_class, role="train"
            )
    rng = np.random.default_rng(seed)
    parts, begin_ns = [], 0
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(images)) if shuffled else np.arange(len(images))
        steps = len(images) // ranks // batch_size
        for rank in range(ranks):
            own = order[rank::ranks][: steps * batch_size]
            parts.append(_rank(files, own, epoch, rank, batch_size, begin_ns, rng))
        begin_ns = max(int(part["t1_ns"].max()) for part in parts) + STEP_NS
    return Pattern(rows=np.concatenate(parts), files=files, memory_bytes=memory, sparse=False)


def _rank(files, cases, epoch, rank, batch_size, begin_ns, rng):
    """Return the rows of a rank in an epoch: a batch's files one by one, then a step."""
    numbers = np.repeat(np.stack([2 * cases, 2 * cases + 1], axis=1).ravel(), len(CALLS))
    place = np.tile(np.arange(len(CALLS)), 2 * len(cases))
    sizes = np.array([files[int(number)].size_bytes for number in numbers])
    rows = np.zeros(len(numbers), ROW)
    rows["op"] = np.array(CALLS)[place]
    rows["file"] = numbers
    rows["class"] = np.where(numbers % 2 == 0, FileClass.X, FileClass.Y)
    rows["epoch"], rows["rank"], rows["phase"] = epoch, rank, Phase.TRAIN
    rows["step"] = np.arange(len(numbers)) // (2 * len(CALLS) * batch_size) + 1
    head, body = place == HEAD, place == BODY
    rows["offset"] = np.select([head, body], [0, HEADER_BYTES], -1)
    rows["requested"] = np.select([head, body], [BLOCK_BYTES, sizes - HEADER_BYTES], -1)
    rows["returned"] = np.where(head | body, np.minimum(rows["requested"], sizes), 0)
    took = LATENCY_NS * rng.lognormal(0, 0.3, len(rows)) * np.where(head | body, 1, 0.05)
    took += np.where(head | body, rows["returned"], 0) / BANDWIDTH_BYTES_PER_NS
    waited = np.full(len(rows), 20_000) + np.where(
        np.arange(len(rows)) % (2 * len(CALLS) * batch_size) == 0, STEP_NS, 0
    )
    rows["t1_ns"] = begin_ns + np.cumsum(took + waited).astype(np.int64)
    rows["t0_ns"] = rows["t1_ns"] - took.astype(np.int64)
    return rows


def stream(*, size_bytes=2_000_000_000, chunk_bytes=65_536, memory=MEMORY_BYTES):
    """Return the pattern of another workload: one reader goes through one file by small reads."""
    count = size_bytes // chunk_bytes
    rows = np.zeros(count, ROW)
    rows["t0_ns"] = np.arange(count) * 100_000
    rows["t1_ns"] = rows["t0_ns"] + 40_000
    rows["offset"] = np.arange(count) * chunk_bytes
    rows["requested"] = rows["returned"] = chunk_bytes
    rows["op"], rows["class"], rows["phase"] = Op.PREAD, FileClass.RECORD, Phase.TRAIN
    rows["epoch"] = 1
    file = DataFile(
        path="/d/part", size_bytes=size_bytes, file_class=FileClass.RECORD, role="train"
    )
    return Pattern(rows=rows, files={0: file}, memory_bytes=memory, sparse=False)


def with_rows(pattern, rows):
    """Return the pattern with other rows."""
    return replace(pattern, rows=rows)


def scaled_sizes(pattern, factor):
    """Return the pattern over files that are so much larger, read as whole as before."""
    rows = pattern.rows.copy()
    sizes = {number: int(file.size_bytes * factor) for number, file in pattern.files.items()}
    body = (rows["op"] == Op.READ) & (rows["offset"] == HEADER_BYTES)
    whole = np.array([sizes[int(number)] for number in rows["file"]]) - HEADER_BYTES
    rows["requested"] = np.where(body, whole, rows["requested"])
    rows["returned"] = np.where(body, whole, rows["returned"])
    files = {
        number: replace(file, size_bytes=sizes[number]) for number, file in pattern.files.items()
    }
    return replace(pattern, rows=rows, files=files)


def dropped(pattern, share, seed=3):
    """Return the pattern without so many of its calls."""
    rng = np.random.default_rng(seed)
    return with_rows(pattern, pattern.rows[rng.random(len(pattern.rows)) >= share])


def slowed(pattern, factor):
    """Return the pattern with all times so much longer."""
    rows = pattern.rows.copy()
    for name in ("t0_ns", "t1_ns"):
        rows[name] = (rows[name] * factor).astype(np.int64)
    return with_rows(pattern, rows)


def to_one_rank(pattern, share, seed=4):
    """Return the pattern with so many of the calls moved to the first rank."""
    rng = np.random.default_rng(seed)
    rows = pattern.rows.copy()
    rows["rank"][rng.random(len(rows)) < share] = 0
    return with_rows(pattern, rows)
