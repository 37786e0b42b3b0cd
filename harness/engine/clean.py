"""Putting away what this tool left in the engine: known by its label, and by nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

from docker.client import DockerClient
from docker.errors import APIError, NotFound

from dsgen.size import format_size
from harness.engine.base_image import BASE_TAG
from harness.engine.build import image_id_of
from harness.engine.daemon import LABEL, daemon_call

_STATUS_CONFLICT = 409


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaned:
    """What was removed, and the bytes that the engine's layers shrank by."""

    containers: tuple[str, ...]
    images: tuple[str, ...]
    freed_bytes: int


def clean(
    client: DockerClient, *, base: bool, say: Callable[[str], None], label: str = LABEL
) -> Cleaned:
    """Remove our containers, running ones too, and our images; the base image if `base`.

    Raises:
        EngineError: the daemon refused, or was lost.
    """
    with daemon_call("clean up"):
        before_bytes = _layer_bytes(client)
        containers = _remove_containers(client, label, say)
        images = _remove_images(client, label, say, keep=None if base else BASE_TAG)
        freed_bytes = max(0, before_bytes - _layer_bytes(client))
    say(
        f"removed {len(containers)} containers and {len(images)} images: "
        f"{format_size(freed_bytes)} freed"
    )
    return Cleaned(containers=containers, images=images, freed_bytes=freed_bytes)


def _remove_containers(
    client: DockerClient, label: str, say: Callable[[str], None]
) -> tuple[str, ...]:
    removed = []
    for container in client.containers.list(
        all=True, filters={"label": label}, ignore_removed=True
    ):
        try:
            container.remove(v=True, force=True)
        except NotFound:
            continue
        say(f"removed container {container.name}")
        removed.append(str(container.name))
    return tuple(removed)


def _remove_images(
    client: DockerClient, label: str, say: Callable[[str], None], keep: str | None
) -> tuple[str, ...]:
    kept_id = keep and image_id_of(client, keep)
    removed = []
    for image in client.images.list(filters={"label": label}):
        # Whoever builds on our image inherits its label, but not its name.
        names = [name for name in image.tags if name.startswith(f"{LABEL}-")]
        if image.id == kept_id or (image.tags and not names):
            continue
        removed += [name for name in names or [str(image.id)] if _remove_image(client, name, say)]
    return tuple(removed)


def _remove_image(client: DockerClient, name: str, say: Callable[[str], None]) -> bool:
    try:
        client.images.remove(name)
    except NotFound:
        # It went with the image that was built on it.
        return False
    except APIError as error:
        if error.status_code != _STATUS_CONFLICT:
            raise
        say(f"kept image {name}: {error.explanation}")
        return False
    say(f"removed image {name}")
    return True


def _layer_bytes(client: DockerClient) -> int:
    return int(client.df()["LayersSize"])
