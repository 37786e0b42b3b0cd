"""Jobs in real containers: what comes out, what is kept in, and that nothing is left."""

import json
import os
import signal
import threading
import time

import pytest

from harness.engine import Mount
from harness.engine.client import connect
from harness.engine.docker import DockerEngine
from harness.errors import DeviceError, EngineError, ExitCode, StopRequested
from harness.target import inspect_target
from tests.container.relay import Relay

pytestmark = pytest.mark.engine

HEED = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
SLEEP = "import time; print('asleep', flush=True); time.sleep(600)"


def nothing(_line):
    pass


def stopping(number=signal.SIGTERM):
    """Return an on_line that stops at the first line, as a signal handler would, and its lines."""
    seen = []

    def on_line(line):
        seen.append(line)
        if len(seen) == 1:
            raise StopRequested(number)

    return on_line, seen


def test_a_job_writes_files_as_the_caller_and_nothing_is_left(engine, job, tmp_path, containers):
    target = tmp_path / "data" / "out"
    code = f"import os; open({str(target)!r}, 'w').write(f'{{os.getuid()}}:{{os.getgid()}}')"
    assert engine.run(job(code), nothing).code == 0
    assert target.read_text() == f"{os.getuid()}:{os.getgid()}"
    assert (target.stat().st_uid, target.stat().st_gid) == (os.getuid(), os.getgid())
    assert containers() == []


@pytest.mark.parametrize("code", [0, 1, 6, 130])
def test_the_exit_code_passes_through(engine, job, code):
    ended = engine.run(job(f"import sys; sys.exit({code})"), nothing)
    assert (ended.code, ended.out_of_memory, ended.timed_out) == (code, False, False)


def test_every_line_arrives_in_order_and_errors_go_to_the_log(engine, job):
    code = (
        "import sys\nfor i in range(20000): print(i, 'x' * (i % 300))\n"
        "for i in range(30): print('complaint', i, file=sys.stderr)\nprint('the end', end='')"
    )
    seen = []
    wanted = job(code)
    ended = engine.run(wanted, seen.append)
    assert seen == [*(f"{i} {'x' * (i % 300)}" for i in range(20000)), "the end"]
    assert wanted.log.read_text().splitlines() == [f"complaint {i}" for i in range(30)]
    assert ended.tail == tuple(f"complaint {i}" for i in range(10, 30))


def test_a_mount_to_be_read_refuses_writes(engine, job, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "sample").write_text("kept")
    code = (
        f"import errno\nassert open({str(data / 'sample')!r}).read() == 'kept'\n"
        f"try: open({str(data / 'sample')!r}, 'w')\n"
        "except OSError as error: raise SystemExit(error.errno)"
    )
    ended = engine.run(job(code, mounts=(Mount(path=data, read_only=True),)), nothing)
    assert ended.code == 30  # EROFS
    assert (data / "sample").read_text() == "kept"


def test_there_is_no_network(engine, job):
    code = (
        "import json, pathlib, socket\n"
        "up = [line.split()[0] for line in open('/proc/net/route').readlines()[1:]]\n"
        "names = [name for _, name in socket.if_nameindex()]\n"
        "print(json.dumps([up, names]), flush=True)\n"
        "socket.create_connection(('192.0.2.1', 9), timeout=5)"
    )
    seen = []
    ended = engine.run(job(code), seen.append)
    routes, interfaces = json.loads(seen[0])
    assert routes == []
    assert "lo" in interfaces
    assert "eth0" not in interfaces
    assert "Network is unreachable" in ended.tail[-1]


def test_no_privileges_and_a_home_that_can_be_written(engine, job):
    code = (
        "import os, re\nstatus = open('/proc/self/status').read()\n"
        "for name in ('CapBnd', 'NoNewPrivs'): print(re.search(name + r':\\s+(\\w+)', status)[1])\n"
        "print(os.environ['HOME']); open(os.path.expanduser('~/written'), 'w')"
    )
    seen = []
    assert engine.run(job(code), seen.append).code == 0
    assert seen == ["0000000000000000", "1", "/tmp"]


def test_the_image_runs_both_commands_of_the_product(engine, job):
    for module, wanted in (("dsgen", ExitCode.DONE), ("harness.worker", ExitCode.USAGE)):
        words = ("--help",) if module == "dsgen" else ()
        ended = engine.run(job("", arguments=("-m", module, *words)), nothing)
        assert ended.code == wanted, ended.tail
    assert engine.run(job("import tensorflow"), nothing).code == 0


def test_shared_memory_is_of_the_size_asked_for(engine, job):
    code = "import os; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize)"
    seen = []
    engine.run(job(code, shm_bytes=192 << 20), seen.append)
    assert seen == [str(192 << 20)]


def test_ranks_find_the_memory_limit_of_their_container_in_force(engine, job):
    code = (
        "from harness.worker.host.cgroup import own_limits\n"
        "from harness.worker.memory import check_limit\n"
        "limits = own_limits(); check_limit(300_000_000, limits); print(limits.memory_bytes)"
    )
    seen = []
    assert engine.run(job(code, memory_bytes=300_000_000), seen.append).code == 0
    assert 299_900_000 <= int(seen[0]) <= 300_000_000  # in whole pages


@pytest.mark.parametrize("who", ["the command", "a child"])
def test_memory_beyond_the_limit_is_told(engine, job, who):
    greed = "x = bytearray(300 << 20)"
    if who == "a child":
        greed = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {greed!r}])"
    ended = engine.run(job(greed, memory_bytes=64 << 20), nothing)
    assert ended.out_of_memory
    assert ended.code == (137 if who == "the command" else 0)


def test_a_time_limit_stops_the_job(engine, job, containers):
    started = time.monotonic()
    ended = engine.run(job(HEED + SLEEP, timeout_s=1.5), nothing)
    assert ended.timed_out
    assert ended.code == 7  # it heard SIGTERM and ended by itself
    assert time.monotonic() - started < 8
    assert containers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_lets_the_job_say_its_last_words_and_leaves_nothing(
    engine, job, containers, tmp_path, number
):
    last = tmp_path / "data" / "last"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        f"    open({str(last)!r}, 'w').write('all'); print('last words', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
    )
    on_line, seen = stopping(number)
    with pytest.raises(StopRequested) as caught:
        engine.run(job(code), on_line)
    assert caught.value.exit_code == 128 + number
    assert seen == ["ready", "last words"]
    assert last.read_text() == "all"
    assert containers() == []


def test_a_stop_ends_a_job_that_ignores_it(engine, job, containers, monkeypatch):
    monkeypatch.setattr("harness.engine.supervise.GRACE_S", 1.0)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEP
    on_line, _ = stopping()
    started = time.monotonic()
    with pytest.raises(StopRequested):
        engine.run(job(deaf), on_line)
    assert time.monotonic() - started < 8
    assert containers() == []


def test_an_error_of_the_listener_leaves_nothing(engine, job, containers):
    def on_line(_line):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        engine.run(job(SLEEP), on_line)
    assert containers() == []


def test_signals_at_any_moment_leave_nothing(engine, job, containers):
    """A real signal, earlier and later: before, in and after creation, start and removal."""

    def handler(number, _frame):
        raise StopRequested(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        for delay_s in (0.005, 0.01, 0.03, 0.06, 0.1, 0.2, 0.35, 0.5):
            timer = threading.Timer(
                delay_s, signal.pthread_kill, (threading.main_thread().ident, signal.SIGTERM)
            )
            timer.start()
            with pytest.raises(StopRequested):
                engine.run(job(HEED + SLEEP), nothing)
            timer.join()
            assert containers() == [], f"stopped after {delay_s} s"
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_lost_daemon_is_one_clear_error(job, run_id, tmp_path, monkeypatch, client):
    """A relay to the real daemon is cut in the middle of the run."""
    with Relay(tmp_path / "relay.sock") as relay:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{relay.path}")
        remote = DockerEngine(connect(), reason="test", run_id=run_id)
        remote.prepare(nothing)
        with pytest.raises(EngineError) as caught:
            remote.run(job(SLEEP), lambda _line: relay.cut())
        assert relay.is_cut, caught.value
    assert caught.value.exit_code == ExitCode.ENGINE
    assert "was lost" in str(caught.value)
    assert "\n" not in str(caught.value)
    # What a result says of the engine is known without it.
    assert remote.facts()["version"] == client.version()["Version"]
    # The real daemon still has the container, which carries our labels.
    # Its first line may be read before the daemon says that it runs.
    (left,) = client.containers.list(all=True, filters={"label": f"feedrate.run={run_id}"})
    left.remove(force=True)


def test_lost_output_is_an_error_although_the_daemon_answers(
    job, run_id, tmp_path, monkeypatch, containers
):
    monkeypatch.setattr("harness.engine.docker.ENDING_S", 1.0)
    with Relay(tmp_path / "relay.sock") as relay:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{relay.path}")
        remote = DockerEngine(connect(), reason="test", run_id=run_id)
        remote.prepare(nothing)
        started = time.monotonic()
        with pytest.raises(EngineError, match="could not hand on the output"):
            remote.run(job(SLEEP), lambda _line: relay.drop())
    assert time.monotonic() - started < 30
    assert containers() == []


def test_output_that_broke_off_is_whole_once_the_job_has_ended(job, run_id, tmp_path, monkeypatch):
    code = (
        "import sys, time; time.sleep(1); print('one', flush=True); time.sleep(2)\n"
        "print('two'); print('three', end=''); print('complaint', file=sys.stderr)"
    )
    seen = []
    with Relay(tmp_path / "relay.sock") as relay:

        def on_line(line):
            seen.append(line)
            if len(seen) == 1:
                relay.drop()

        monkeypatch.setenv("DOCKER_HOST", f"unix://{relay.path}")
        remote = DockerEngine(connect(), reason="test", run_id=run_id)
        remote.prepare(nothing)
        ended = remote.run(job(code), on_line)
    assert (ended.code, ended.tail) == (0, ("complaint",))
    assert seen == ["one", "two", "three"]


def test_gpus_without_a_driver_are_a_device_error(client, engine, job, run_id, containers):
    if "nvidia" in client.info()["Runtimes"]:
        pytest.fail("this test is for machines without the GPU runtime; leave it out here")
    gpu = DockerEngine(client, reason="test", flavour="gpu", run_id=run_id)
    gpu._image = engine._image
    with pytest.raises(DeviceError, match="device driver") as caught:
        gpu.run(job("pass"), nothing)
    assert caught.value.exit_code == ExitCode.DEVICE
    assert containers() == []


def test_objects_carry_the_labels_by_which_they_are_found(engine, job, client, run_id):
    found = []

    def on_line(_line):
        filters = {"label": ["feedrate=1", f"feedrate.run={run_id}"]}
        found.extend(client.containers.list(filters=filters))
        raise StopRequested(signal.SIGTERM)

    with pytest.raises(StopRequested):
        engine.run(job(HEED + SLEEP, name="label-test"), on_line)
    (container,) = found
    assert container.labels["feedrate.kind"] == "job"
    assert container.labels["feedrate.job"] == "label-test"
    image = client.images.get(engine.facts()["image"])
    assert (image.labels["feedrate"], image.labels["feedrate.kind"]) == ("1", "image")


def test_a_prepared_engine_finds_its_image_again(engine):
    said = []
    engine.prepare(said.append)
    assert said == [f"image   {engine.facts()['image']}: ready"]


@pytest.mark.disk
def test_a_device_is_read_no_faster_than_its_limit(engine, job, tmp_path):
    device = inspect_target(tmp_path).device
    file = tmp_path / "data" / "file"
    code = (
        "import os, time\n"
        f"file = os.open({str(file)!r}, os.O_RDWR | os.O_CREAT)\n"
        "os.write(file, os.urandom(16_000_000))\nos.fsync(file)\n"
        "os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)\nos.lseek(file, 0, os.SEEK_SET)\n"
        "start = time.monotonic()\nwhile os.read(file, 1 << 20):\n    pass\n"
        "print(time.monotonic() - start)"
    )
    seen = []
    assert engine.run(job(code, read_limits={device: 8_000_000}), seen.append).code == 0
    assert float(seen[0]) > 1.5
