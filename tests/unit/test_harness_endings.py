"""Whatever ends a run from outside: a result stands, an exit code says what it was."""

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from dsgen.choices import Wanted
from dsgen.signals import STOPPING
from dsgen.workloads import plan
from dsgen.write import generate
from harness.commands import main
from tests.unit.test_harness_refusals import ROOT, flags, results


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return what `--data` names: a small data set is there."""
    root = tmp_path_factory.mktemp("endings") / "data"
    layout = plan("imseg", size_bytes=500_000_000, seed=1, wanted=Wanted(law="small"))
    generate(layout, root / "imseg-npy-500MB-small-s1", processes=2, emit=lambda _: None)
    return root


@pytest.fixture
def words(tmp_path, data):
    """Return the words that train, with results below tmp_path, and more added."""

    def make(*more, verb="train"):
        return [verb, "imseg", *flags(tmp_path, "--data", data, *more)]

    return make


def popen(words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *map(str, words)],
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )


def hangup(action):
    """Return what a child does first, whatever this process was started with."""
    return lambda: signal.signal(signal.SIGHUP, action)


@contextmanager
def training(words, action=signal.SIG_DFL):
    """Start a training, and go on once it has begun."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with popen(words, **pipes, preexec_fn=hangup(action)) as child:
        try:
            assert any(line.startswith("train epoch") for line in child.stderr)
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("number", STOPPING)
def test_a_stopped_training_leaves_an_interrupted_result(number, words, tmp_path):
    with training(words("--epochs", 1000)) as child:
        child.send_signal(number)
        said, told = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    (path,) = results(tmp_path)
    assert told.splitlines()[-1] == f"stopped; the interrupted result is {path}"
    assert "the same command continues" not in told
    assert said == f"{path}\n"
    result = json.loads(path.read_text())
    assert result["status"] == "interrupted"
    assert result["exit_code"] == 128 + number


def test_under_nohup_a_training_goes_on_when_the_terminal_goes(words, tmp_path):
    with training(words("--epochs", 2), signal.SIG_IGN) as child:
        child.send_signal(signal.SIGHUP)
        child.communicate(timeout=60)
    assert child.returncode == 0
    (path,) = results(tmp_path)
    assert json.loads(path.read_text())["status"] == "ok"


def test_every_exit_code_of_a_signal_is_listed():
    from dsgen.command import exit_codes

    for number in STOPPING:
        assert f"  {128 + number} " in exit_codes()
        assert number.name in exit_codes()


def shell(words, redirection, cwd):
    """Run the harness in a shell; return the exit code of the harness and what reached stderr."""
    command = shlex.join([sys.executable, "-m", "harness", *map(str, words)])
    script = f"{{ {command}; echo $? >code; }} {redirection}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        script, shell=True, cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    return int((cwd / "code").read_text()), done.stderr


@pytest.mark.parametrize(
    ("flag", "redirection", "code"),
    [
        ("--json", "| head -1", 0),
        ("--json", "| true", 0),
        ("--epochs=1", "| true", 0),
        ("--epochs=1", "2>&1 >here | head -1", 0),
        ("--epochs=1", "2>&1 >here | true", 0),
        ("--json", ">/dev/full", 7),
        ("--epochs=1", ">/dev/full", 7),
        ("--epochs=1", ">here 2>/dev/full", 0),
        ("--epochs=1", "2>&-", 0),
        ("--epochs=1", ">&-", 0),
        ("--json", ">&- 2>&-", 0),
        ("--require-au=1", "| true", 20),
        ("--require-au=1", ">/dev/full", 20),
    ],
)
def test_a_run_whose_output_nobody_takes_is_not_lost(flag, redirection, code, words, tmp_path):
    returned, said = shell(words(flag), redirection, tmp_path)
    assert returned == code
    assert "Traceback" not in said
    assert "Exception" not in said
    (path,) = results(tmp_path)
    result = json.loads(path.read_text())
    assert result["status"] == "ok"
    if code == 7:
        assert "No space left on device" in said.splitlines()[-1]
        assert str(path) in said.splitlines()[-1]
    if "here" in redirection:
        assert (tmp_path / "here").read_text() == f"{path}\n"


@pytest.mark.parametrize("flag", ["--json", "--cache=cold"])
@pytest.mark.parametrize(
    "redirection", ["| true", "2>&1 | true", ">/dev/full", "2>/dev/full", "2>&-", ">&-", ">&- 2>&-"]
)
def test_a_failure_that_nobody_reads_has_its_exit_code(flag, redirection, words, tmp_path):
    returned, said = shell(words("--data", tmp_path / "none", flag), redirection, tmp_path)
    assert returned == 6
    assert "Traceback" not in said
    assert "Exception" not in said


def heard(words):
    """Return the exit code and the events of a command that takes --json."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with popen([*words, "--json"], **pipes) as child:
        said, _ = child.communicate(timeout=60)
    return child.returncode, [json.loads(line) for line in said.splitlines()]


def test_with_json_all_of_standard_output_is_events(words, tmp_path):
    code, events = heard(words("--require-au", 1))
    (path,) = results(tmp_path)
    assert code == 20
    assert events[-1] == {"kind": "result", "path": str(path), "exit_code": 20}
    notices = [event["text"] for event in events if event["kind"] == "notice"]
    assert notices[0].startswith("target  ")
    assert notices[-1] == json.loads(path.read_text())["verdict"]["sentence"]
    assert "train" in {event["kind"] for event in events}


def test_with_json_a_data_set_is_an_event(words, data):
    code, events = heard(words(verb="generate"))
    assert code == 0
    assert events[-1] == {"kind": "data_set", "path": str(data / "imseg-npy-500MB-small-s1")}


def test_with_json_a_plan_is_notices(words):
    code, events = heard(words("--dry-run"))
    assert code == 0
    assert {event["kind"] for event in events} == {"notice"}
    assert any("6 training and 2 evaluation samples" in event["text"] for event in events)


def test_with_json_a_failure_is_the_last_event(words, tmp_path):
    code, events = heard(words("--data", tmp_path / "none"))
    assert code == 6
    assert events[-1]["kind"] == "error"
    assert events[-1]["exit_code"] == 6


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("train", "stopped before the training began"),
        ("generate", "stopped; the same command continues"),
        ("benchmark", "stopped; the same command continues"),
    ],
)
def test_what_continues_is_said_to_and_nothing_else(verb, told, words, monkeypatch, capsys):
    def stop(*_, **_more):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("harness.commands.choose_engine", stop)
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        code = main([str(word) for word in words(verb=verb)])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert code == 143
    assert capsys.readouterr().err.splitlines()[-1] == told
