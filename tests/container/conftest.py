"""A real engine and the real CPU image, built once and found by its tag from then on."""

import io
import secrets
import tarfile

import pytest

from harness.engine import Job, Mount
from harness.engine.choose import choose_engine
from harness.engine.client import connect
from harness.engine.daemon import LABEL


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


@pytest.fixture(scope="session")
def traced_image(client, engine):
    """The CPU image with strace in it, as a user would add it to trace his own training."""
    tag = f"feedrate-test:{secrets.token_hex(4)}"
    text = (
        f"FROM {engine.facts()['image']}\n"
        "RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends strace\n"
    ).encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    context.seek(0)
    for chunk in client.api.build(
        fileobj=context, custom_context=True, tag=tag, decode=True, rm=True
    ):
        assert "error" not in chunk, chunk
    yield tag
    client.images.remove(tag, force=True)


@pytest.fixture
def containers(client, run_id):
    """The names of this session's containers, whatever their state."""

    def names():
        found = client.containers.list(
            all=True, filters={"label": f"{LABEL}.run={run_id}"}, ignore_removed=True
        )
        return [container.name for container in found]

    return names


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
