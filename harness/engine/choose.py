"""Which engine runs the jobs."""

from pathlib import Path
from typing import Literal

from harness.engine import Engine
from harness.engine.client import connect
from harness.engine.local import LocalEngine
from harness.errors import EngineError


def engine_name(asked: Literal["auto", "docker", "local"]) -> str:
    """Return the name of the engine that `choose_engine` returns, where it finds what it needs."""
    if asked != "auto":
        return asked
    try:
        connect().close()
    except EngineError:
        return "local"
    return "docker"


def choose_engine(
    name: Literal["auto", "docker", "local"],
    *,
    flavour: Literal["cpu", "gpu"] = "cpu",
    image_archive: Path | None = None,
    run_id: str | None = None,
) -> Engine:
    """Return the engine of that name; `auto` is docker where a daemon answers, else local.

    Args:
        name: as --engine has it.
        flavour: which image; jobs of `gpu` are given all GPUs.
        image_archive: where the base image comes from, if the user named an archive.
        run_id: label of the run's containers; a random one by default.

    Raises:
        EngineError: docker was asked for, and is not to be had.
    """
    if name == "local":
        return LocalEngine(reason="asked for")
    try:
        client = connect()
    except EngineError as lack:
        if name == "docker":
            raise
        return LocalEngine(reason=f"{lack.what}: {lack.where}" if lack.where else lack.what)
    # Only here, because it imports the SDK.
    from harness.engine.docker import DockerEngine

    return DockerEngine(
        client,
        reason="asked for" if name == "docker" else "a Docker daemon answers",
        flavour=flavour,
        image_archive=image_archive,
        run_id=run_id,
    )
