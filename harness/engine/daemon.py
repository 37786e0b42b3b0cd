"""What the daemon's refusals and its loss mean, and the labels by which it knows what is ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from docker.errors import APIError, DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from harness.errors import EngineError

LABEL: Final = "feedrate"
BASE_REPOSITORY: Final = "feedrate-base"


def labels(kind: str, **facts: str) -> dict[str, str]:
    """Return the labels of one of our objects: `kind` is job, image or base."""
    return {LABEL: "1", f"{LABEL}.kind": kind} | {
        f"{LABEL}.{name}": value for name, value in facts.items()
    }


@contextmanager
def daemon_call(doing: str) -> Iterator[None]:
    """Turn what the SDK raises into EngineError; `doing` completes "could not ...".

    Raises:
        EngineError: the daemon refused, or it was lost.
    """
    try:
        yield
    except APIError as error:
        explanation = str(error.explanation or error).strip()
        what = f"the Docker daemon could not {doing} ({explanation})"
        raise EngineError(what, then="see the daemon's log") from error
    except (DockerException, RequestException, HTTPError) as error:
        what = f"the Docker daemon was lost, so it could not {doing}"
        then = "start it again; `nox -s clean` removes what a lost run left"
        raise EngineError(what, then=then) from error
