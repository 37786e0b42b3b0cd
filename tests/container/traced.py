"""Programs in containers under strace: the images that hold it, and a run."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from docker.client import DockerClient

from harness.engine import Job, Mount
from harness.engine.arguments import container_arguments
from harness.engine.build import build, image_id_of
from harness.engine.daemon import labels
from harness.engine.images import content_hash, transport_arguments
from harness.trace.calls import Trace
from harness.trace.strace import OPTIONS, parse

READERS = Path(__file__).parents[1] / "reference"
DOCKERFILE = Path(__file__).with_name("traced.Dockerfile")
TIME_LIMIT_S = 300


def traced_image(client: DockerClient, base_id: str, packages: str) -> str:
    """Return the tag of `base_id` with these packages of Debian, built unless it is there."""
    files = {DOCKERFILE.name: DOCKERFILE.read_bytes()}
    arguments = {"BASE": base_id, "PACKAGES": packages}
    tag = f"feedrate-traced:{content_hash(files.items(), arguments)}"
    if image_id_of(client, tag) is None:
        build(
            client,
            files=files,
            path=DOCKERFILE.name,
            tag=tag,
            labels=labels("image", flavour="traced", base=base_id),
            arguments=arguments | transport_arguments(),
            say=print,
        )
    return tag


def run_traced(
    client: DockerClient,
    image: str,
    command: Sequence[object],
    *,
    directory: Path,
    run_id: str,
    limit_s: float = TIME_LIMIT_S,
) -> Trace:
    """Run `command` in a container that may write below `directory`; return its Trace."""
    name = f"feedrate-traced-{secrets.token_hex(4)}"
    log = directory / f"{name}.log"
    mounts = (Mount(path=directory), Mount(path=READERS, read_only=True))
    job = Job(name="traced", arguments=(), mounts=mounts, log=log)
    container = client.containers.create(
        **container_arguments(
            job,
            image=image,
            name=name,
            labels=labels("job", run=run_id, job="traced"),
            user=f"{os.getuid()}:{os.getgid()}",
        )
        | {"command": ["strace", *OPTIONS, str(log), *map(str, command)]}
    )
    try:
        container.start()
        ended = container.wait(timeout=limit_s)["StatusCode"]
        output = container.logs().decode()
        assert ended == 0, output
    finally:
        container.remove(force=True)
    with log.open(errors="replace") as lines:
        return parse(lines)
