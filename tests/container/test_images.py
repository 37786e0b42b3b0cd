"""Building in a real engine: what the log tells, what a change rebuilds, what clean removes."""

import contextlib
import io
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from dsgen.errors import ExitCode
from harness.engine.base_image import BASE_TAG, _bootstrap, _temporary_directory, ensure_base_image
from harness.engine.build import build, build_image, image_id_of
from harness.engine.clean import clean
from harness.engine.daemon import labels
from harness.errors import ConfigError, ImageBuildError, StopRequested
from tests.waiting import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def base_id(client):
    return ensure_base_image(client, None, print)


@pytest.fixture
def build_file(client):
    """Build a Dockerfile given as text; what came of it is removed after the test."""
    tag = f"feedrate-test:{secrets.token_hex(4)}"

    def run(text, say=print, arguments=None, label=None):
        build(
            client,
            files={"a/Dockerfile": text.encode(), "file": b"content"},
            path="a/Dockerfile",
            tag=tag,
            labels={label: "1"} if label else {},
            arguments=arguments or {},
            say=say,
        )
        return tag

    yield run
    if image_id_of(client, tag):
        client.images.remove(tag, force=True)


def test_a_build_tells_its_lines_while_it_runs(build_file, base_id):
    told = []
    text = f"FROM {base_id}\nRUN echo first; sleep 2; echo second\n"
    build_file(text, say=lambda line: told.append((line, time.monotonic())))
    times = {line: at for line, at in told if line in ("first", "second")}
    assert times["second"] - times["first"] > 1


def test_a_failing_build_carries_its_last_lines(build_file, base_id):
    text = f"FROM {base_id}\nRUN seq 1 50; echo the reason; exit 3\n"
    with pytest.raises(ImageBuildError) as caught:
        build_file(text)
    assert caught.value.exit_code == ExitCode.IMAGE_BUILD
    message = str(caught.value)
    assert "returned a non-zero code: 3" in message.splitlines()[0]
    assert message.splitlines()[-1].strip() == "the reason"
    assert "  50" in message.splitlines()
    assert "  1" not in message.splitlines()


@pytest.mark.parametrize("text", ["FORM nothing\n", "", "FROM ${UNSET}\n"])
def test_a_file_that_cannot_be_parsed_is_a_build_error(build_file, text):
    with pytest.raises(ImageBuildError, match="a/Dockerfile"):
        build_file(text)


def test_an_interrupted_build_leaves_no_container(client, base_id, tmp_path):
    text = f"FROM {base_id}\nLABEL interrupted={tmp_path.name}\nRUN echo begun; sleep 300\n"
    code = (
        "import signal\n"
        "from dsgen.errors import StopRequested\n"
        "from harness.engine.build import build\n"
        "from harness.engine.client import connect\n"
        "def stop(number, frame): raise StopRequested(number)\n"
        "def say(line): print(line, flush=True)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"build(connect(), files={{'Dockerfile': {text.encode()!r}}}, path='Dockerfile',\n"
        "      arguments={}, tag='feedrate-test:interrupted', labels={}, say=say)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert any(line.strip() == "begun" for line in child.stdout)
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=20)
    filters = {"label": f"interrupted={tmp_path.name}"}
    wait_until(
        lambda: not client.containers.list(all=True, filters=filters, ignore_removed=True),
        "the build ended with its caller",
        pause_s=0.2,
    )
    assert image_id_of(client, "feedrate-test:interrupted") is None
    for image in client.images.list(filters=filters):
        client.images.remove(image.id)


def test_what_is_there_is_not_built_again(client, engine, base_id):
    said = []
    image = build_image(client, "cpu", base_id, said.append)
    assert image.tag == engine.facts()["image"]
    assert said == [f"image   {image.tag}: ready"]


def test_the_address_of_the_index_is_not_in_the_image(client, engine):
    history = client.images.get(engine.facts()["image"]).history()
    assert not [step for step in history if "PIP_" in (step["CreatedBy"] or "")]
    environment = client.images.get(engine.facts()["image"]).attrs["Config"]["Env"]
    assert not [pair for pair in environment if "pip" in pair.lower() or "proxy" in pair.lower()]


def test_the_image_has_neither_the_certificates_nor_the_requirements_of_its_build(engine, job):
    code = "import os; print(os.path.exists('/tmp/build'))"
    seen = []
    engine.run(job(code), seen.append)
    assert seen == ["False"]


def root_archive(path):
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("./etc/hostname")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"found"))
    return path


@pytest.fixture
def no_base(client, monkeypatch):
    """Another name for the base image, so that the real one is not touched."""
    suite = f"test-{secrets.token_hex(4)}"
    tag = f"feedrate-base:{suite}"
    for name, value in (("SUITE", suite), ("BASE_TAG", tag)):
        monkeypatch.setattr(f"harness.engine.base_image.{name}", value)
    yield tag
    if image_id_of(client, tag):
        remove(client, tag)


def remove(client, *tags):
    for tag in tags:
        client.images.remove(tag, force=True)


def test_a_root_directory_as_archive_becomes_the_base(client, no_base, tmp_path):
    made = ensure_base_image(client, root_archive(tmp_path / "root.tar"), print)
    image = client.images.get(no_base)
    assert image.id == made
    assert image.labels == labels("base")


def test_a_saved_image_as_archive_becomes_the_base_with_our_labels(client, no_base, tmp_path):
    theirs = f"their-image:{secrets.token_hex(4)}"
    with root_archive(tmp_path / "root.tar").open("rb") as stream:
        client.api.import_image(stream, *theirs.split(":"))
    archive = tmp_path / "saved.tar"
    archive.write_bytes(b"".join(client.images.get(theirs).save(named=True)))
    remove(client, theirs)
    ensure_base_image(client, archive, print)
    assert client.images.get(no_base).labels == labels("base")
    assert image_id_of(client, theirs) is None, "a name that only the archive brought is left"


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 1000])
def test_an_archive_that_is_none_is_refused(client, no_base, tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="file"):
        ensure_base_image(client, path, print)
    assert image_id_of(client, no_base) is None


def test_clean_removes_what_is_labelled_and_nothing_else(client, base_id):
    label = f"feedrate-clean-{secrets.token_hex(4)}"
    context = f"FROM {base_id}\nRUN head -c 5000000 /dev/urandom > /five\n".encode()
    ours, derived = f"feedrate-test:{label}", f"their-image:{label}"
    for tag, text, marks in (
        (ours, context, {label: "1"}),
        (derived, f"FROM {base_id}\nRUN echo theirs > /theirs\n".encode(), {label: "1"}),
        (f"feedrate-test:{label}-other", context + b"RUN echo > /other\n", {}),
    ):
        build(
            client, files={"Dockerfile": text}, path="Dockerfile", tag=tag, labels=marks,
            arguments={}, say=print,
        )  # fmt: skip
    running = client.containers.run(ours, ["sleep", "60"], detach=True, labels={label: "1"})
    other = client.containers.create(base_id, ["true"])
    said = []
    cleaned = clean(client, base=False, say=said.append, label=label)
    assert cleaned.containers == (running.name,)
    assert cleaned.images == (ours,)
    assert f"removed image {ours}" in said
    assert image_id_of(client, ours) is None
    assert image_id_of(client, derived), "an image that others named is not ours"
    assert image_id_of(client, f"feedrate-test:{label}-other"), "an image without our label"
    assert image_id_of(client, BASE_TAG) == base_id
    assert client.containers.get(other.id)
    other.remove()
    # The five megabytes live on in the image without our label; with it they go.
    remove(client, derived)
    before = client.df()["LayersSize"]
    remove(client, f"feedrate-test:{label}-other")
    assert before - client.df()["LayersSize"] >= 5_000_000


def test_clean_says_how_many_bytes_it_freed(client, base_id):
    label = f"feedrate-clean-{secrets.token_hex(4)}"
    text = f"FROM {base_id}\nRUN head -c 7000000 /dev/urandom > /seven\n".encode()
    build(
        client, files={"Dockerfile": text}, path="Dockerfile", tag=f"feedrate-test:{label}",
        labels={label: "1"}, arguments={}, say=print,
    )  # fmt: skip
    said = []
    cleaned = clean(client, base=False, say=said.append, label=label)
    assert 7_000_000 <= cleaned.freed_bytes < 9_000_000
    assert said[-1].startswith("removed 0 containers and 1 images: 7")


def test_a_bootstrap_by_someone_else_than_root_is_not_tried(client, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert _bootstrap(client, print) == "it needs root"


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_bootstrap_leaves_no_process_and_no_mount(number):
    """After SIGTERM its directory is gone too; after SIGKILL nobody is left to remove it."""
    code = (
        "import signal\n"
        "from dsgen.errors import StopRequested\n"
        "from harness.engine.base_image import _bootstrap\n"
        "from harness.engine.client import connect\n"
        "def stop(number, frame): raise StopRequested(number)\n"
        "def say(line): print(line, flush=True)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "_bootstrap(connect(), say)\n"
    )
    before = set(Path("/var/tmp").glob("feedrate-base-*"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert any("Retrieving" in line for line in child.stdout)
        (directory,) = set(Path("/var/tmp").glob("feedrate-base-*")) - before
        child.send_signal(number)
        child.wait(timeout=20)
    wait_until(lambda: not processes_of(directory), "every process ended", timeout_s=5, pause_s=0.1)
    assert str(directory) not in Path("/proc/self/mounts").read_text()
    assert directory.exists() == (number == signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)


def processes_of(directory):
    """Return the command lines that name the directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [words] if str(directory) in words else []
    return found


def test_the_directory_of_a_bootstrap_goes_even_when_interrupted():
    def interrupted(directory):
        (directory / "root" / "etc").mkdir(parents=True)
        seen.append(directory)
        raise StopRequested(signal.SIGTERM)

    seen = []
    with pytest.raises(StopRequested), _temporary_directory() as directory:
        interrupted(directory)
    assert not seen[0].exists()


def test_clean_keeps_the_base_image_unless_asked(client, tmp_path, monkeypatch):
    label = f"feedrate-clean-{secrets.token_hex(4)}"
    tag = f"feedrate-base:{label}"
    monkeypatch.setattr("harness.engine.clean.BASE_TAG", tag)
    with root_archive(tmp_path / "root.tar").open("rb") as stream:
        client.api.import_image(stream, *tag.split(":"), changes=[f"LABEL {label}=1"])
    build(
        client, files={"Dockerfile": f"FROM {tag}\nENV A=1\n".encode()}, path="Dockerfile",
        tag=f"feedrate-test:{label}", labels={label: "1"}, arguments={}, say=print,
    )  # fmt: skip
    assert clean(client, base=False, say=print, label=label).images == (f"feedrate-test:{label}",)
    assert image_id_of(client, tag)
    assert clean(client, base=True, say=print, label=label).images == (tag,)
    assert image_id_of(client, tag) is None
