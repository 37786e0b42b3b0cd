"""What changes an image's tag and what does not, and what goes into its context."""

import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.images import (
    ca_bundle_file,
    content_hash,
    context_archive,
    context_files,
    image_tag,
    transport_arguments,
)
from harness.errors import ImageBuildError

FILES = st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=32), min_size=1)
ARGUMENTS = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8))


@given(files=FILES, arguments=ARGUMENTS, data=st.data())
def test_the_order_of_files_does_not_matter(files, arguments, data):
    shuffled = data.draw(st.permutations(list(files.items())))
    assert content_hash(shuffled, arguments) == content_hash(files.items(), arguments)


@given(files=FILES, arguments=ARGUMENTS, data=st.data())
def test_any_changed_byte_changes_the_tag(files, arguments, data):
    path = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[path] or b"\0")
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    changed = {**files, path: bytes(content)}
    assert image_tag("cpu", changed, arguments) != image_tag("cpu", files, arguments)


@given(files=FILES, arguments=ARGUMENTS)
def test_a_path_or_an_argument_changes_the_tag(files, arguments):
    tag = content_hash(files.items(), arguments)
    path, content = next(iter(files.items()))
    renamed = {**files, f"{path}/moved/far": content}
    renamed.pop(path)
    assert content_hash(renamed.items(), arguments) != tag
    assert content_hash(files.items(), {**arguments, "BASE of another": "1"}) != tag


def test_bytes_cannot_move_between_files_and_arguments():
    assert content_hash([("a", b"bc")], {}) != content_hash([("ab", b"c")], {})
    assert content_hash([("a", b"b"), ("c", b"")], {}) != content_hash(
        [("a", b""), ("c", b"b")], {}
    )
    assert content_hash([("a", b"b")], {}) != content_hash([], {"a": "b"})


def test_the_tag_is_a_name_and_sixteen_digits():
    name, digits = image_tag("gpu", {"a": b""}, {}).split(":")
    assert name == "feedrate-gpu"
    assert len(digits) == 16
    assert int(digits, 16) >= 0


@pytest.mark.parametrize("flavour", ["cpu", "gpu"])
def test_the_context_holds_what_runs_in_an_image_and_nothing_else(flavour):
    files = context_files(flavour)
    assert {f"docker/{flavour}.Dockerfile", "harness/__init__.py", "dsgen/seed.py"} <= set(files)
    assert f"docker/requirements-{flavour}.txt" in files
    tops = {
        path.split("/")[0] if path.count("/") == 1 else path.rsplit("/", 1)[0] for path in files
    }
    assert not {"harness/engine", "harness/report", "tests", ".git"} & tops
    assert not [path for path in files if "__pycache__" in path or path.endswith(".pyc")]


def test_every_requirement_is_pinned_with_hashes_and_names_no_host():
    for flavour in ("cpu", "gpu"):
        lines = context_files(flavour)[f"docker/requirements-{flavour}.txt"].decode().splitlines()
        pins = [i for i, line in enumerate(lines) if "==" in line]
        assert len(pins) > 10
        assert all(lines[i + 1].strip().startswith("--hash=sha256:") for i in pins)
        assert not [line for line in lines if "://" in line or line.startswith("--")]


def test_the_images_differ_in_nothing_but_their_requirements():
    cpu, gpu = (context_files(f)[f"docker/{f}.Dockerfile"].decode() for f in ("cpu", "gpu"))
    body = cpu.replace("requirements-cpu", "requirements-gpu").splitlines()[1:]
    assert body == gpu.splitlines()[1:]


def test_the_archive_holds_the_files_and_nothing_of_the_host():
    files = {"b/c": b"two", "a": b"one"}
    with tarfile.open(fileobj=context_archive(files)) as archive:
        members = archive.getmembers()
        assert {m.name: archive.extractfile(m).read() for m in members} == files
    assert {(m.uid, m.gid, m.mtime, m.mode) for m in members} == {(0, 0, 0, 0o644)}
    assert context_archive(files).read() == context_archive(dict(reversed(files.items()))).read()


def test_an_installation_without_the_docker_folder_says_so(tmp_path):
    with pytest.raises(ImageBuildError, match=r"cpu\.Dockerfile.*checkout"):
        context_files("cpu", tmp_path)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_hosts_certificates_go_along_and_their_absence_is_an_empty_file(tmp_path, variable):
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"certificate")
    assert ca_bundle_file({variable: str(bundle)}) == {"ca-bundle.pem": b"certificate"}
    assert ca_bundle_file({}) == {"ca-bundle.pem": b""}
    with pytest.raises(ImageBuildError, match=variable):
        ca_bundle_file({variable: str(tmp_path / "absent")})


def test_only_the_settings_of_the_way_to_packages_are_passed_on():
    environment = {
        "https_proxy": "http://proxy",
        "NO_PROXY": "localhost",
        "PIP_INDEX_URL": "https://index",
        "PIP_FIND_LINKS": "/somewhere",
        "http_proxy": "",
        "HOME": "/root",
    }
    assert transport_arguments(environment) == {
        "https_proxy": "http://proxy",
        "NO_PROXY": "localhost",
        "PIP_INDEX_URL": "https://index",
    }


def test_what_is_passed_on_is_declared_in_the_stage_that_installs():
    text = (Path(__file__).parents[2] / "docker/cpu.Dockerfile").read_text()
    stage, _, final = text.partition("FROM ${BASE}\n")
    names = transport_arguments(dict.fromkeys(["PIP_DEFAULT_TIMEOUT", "PIP_INDEX_URL"], "x"))
    for name in names:
        assert f"ARG {name}\n" in stage
        assert name not in final
