"""The log of a build, and the error that names every way to a base image, without a daemon."""

from collections import deque

import pytest

from harness.engine.base_image import no_base_error
from harness.engine.build import build_lines
from harness.errors import ExitCode, ImageBuildError


def test_the_log_is_told_line_by_line_without_the_builders_own():
    chunks = [
        {"stream": "Step 1/2 : FROM x\n"},
        {"stream": " ---> Running in 0123456789ab\n"},
        {"stream": "Removing intermediate container 0123456789ab\n"},
        {"stream": "one\ntwo\n"},
        {"stream": "\n"},
        {"status": "Pulling"},
        {"aux": {"ID": "sha256:0"}},
    ]
    tail = deque(maxlen=2)
    assert list(build_lines(iter(chunks), "Dockerfile", tail)) == [
        *("Step 1/2 : FROM x", "one", "two", "Pulling"),
    ]
    assert list(tail) == ["two", "Pulling"]


def test_an_error_in_the_stream_ends_the_build_with_its_last_lines():
    chunks = [{"stream": "the reason\n"}, {"error": "returned 1"}, {"stream": "never\n"}]
    seen = []
    with pytest.raises(ImageBuildError, match="returned 1") as caught:
        seen.extend(build_lines(iter(chunks), "docker/cpu.Dockerfile", deque(maxlen=20)))
    assert caught.value.exit_code == ExitCode.IMAGE_BUILD
    assert "docker/cpu.Dockerfile" in str(caught.value)
    assert str(caught.value).endswith("the reason")


def test_without_a_base_image_every_way_is_named_with_its_hindrance():
    error = no_base_error({"a local image": "none", "a pull": "no host", "debootstrap": "no root"})
    assert error.exit_code == ExitCode.ENGINE
    for words in ("a local image: none", "a pull: no host", "debootstrap: no root"):
        assert words in str(error)
    assert "--image-archive FILE: not given" in str(error)
