"""Building an image by the classic build API, with its log line by line."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from docker.client import DockerClient
from docker.errors import APIError, ImageNotFound

from harness.engine.daemon import daemon_call, labels
from harness.engine.images import (
    Flavour,
    ca_bundle_file,
    context_archive,
    context_files,
    dockerfile,
    image_tag,
    transport_arguments,
)
from harness.errors import ImageBuildError

_TAIL_LINES = 20
_STATUS_BAD_REQUEST = 400
# What the builder says of its own layers.
_NOISE = (" ---> ", "Removing intermediate container ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image in the engine; `tag` holds the hash of all that it was made of."""

    tag: str
    id: str
    base_id: str


def build_image(
    client: DockerClient, flavour: Flavour, base_id: str, say: Callable[[str], None]
) -> Image:
    """Return the image of a flavour on a base image, built unless it is there.

    Raises:
        EngineError: the daemon was lost.
        ImageBuildError: with the build's last lines.
    """
    files = context_files(flavour)
    arguments = {"BASE": base_id}
    tag = image_tag(flavour, files, arguments)
    image_id = image_id_of(client, tag)
    if image_id is None:
        say(f"image   {tag}: building")
        build(
            client,
            files={**files, **ca_bundle_file()},
            path=dockerfile(flavour),
            tag=tag,
            labels=labels("image", flavour=flavour, base=base_id),
            arguments={**arguments, **transport_arguments()},
            say=say,
        )
        image_id = image_id_of(client, tag)
    if image_id is None:
        raise ImageBuildError(
            "the image is gone right after its build", where=tag, then="try again"
        )
    say(f"image   {tag}: ready")
    return Image(tag=tag, id=image_id, base_id=base_id)


def image_id_of(client: DockerClient, tag: str) -> str | None:
    """Return the id of a local image, None if there is none of that name."""
    with daemon_call(f"look for the image {tag}"):
        try:
            return str(client.images.get(tag).id)
        except ImageNotFound:
            return None


def build(
    client: DockerClient,
    *,
    files: Mapping[str, bytes],
    path: str,
    tag: str,
    labels: Mapping[str, str],
    arguments: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    """Build the Dockerfile at `path` within `files` as `tag`.

    Raises:
        EngineError: the daemon was lost.
        ImageBuildError: with the build's last lines.
    """
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with daemon_call(f"build {tag}"):
        try:
            chunks = client.api.build(
                fileobj=context_archive(files),
                custom_context=True,
                dockerfile=path,
                tag=tag,
                labels=dict(labels),
                buildargs=dict(arguments),
                decode=True,
                rm=True,
                forcerm=True,
            )
            for line in build_lines(chunks, path, tail):
                say(line)
        except APIError as error:
            # So the daemon answers a Dockerfile that it cannot parse.
            if error.status_code != _STATUS_BAD_REQUEST:
                raise
            raise _build_error(str(error.explanation), path, tail) from error


def build_lines(chunks: Iterator[dict[str, Any]], path: str, tail: deque[str]) -> Iterator[str]:
    """Yield the lines of a build's stream, and keep the last of them in `tail`.

    Raises:
        ImageBuildError: the stream told of an error.
    """
    for chunk in chunks:
        if "error" in chunk:
            raise _build_error(str(chunk["error"]), path, tail)
        for line in str(chunk.get("stream") or chunk.get("status") or "").splitlines():
            if line.strip() and not line.startswith(_NOISE):
                tail.append(line)
                yield line


def _build_error(what: str, path: str, tail: deque[str]) -> ImageBuildError:
    then = "the build's last lines:" if tail else "correct the file"
    return ImageBuildError(f"the build failed ({what.strip()})", where=path, then=then, lines=tail)
