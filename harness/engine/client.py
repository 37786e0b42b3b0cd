"""The way to the daemon. Each lack has its own sentence, because `auto` tells it to the user."""

import os
import socket
from typing import TYPE_CHECKING

from harness.errors import EngineError

if TYPE_CHECKING:
    from docker.client import DockerClient

MINIMUM_API = (1, 41)
DEFAULT_HOST = "unix:///var/run/docker.sock"
ANSWER_TIMEOUT_S = 5
# Long, because a benchmark may keep the daemon's own disk busy; a daemon that died answers at once.
CALL_TIMEOUT_S = 180

_INSTALL = "install a Docker engine and start it, or use --engine local"


def connect() -> "DockerClient":
    """Return a client of the daemon that DOCKER_HOST names, by default the machine's own.

    Raises:
        EngineError: no SDK, no socket, no permission, no answer, or an API that is too old.
    """
    # The folder docker/ of this project is a namespace package where the SDK is not installed.
    import docker

    if not hasattr(docker, "from_env"):
        then = "install this project with its `host` extra, or use --engine local"
        raise EngineError("the Python package `docker` is not installed", then=then)
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    host = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    _probe(_socket_path(host))
    try:
        client = docker.DockerClient(base_url=host, version="auto", timeout=ANSWER_TIMEOUT_S)
        check_api(str(client.version()["ApiVersion"]), host)
    except (DockerException, RequestException) as error:
        what = f"the Docker daemon does not answer as it should ({error})"
        raise EngineError(what, where=host, then=_INSTALL) from error
    client.api.timeout = CALL_TIMEOUT_S
    return client


def check_api(version: str, host: str) -> None:
    """Check that the daemon at `host` speaks an API that is new enough.

    Raises:
        EngineError: it does not; both versions are named.
    """
    if tuple(int(part) for part in version.split(".")) < MINIMUM_API:
        needed = ".".join(map(str, MINIMUM_API))
        what = f"the Docker daemon speaks API {version}, and {needed} is needed"
        raise EngineError(what, where=host, then="use Docker Engine 20.10 or newer")


def _socket_path(host: str) -> str:
    if host.startswith("unix://"):
        return host.removeprefix("unix://")
    # Directories are mounted from the daemon's machine, which must be the one under test.
    what = "the Docker daemon is not one of this machine's, so it cannot see its directories"
    raise EngineError(what, where=f"DOCKER_HOST={host}", then="unset DOCKER_HOST")


def _probe(path: str) -> None:
    """Try the socket itself, whose errors are plainer than those of a client."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_TIMEOUT_S)
        try:
            probe.connect(path)
        except PermissionError as error:
            then = "join the group that owns the socket, or run as root"
            what = "no permission to speak to the Docker daemon"
            raise EngineError(what, where=path, then=then) from error
        except TimeoutError as error:
            what = f"the Docker daemon does not answer within {ANSWER_TIMEOUT_S} s"
            raise EngineError(what, where=path, then="restart it") from error
        except OSError as error:
            what = f"no Docker daemon listens ({error.strerror})"
            raise EngineError(what, where=path, then=_INSTALL) from error
