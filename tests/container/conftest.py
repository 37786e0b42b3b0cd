"""A real engine and the real CPU image, built once and found by its tag from then on."""

import secrets

import pytest

from harness.engine import Job, Mount
from harness.engine.base_image import ensure_base_image
from harness.engine.choose import choose_engine
from harness.engine.client import connect
from harness.engine.daemon import LABEL
from tests.container.traced import READERS, run_traced, traced_image


@pytest.fixture(scope="session")
def client():
    return connect()


@pytest.fixture(scope="session")
def run_id():
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def engine(run_id):
    engine = choose_engine("docker", run_id=run_id)
    engine.prepare(print)
    return engine


@pytest.fixture
def containers(client, run_id):
    """The names of this session's containers, whatever their state."""

    def names():
        found = client.containers.list(
            all=True, filters={"label": f"{LABEL}.run={run_id}"}, ignore_removed=True
        )
        return [container.name for container in found]

    return names


@pytest.fixture(scope="session")
def torch_image(client):
    """Debian's Python, numpy and torch, and strace."""
    return traced_image(client, ensure_base_image(client, None, print), "strace python3-torch")


@pytest.fixture(scope="session")
def cpu_image(client, engine):
    """The CPU image with strace in it, as a user would add it to trace his own training."""
    return traced_image(client, engine.facts()["image_id"], "strace")


@pytest.fixture
def traced(client, run_id, cpu_image, tmp_path):
    """Run Python with these words in the CPU image under strace, and return the Trace."""

    def run(*words):
        command = ("python", *words)
        return run_traced(client, cpu_image, command, directory=tmp_path, run_id=run_id)

    return run


@pytest.fixture
def traced_torch(client, run_id, torch_image, tmp_path):
    """Run a reference reader on torch under strace, and return the Trace."""

    def run(reader, *words):
        # Debian's, wherever the base image has another Python of its own.
        command = ("/usr/bin/python3", READERS / reader, *words)
        return run_traced(client, torch_image, command, directory=tmp_path, run_id=run_id)

    return run


@pytest.fixture
def job(tmp_path):
    """A job that runs Python code and may write into `tmp_path / "data"`."""

    def make(code, **changes):
        values = {
            "name": "test",
            "arguments": ("-c", code),
            "mounts": (Mount(path=tmp_path / "data"),),
            "log": tmp_path / "log" / "test.log",
        }
        return Job(**{**values, **changes})

    return make
