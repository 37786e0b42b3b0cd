"""Which engine runs the jobs, and why: every lack has its own sentence."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.engine.choose import choose_engine
from harness.engine.client import check_api, connect
from harness.errors import EngineError, ExitCode

ROOT = Path(__file__).parents[2]


def auto(monkeypatch, host):
    monkeypatch.setenv("DOCKER_HOST", host)
    return choose_engine("auto")


def test_local_is_asked_for_without_a_look_at_any_daemon(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    engine = choose_engine("local")
    assert (engine.name, engine.reason) == ("local", "asked for")


def test_without_a_socket_auto_is_local_and_says_why(monkeypatch, tmp_path):
    engine = auto(monkeypatch, f"unix://{tmp_path}/absent.sock")
    assert engine.name == "local"
    assert "no Docker daemon listens" in engine.reason
    assert "absent.sock" in engine.reason


def test_without_a_socket_docker_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    with pytest.raises(EngineError, match="no Docker daemon listens") as caught:
        choose_engine("docker")
    assert caught.value.exit_code == ExitCode.ENGINE


def test_a_socket_that_nobody_serves_is_told(monkeypatch, tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    assert "refused" in auto(monkeypatch, f"unix://{tmp_path}/dead.sock").reason


def test_a_daemon_of_another_machine_is_not_used(monkeypatch):
    engine = auto(monkeypatch, "tcp://192.0.2.1:2375")
    assert engine.name == "local"
    assert "not one of this machine's" in engine.reason


@pytest.mark.root
def test_a_socket_without_permission_is_told(tmp_path):
    """In a process of another user, for root may speak to every socket."""
    path = tmp_path / "closed.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o600)
        code = (
            "import os, sys\nfrom harness.engine import client\n"
            "import docker, docker.errors, requests.exceptions, docker.client\n"
            "os.setuid(65534)\n"
            "try: client._probe(sys.argv[1])\n"
            "except Exception as error: print(error)"
        )
        for directory in (tmp_path, *tmp_path.parents[:-2]):
            directory.chmod(directory.stat().st_mode | 0o011)
        told = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        ).stdout
    assert told.startswith("no permission to speak to the Docker daemon")


def test_a_silent_daemon_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr("harness.engine.client.ANSWER_TIMEOUT_S", 0.3)
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert "does not answer as it should" in auto(monkeypatch, f"unix://{path}").reason


def test_a_daemon_that_answers_nonsense_is_given_up(monkeypatch, tmp_path):
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer():
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                with caller:
                    if caller.recv(4096):
                        caller.sendall(b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert "does not answer as it should" in auto(monkeypatch, f"unix://{path}").reason
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("version", ["1.41", "1.45", "1.100", "2.0"])
def test_an_api_that_is_new_enough_is_taken(version):
    check_api(version, "unix:///socket")


@pytest.mark.parametrize("version", ["1.40", "1.9", "0.99"])
def test_an_older_api_is_refused_with_both_versions(version):
    with pytest.raises(EngineError) as caught:
        check_api(version, "unix:///socket")
    assert version in str(caught.value)
    assert "1.41" in str(caught.value)


def test_without_the_sdk_the_folder_of_that_name_is_not_taken_for_it():
    """An interpreter without site-packages, in the project's directory: a user without extras."""
    code = (
        "from harness.engine.choose import choose_engine\n"
        "engine = choose_engine('auto')\nprint(engine.name, engine.reason)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    told = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert told.strip() == "local the Python package `docker` is not installed"


@pytest.mark.engine
def test_where_a_daemon_answers_auto_is_docker():
    engine = choose_engine("auto")
    assert (engine.name, engine.reason) == ("docker", "a Docker daemon answers")
    assert connect().ping()
