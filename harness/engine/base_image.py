"""The image that the others start from: Debian 12 with Python 3.11, made in one of four ways."""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from docker.client import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from harness.engine.build import build, image_id_of
from harness.engine.daemon import BASE_REPOSITORY, daemon_call, labels
from harness.engine.deferral import Deferral
from harness.engine.output import lines
from harness.engine.process import ProcessGroup
from harness.errors import ConfigError, EngineError

SUITE: Final = "bookworm"
BASE_TAG: Final = f"{BASE_REPOSITORY}:{SUITE}"
PUBLIC_IMAGE: Final = "python:3.11-slim-bookworm"
PACKAGES: Final = ("ca-certificates", "python3", "python3-venv")

# A registry that is silent for so long is given up.
_PULL_SILENCE_S = 20
_CHUNK_BYTES = 1 << 20
_APT_LEFTOVERS = ("./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*")


def ensure_base_image(
    client: DockerClient, archive: Path | None, say: Callable[[str], None]
) -> str:
    """Return the id of the base image; make it unless it is there.

    An archive that the user names is used alone; otherwise a pull is tried, then debootstrap.

    Args:
        client: of the daemon that keeps the image.
        archive: a `docker save` or the tar of a root directory.
        say: receives a line at a time.

    Raises:
        ConfigError: the archive cannot be read.
        EngineError: no way led to a base image; every way is named with its hindrance.
    """
    if (there := image_id_of(client, BASE_TAG)) is not None:
        if archive is not None:
            say(f"base    {BASE_TAG} is there, so {archive} is not read")
        return there
    if archive is not None:
        _load(client, archive, say)
    else:
        _pull_or_bootstrap(client, say)
    made = image_id_of(client, BASE_TAG)
    if made is None:
        raise EngineError("the base image is gone right after it was made", where=BASE_TAG)
    say(f"base    {BASE_TAG}: ready")
    return made


def _pull_or_bootstrap(client: DockerClient, say: Callable[[str], None]) -> None:
    hindrances = {"a local image": f"there is no {BASE_TAG}"}
    for way, make in (("a pull", _pull), ("debootstrap", _bootstrap)):
        hindrance = make(client, say)
        if not hindrance:
            return
        say(f"base    no {way.removeprefix('a ')}: {hindrance}")
        hindrances[way] = hindrance
    raise no_base_error(hindrances)


def no_base_error(hindrances: dict[str, str]) -> EngineError:
    """Return the error that names every way to a base image, and what stood in it."""
    hindrances = {**hindrances, "--image-archive FILE": "not given"}
    ways = "; ".join(f"{way}: {hindrance}" for way, hindrance in hindrances.items())
    then = "open one of these ways; an archive is a `docker save` or the tar of a root directory"
    return EngineError("there is no base image", where=ways, then=then)


def _pull(client: DockerClient, say: Callable[[str], None]) -> str:
    """Name the public image ours, pulled if need be; return what hindered it, or nothing."""
    if image_id_of(client, PUBLIC_IMAGE) is not None:
        _adopt(client, PUBLIC_IMAGE, say)
        return ""
    say(f"base    pulling {PUBLIC_IMAGE}")
    repository, tag = PUBLIC_IMAGE.split(":")
    patience_s, client.api.timeout = client.api.timeout, _PULL_SILENCE_S
    try:
        for chunk in client.api.pull(repository, tag=tag, stream=True, decode=True):
            if "error" in chunk:
                return str(chunk["error"])
    except APIError as error:
        return str(error.explanation).strip()
    except (DockerException, RequestException, HTTPError) as error:
        return f"the registry does not answer ({error})"
    finally:
        client.api.timeout = patience_s
    _adopt(client, PUBLIC_IMAGE, say)
    _untag(client, PUBLIC_IMAGE)
    return ""


def _bootstrap(client: DockerClient, say: Callable[[str], None]) -> str:
    """Let debootstrap fill a directory, and import it; return what hindered it, or nothing."""
    missing = [tool for tool in ("debootstrap", "unshare", "tar") if shutil.which(tool) is None]
    if os.geteuid() != 0:
        return "it needs root"
    if missing:
        return f"not installed: {', '.join(missing)} (on Debian and Ubuntu: apt-get install)"
    with _temporary_directory() as directory:
        # mkdtemp's own mode would become that of the image's root, closed to all but root.
        root = directory / "root"
        root.mkdir(mode=0o755)
        include = f"--include={','.join(PACKAGES)}"
        # In a mount namespace of its own: what it mounts goes when it goes.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase", include, SUITE]
        with _process([*command, str(root)], errors_to=subprocess.STDOUT) as process:
            last = ""
            for last in lines(process.stdout):
                say(last)
            if code := process.wait():
                return f"it ended with exit code {code} ({last})"
        _import_directory(client, root)
    return ""


def _load(client: DockerClient, archive: Path, say: Callable[[str], None]) -> None:
    """Take the base from an archive: of an image, or of a root directory."""
    say(f"base    loading {archive}")
    try:
        holds_image = _is_image_archive(archive)
        with archive.open("rb") as stream, daemon_call(f"load {archive}"):
            if not holds_image:
                _import(client, iter(partial(stream.read, _CHUNK_BYTES), b""))
                return
            known = _names(client)
            loaded = client.images.load(stream)
    except (OSError, tarfile.TarError) as error:
        then = "give a `docker save` or the tar of a root directory"
        raise ConfigError(f"not an archive ({error})", where=str(archive), then=then) from error
    if not loaded:
        raise ConfigError("the archive holds no image", where=str(archive), then="give another")
    _adopt(client, str(loaded[0].id), say)
    for name in _names(client) - known - {BASE_TAG}:
        _untag(client, name)


def _is_image_archive(archive: Path) -> bool:
    with tarfile.open(archive) as members:
        for member in members:
            top = member.name.removeprefix("./").split("/")[0]
            if top in ("manifest.json", "oci-layout", "index.json"):
                return True
            if top in ("etc", "usr"):
                return False
    raise tarfile.TarError("neither an image nor a root directory")


def _names(client: DockerClient) -> set[str]:
    return {name for image in client.images.list() for name in image.tags}


def _import(client: DockerClient, chunks: Iterator[bytes]) -> None:
    """Import the tar of a root directory as the base image."""
    ours = [f"LABEL {name}={value}" for name, value in labels("base").items()]
    with daemon_call("import the base image"):
        answer = client.api.import_image(
            chunks, repository=BASE_REPOSITORY, tag=SUITE, changes=ours, stream_src=True
        )
    for line in str(answer).splitlines():
        if "error" in (told := json.loads(line)):
            raise EngineError(f"the base image was not imported ({told['error']})", where=BASE_TAG)


def _import_directory(client: DockerClient, root: Path) -> None:
    excludes = [f"--exclude={pattern}" for pattern in _APT_LEFTOVERS]
    with _process(["tar", "-C", str(root), *excludes, "--numeric-owner", "-c", "."]) as tar:
        _import(client, tar.stdout)
        complaint = "; ".join(lines(tar.stderr))
        if code := tar.wait():
            _untag(client, BASE_TAG)
            what = f"tar ended with exit code {code} ({complaint})"
            raise EngineError(what, where=str(root), then="check the disk and try again")


def _adopt(client: DockerClient, reference: str, say: Callable[[str], None]) -> None:
    """Give an image our name and labels."""
    build(
        client,
        files={"Dockerfile": f"FROM {reference}\n".encode()},
        path="Dockerfile",
        tag=BASE_TAG,
        labels=labels("base"),
        arguments={},
        say=say,
    )


def _untag(client: DockerClient, reference: str) -> None:
    with daemon_call(f"remove the name {reference}"):
        try:
            client.images.remove(reference, noprune=True)
        except ImageNotFound:
            return


@contextmanager
def _process(command: list[str], errors_to: int = subprocess.PIPE) -> Iterator[ProcessGroup]:
    process = ProcessGroup.start(command, errors_to=errors_to)
    try:
        yield process
    finally:
        process.end()


@contextmanager
def _temporary_directory() -> Iterator[Path]:
    """Yield a directory on disk (/tmp may be memory, or forbid device files); remove it after."""
    with Deferral() as signals:
        directory = Path(tempfile.mkdtemp(prefix="feedrate-base-", dir="/var/tmp"))
        try:
            with signals.let_in():
                yield directory
        finally:
            shutil.rmtree(directory)
