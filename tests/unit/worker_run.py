"""Small imseg data sets and whole worker runs, for the tests of harness.worker."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.worker.spec import StepTime, WorkerSpec
from tests.reference.calls import Call, recorded_calls

IMSEG = ("imseg", "npy", "small")
REPOSITORY = Path(__file__).parents[2]


def make_data_set(directory: Path, *, train: int, evaluation: int = 0, side: int = 24) -> Path:
    """Write pairs of growing size, the manifest and the lock file."""
    directory.mkdir()
    files = []
    for case in range(train + evaluation):
        shape = (1, side + case, side, side + 3)
        volumes = {
            "x": np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + case,
            "y": (np.arange(np.prod(shape)) % 251 + case).astype(np.uint8).reshape(shape),
        }
        for file_class, volume in volumes.items():
            path = directory / f"case_{case:05d}_{file_class}.npy"
            np.save(path, volume)
            role = "train" if case < train else "eval"
            files.append(entry(path, role, file_class, samples=int(file_class == "x")))
    (directory / ".feedrate.lock").touch()
    (directory / "manifest.json").write_text(json.dumps(manifest(files, train, evaluation)))
    sync(directory)
    return directory


def describe(directory: Path, sizes: dict[str, int]) -> None:
    """Let the manifest say that these files have other sizes."""
    path = directory / "manifest.json"
    document = json.loads(path.read_text())
    for entry in document["files"]:
        size_bytes = sizes.get(entry["path"], entry["bytes"])
        entry |= {"bytes": size_bytes, "segments": [[size_bytes, 0]]}
    document["data_bytes"] = sum(entry["bytes"] for entry in document["files"])
    path.write_text(json.dumps(document))


def sync(directory: Path) -> None:
    """Flush every file, for pages that are dirty cannot be evicted."""
    for path in directory.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def make_spec(tmp_path: Path, data_dir: Path, **changes) -> WorkerSpec:
    """Return a spec of one quick rank, with `changes`."""
    spec = WorkerSpec(
        workload="imseg",
        data_dir=str(data_dir),
        out_dir=str(tmp_path / "out"),
        checkpoint_dir=None,
        checkpoint_bytes=0,
        accelerator="emulated",
        gpus=False,
        accelerators=1,
        batch_size=1,
        epochs=1,
        steps=0,
        pipelines=0,
        loader="native",
        seed=1,
        eval_from=0,
        eval_every=1,
        eval_every_steps=0,
        loader_workers=0,
        prefetch_batches=2,
        shuffle="none",
        buffer="reuse",
        cache="asis",
        step_time=StepTime(mean_s=0.002, sd_s=0.0),
        evaluation_case_s=None,
    )
    return replace(spec, **changes)


def command(tmp_path: Path, spec: WorkerSpec) -> list[str]:
    """Write the spec and return the command line of a run."""
    path = tmp_path / "spec.json"
    path.write_text(spec.to_json())
    return [sys.executable, "-m", "harness.worker", str(path)]


def run_worker(tmp_path: Path, spec: WorkerSpec) -> subprocess.CompletedProcess:
    """Run a training to its end."""
    return subprocess.run(
        command(tmp_path, spec), cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )


def start_worker(tmp_path: Path, spec: WorkerSpec) -> subprocess.Popen:
    """Start a training and return without waiting for it."""
    return subprocess.Popen(
        command(tmp_path, spec),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def load(spec: WorkerSpec, name: str) -> np.ndarray:
    """Return an array of the recording, such as `trace/rank-00000.npy`."""
    return np.load(Path(spec.out_dir) / name)


def calls_of_rank(spec: WorkerSpec, rank: int) -> list[Call]:
    """Return what a rank recorded, in its order."""
    rows = load(spec, f"trace/rank-{rank:05d}.npy")
    return recorded_calls(rows, load_json(spec, "trace/files.json"))


def load_json(spec: WorkerSpec, name: str) -> dict:
    """Return a document of the recording, such as `worker.json`."""
    return json.loads((Path(spec.out_dir) / name).read_text())


def entry(path: Path, role: str, file_class: str, samples: int) -> dict:
    size_bytes = path.stat().st_size
    return {
        "path": path.name,
        "role": role,
        "class": file_class,
        "bytes": size_bytes,
        "samples": samples,
        "crc32c": 0,
        "segments": [[size_bytes, 0]],
    }


def manifest(
    files: list[dict], train: int, evaluation: int, *, kind: tuple[str, str, str] = IMSEG
) -> dict:
    return {
        "schema_version": 1,
        "generator": {"version": "0", "format_version": 1},
        **dict(zip(("workload", "format", "law"), kind, strict=True)),
        "seed": 1,
        "size_requested_bytes": 1,
        "data_bytes": sum(file["bytes"] for file in files),
        "sidecar_bytes": 0,
        "samples": {"train": train, "eval": evaluation},
        "origin": {"kind": "generate", "source_crc32c": None},
        "allocation": {"holes_bytes": 0, "shared_bytes": 0},
        "entropy": {"deflate1_64kib": 1.0, "duplicate_4kib": 0.0},
        "files": files,
    }
