"""What a real accelerator computes on: GPUs, or this machine's processor."""

import importlib.util
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from harness.worker.failure import DeviceMissingError
from harness.worker.host.cores import usable_cores
from harness.worker.spec import WorkerSpec


def check_devices(spec: WorkerSpec) -> None:
    """Check that TensorFlow can be imported, and that each rank has a GPU if they are asked for.

    Raises:
        DeviceMissingError: one of these is missing.
    """
    if spec.accelerator != "tensorflow":
        return
    if importlib.util.find_spec("tensorflow") is None:
        then = "install tensorflow-cpu, or use --engine docker, whose images have it"
        raise DeviceMissingError(
            "there is no TensorFlow", where="--accelerator tensorflow", then=then
        )
    if spec.gpus:
        check_enough(gpu_numbers(), spec.accelerators)


def check_enough(gpus: tuple[str, ...], accelerators: int) -> None:
    """Compare the GPUs that are there with the ranks.

    Raises:
        DeviceMissingError: there are fewer.
    """
    if not gpus:
        then = "install the driver, or leave --gpus out"
        raise DeviceMissingError("there is no GPU, or no driver for it", where="--gpus", then=then)
    if len(gpus) < accelerators:
        what = f"{len(gpus)} GPUs for {accelerators} accelerators, which need one each"
        then = f"use --accelerators {len(gpus)}, or leave --gpus out"
        raise DeviceMissingError(what, where="--gpus", then=then)


def rank_threads(spec: WorkerSpec) -> int:
    """Return the threads that a rank's computation gets: its part of the usable cores."""
    return max(1, usable_cores() // spec.accelerators)


def gpu_numbers(
    dev: Path = Path("/dev"), environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Return the names by which the GPUs of this machine, or of this container, are chosen.

    Where CUDA_VISIBLE_DEVICES says which may be used, the others are left alone.

    Source: the driver makes a file /dev/nvidiaN for each.
    """
    there = sorted(
        (path.name.removeprefix("nvidia") for path in dev.glob("nvidia*")),
        key=lambda name: (len(name), name),
    )
    numbers = [name for name in there if re.fullmatch("[0-9]+", name)]
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not numbers:
        return tuple(numbers)
    return tuple(name.strip() for name in chosen.split(",") if name.strip())


def processor_name(proc: Path = Path("/proc")) -> str:
    """Return what the processor calls itself, or its architecture where it has no name."""
    for line in (proc / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
