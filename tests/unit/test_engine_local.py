"""Jobs as plain processes: the same promises as containers, as far as processes can keep them."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsgen import events
from dsgen.errors import ExitCode
from dsgen.events import event_line
from harness.engine import Job, Mount
from harness.engine.local import LocalEngine
from harness.errors import ConfigError, JobError, StopRequested, TargetError
from harness.job import check_exit
from harness.progress import Progress

ENGINE = LocalEngine(reason="test")
# Starts a child that would live on, and tells the ids of both.
FAMILY = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(os.getpid(), child.pid, flush=True)\n"
)


@pytest.fixture
def job(tmp_path):
    def make(code, **changes):
        values = {
            "name": "test",
            "arguments": ("-c", code),
            "mounts": (Mount(path=tmp_path / "data"),),
            "log": tmp_path / "log" / "test.log",
        }
        return Job(**{**values, **changes})

    return make


def is_alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def all_gone(pids, within_s=5.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(is_alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def nothing(_line):
    pass


@pytest.mark.parametrize("code", [0, 1, 6, 130])
def test_the_exit_code_passes_through(job, code):
    ended = ENGINE.run(job(f"import sys; sys.exit({code})"), nothing)
    assert (ended.code, ended.out_of_memory, ended.timed_out) == (code, False, False)


def test_a_command_killed_by_a_signal_ends_as_in_a_container(job):
    assert ENGINE.run(job("import os; os.kill(os.getpid(), 9)"), nothing).code == 137


def test_every_line_arrives_in_order_and_errors_go_to_the_log(job):
    code = (
        "import sys\nfor i in range(20000): print(i)\n"
        "for i in range(30): print('complaint', i, file=sys.stderr)\nprint('the end', end='')"
    )
    seen = []
    wanted = job(code)
    ended = ENGINE.run(wanted, seen.append)
    assert seen == [*map(str, range(20000)), "the end"]
    assert wanted.log.read_text().splitlines() == [f"complaint {i}" for i in range(30)]
    assert ended.tail == tuple(f"complaint {i}" for i in range(10, 30))


def test_the_products_own_modules_run_from_anywhere(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module, code in (("dsgen", 0), ("harness.worker", 2)):
        words = ("--help",) if module == "dsgen" else ()
        ended = ENGINE.run(job("", arguments=("-m", module, *words)), nothing)
        assert ended.code == code, ended.tail


def test_directories_are_made_and_the_environment_is_passed_on(job, tmp_path):
    seen = []
    wanted = job("import os; print(os.environ['WORD'])", environment={"WORD": "passed on"})
    ENGINE.run(wanted, seen.append)
    assert seen == ["passed on"]
    assert (tmp_path / "data").is_dir()


def test_a_memory_limit_is_refused(job):
    with pytest.raises(ConfigError, match="memory limit"):
        ENGINE.run(job("pass", memory_bytes=1 << 30), nothing)
    with pytest.raises(ConfigError, match="read limit"):
        ENGINE.run(job("pass", read_limits={"/dev/vda": 10**8}), nothing)


def test_a_log_that_cannot_be_written_ends_the_job(job, tmp_path):
    (tmp_path / "log").touch()
    seen = []
    with pytest.raises(TargetError, match="log"):
        ENGINE.run(job(FAMILY + "time.sleep(600)"), seen.append)
    assert all_gone(int(pid) for line in seen for pid in line.split())


def test_children_do_not_outlive_their_command(job):
    """They hold its output open; it is not waited for."""
    seen = []
    started = time.monotonic()
    assert ENGINE.run(job(FAMILY), seen.append).code == 0
    assert time.monotonic() - started < 5
    assert all_gone([int(pid) for pid in seen[0].split()])


def test_a_time_limit_asks_first(job):
    heed = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    seen = []
    ended = ENGINE.run(job(heed + FAMILY + "time.sleep(600)", timeout_s=1.0), seen.append)
    assert (ended.timed_out, ended.code) == (True, 7)
    assert all_gone([int(pid) for pid in seen[0].split()])


def test_a_time_limit_ends_what_does_not_listen(job, monkeypatch):
    monkeypatch.setattr("harness.engine.supervise.GRACE_S", 0.5)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    seen = []
    ended = ENGINE.run(job(deaf + FAMILY + "time.sleep(600)", timeout_s=1.0), seen.append)
    assert (ended.timed_out, ended.code) == (True, 137)
    assert all_gone([int(pid) for pid in seen[0].split()])


def test_a_job_that_has_said_how_it_failed_and_goes_on_is_ended(job, monkeypatch):
    monkeypatch.setattr("harness.engine.supervise.OVER_S", 0.5)
    line = event_line(events.error(ExitCode.RANK_DIED, "rank 1 died"))
    code = f"import time; print({line!r}, flush=True); time.sleep(600)"
    with Progress(io.StringIO(), is_terminal=False) as progress:
        wanted = job(code, is_over=lambda: progress.last_error is not None)
        started = time.monotonic()
        ended = ENGINE.run(wanted, progress.line)
        assert time.monotonic() - started < 10
        assert (ended.timed_out, ended.code) == (True, 143)
        with pytest.raises(JobError, match=r"^rank 1 died$"):
            check_exit(progress, wanted, ended, wanted.log)


@pytest.mark.parametrize("who", ["command", "child", "guard", "all"])
def test_a_time_limit_does_not_wait_for_what_was_stopped(job, who):
    """The command waits for its child, as the parent of ranks does, and both answer SIGTERM."""
    child = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    parent = (
        "import os, signal, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "def end(*_):\n"
        "    child.terminate()\n"
        "    sys.exit(4 + child.wait(60))\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "child.stdout.readline()\n"
        "print(os.getppid(), os.getpid(), child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    seen = []

    def stop(line):
        seen.append(line)
        guard, command, own = map(int, line.split())
        stopped = {"command": [command], "child": [own], "guard": [guard]}
        for pid in stopped.get(who, [own, command, guard]):
            os.kill(pid, signal.SIGSTOP)
        started.append(time.monotonic())

    started = []
    ended = ENGINE.run(job(parent, timeout_s=4.0), stop)
    assert time.monotonic() - started[0] < 4.0 + 2.0  # far below the grace
    assert (ended.timed_out, ended.code) == (True, 7)
    assert all_gone([int(pid) for pid in seen[0].split()])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_lets_the_job_say_its_last_words_and_leaves_nothing(job, number):
    def on_line(line):
        seen.append(line)
        if len(seen) == 1:
            raise StopRequested(number)

    seen = []
    heed = (
        "import signal, sys\n"
        "def end(*_): print('last words', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
    )
    with pytest.raises(StopRequested):
        ENGINE.run(job(heed + FAMILY + "time.sleep(600)"), on_line)
    assert seen[1:] == ["last words"]
    assert all_gone([int(pid) for pid in seen[0].split()])


def test_only_the_command_hears_the_request_to_end(job):
    """Its children are its own to end, as in a container, where the init passes signals on."""
    child = (
        "import signal, sys, time\n"
        "def end(*_): print('child heard it', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('child ready', flush=True); time.sleep(600)"
    )
    parent = (
        "import signal, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit(0)))\n"
        "time.sleep(600)"
    )
    seen = []
    ENGINE.run(job(parent, timeout_s=1.5), seen.append)
    assert seen == ["child ready"]


def test_nothing_outlives_a_harness_that_is_killed(tmp_path):
    harness = (
        "import pathlib, sys\n"
        "from harness.engine import Job\n"
        "from harness.engine.local import LocalEngine\n"
        f"job = Job(name='test', arguments=('-c', {FAMILY + 'time.sleep(600)'!r}), mounts=(),\n"
        f"          log=pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "LocalEngine(reason='test').run(job, lambda line: print(line, flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", harness], stdout=subprocess.PIPE) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_alive(pid) for pid in pids)
        os.kill(process.pid, signal.SIGKILL)
        assert all_gone(pids)
