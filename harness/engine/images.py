"""What an image is made of, and the tag that follows from it. Only the reading touches files."""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from harness.errors import ImageBuildError

Flavour = Literal["cpu", "gpu"]

_ROOT = Path(__file__).parents[2]
_CA_BUNDLE = "ca-bundle.pem"
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
_PIP_VARIABLES = ("PIP_DEFAULT_TIMEOUT", "PIP_INDEX_URL", "PIP_TRUSTED_HOST")


def dockerfile(flavour: Flavour) -> str:
    """Return the path of a flavour's Dockerfile within the context."""
    return f"docker/{flavour}.Dockerfile"


def image_tag(flavour: Flavour, files: Mapping[str, bytes], arguments: Mapping[str, str]) -> str:
    """Return the tag of the image that these files and build arguments make.

    Args:
        flavour: cpu or gpu.
        files: path within the context -> content.
        arguments: what decides the content beside the files, such as the id of the base image.
    """
    return f"feedrate-{flavour}:{content_hash(files.items(), arguments)}"


def content_hash(files: Iterable[tuple[str, bytes]], arguments: Mapping[str, str]) -> str:
    """Return 16 hexadecimal digits that any changed byte, path or argument changes.

    The order does not matter. Every part goes in with its length before it, so that no two
    contexts run into the same bytes.
    """
    digest = hashlib.sha256()
    named = [(f"file {path}", content) for path, content in files]
    named += [(f"argument {name}", value.encode()) for name, value in arguments.items()]
    for name, content in sorted(named):
        for part in (name.encode(), content):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()[:16]


def context_files(flavour: Flavour, root: Path = _ROOT) -> dict[str, bytes]:
    """Read what an image needs: its Dockerfile, its requirements, dsgen and harness.worker.

    Raises:
        ImageBuildError: the project's own files are not there, as in an installation without them.
    """
    paths = [root / dockerfile(flavour), root / f"docker/requirements-{flavour}.txt"]
    paths += [root / "harness/__init__.py", *_code(root / "harness/worker"), *_code(root / "dsgen")]
    try:
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    except OSError as error:
        what = f"a file of the image cannot be read ({error.strerror})"
        then = "run from a checkout of the project"
        raise ImageBuildError(what, where=str(error.filename), then=then) from error


def context_archive(files: Mapping[str, bytes]) -> io.BytesIO:
    """Return the context as a tar archive with nothing of the host but the contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def ca_bundle_file(environment: Mapping[str, str] = os.environ) -> dict[str, bytes]:
    """Return the host's CA bundle as a file of the context, empty where none is named.

    It is no part of the image's identity: hashes pin what is installed, and the bundle decides
    only whether the way there is trusted. It enters the stage that installs, not the image.

    Raises:
        ImageBuildError: the bundle that the environment names cannot be read.
    """
    for variable in _CA_VARIABLES:
        if path := environment.get(variable):
            try:
                return {_CA_BUNDLE: Path(path).read_bytes()}
            except OSError as error:
                what = f"the CA bundle cannot be read ({error.strerror})"
                where = f"{variable}={path}"
                raise ImageBuildError(what, where=where, then=f"correct {variable}") from error
    return {_CA_BUNDLE: b""}


def transport_arguments(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the build arguments that say how packages are reached, and never what they are."""
    names = [*_PROXY_VARIABLES, *(name.upper() for name in _PROXY_VARIABLES), *_PIP_VARIABLES]
    return {name: environment[name] for name in names if environment.get(name)}


def _code(directory: Path) -> list[Path]:
    return [
        path
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    ]
