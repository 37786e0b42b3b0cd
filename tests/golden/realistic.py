"""A recording such as a real run leaves: 8 ranks, 5 epochs, volumes of the original's sizes."""

import math
from dataclasses import replace

import numpy as np

from dsgen.workloads.imseg import originals
from harness.analysis.recording import DataFile, Recording
from harness.analysis.result import RunFacts
from harness.worker.record import Eviction, FileClass
from tests.golden.recordings import MS, Plan, facts, record

RANKS, EPOCHS, STEPS, BATCH = 8, 5, 20, 4
SAMPLE_BYTES = 146_600_628


def realistic_recording(*, slow: float = 1.0) -> Recording:
    """Return a run whose loads take `slow` times what compute hides, more or less."""
    rng = np.random.default_rng(7)
    declared = rng.normal(1_392, 38, (EPOCHS, STEPS)).clip(0)
    need = rng.lognormal(np.log(1_600 * slow), 0.18, (EPOCHS, RANKS, STEPS))
    waits = (need - declared[:, None, :]).clip(0.02)
    waits[:, :, 0] = need[:, :, 0]  # nothing hides the first load
    recording = record(
        Plan(
            loads_ns=(waits * MS).astype(np.int64).tolist(),
            declared_ns=(declared * MS).astype(np.int64).tolist(),
            split={"storage": 0.86, "io_cpu": 0.08, "decode_cpu": 0.03, "runqueue": 0.03},
            overshoot_ns=180_000,
            wake_ns=60_000,
            batch_size=BATCH,
            bytes_per_step=BATCH * SAMPLE_BYTES,
            eval_ns=9_000 * MS,
            checkpoint_ns=2_400 * MS,
            evictions=tuple(
                Eviction(epoch=e, files=1_280, bytes=93 * 10**9, seconds=0.9, resident_fraction=0.0)
                for e in range(1, EPOCHS + 1)
            ),
        )
    )
    return replace(recording, files=realistic_files())


def realistic_files() -> dict[int, DataFile]:
    """Return x and y files of the original's shapes."""
    sizes = [
        (f"case_{number:05d}_{kind}.npy", 128 + item * math.prod(case.shape), file_class)
        for number, case in enumerate(originals())
        for kind, item, file_class in (("x", 4, FileClass.X), ("y", 1, FileClass.Y))
    ]
    return {
        number: DataFile(path=path, size_bytes=size, file_class=file_class, role="train")
        for number, (path, size, file_class) in enumerate(sizes)
    }


def realistic_facts() -> RunFacts:
    """Return what a host says of such a run."""
    return facts(
        RANKS,
        command=("python", "-m", "harness", "benchmark", "imseg", "--data", "/mnt/array"),
        accelerators={
            "count": RANKS,
            "profile": "v100",
            "device": "NVIDIA V100",
            "source": "published V100 runs",
            "date": "2022-10",
            "batch_size": BATCH,
            "global_batch_size": RANKS * BATCH,
            "declared": {"mean_s": 1.392, "sd_s": 0.038},
        },
        dataset={
            "workload": "imseg",
            "law": "kits19",
            "seed": 1,
            "samples": {"train": 640, "eval": 42},
            "data_bytes": 100_000_000_000,
            "manifest_crc32c": "9a3bf210",
            "entropy": {"deflate1_64kib": 0.4512, "duplicate_4kib": 0.0},
        },
        target={
            "path": "/mnt/array/imseg",
            "mount_point": "/mnt/array",
            "fs_type": "xfs",
            "device": "/dev/nvme0n1",
            "mount_options": "rw,noatime,attr2,inode64,logbufs=8,logbsize=32k,noquota",
            "free_bytes": 3_200_000_000_000,
            "read_ahead_kb": 128,
            "scheduler": "none",
            "byte_source": "proc",
        },
        config={
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "loader_workers": 4,
            "prefetch_batches": 2,
            "buffer": "reuse",
            "cache": "cold",
            "memory": None,
            "seed": 1,
        },
        system={
            "kernel": "6.8.0-45-generic",
            "cpu": {"model": "AMD EPYC 7543 32-Core Processor", "cores": 64, "numa_nodes": 2},
            "memory": {"total_bytes": 256_000_000_000, "available_bytes": 249_000_000_000},
            "transparent_huge_pages": "madvise",
            "load_1min": 0.12,
            "versions": {"python": "3.11.9", "numpy": "2.4.6", "feedrate": "0.1.0"},
        },
        warmup_epochs=1,
    )
