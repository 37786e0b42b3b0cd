"""The ranks in a container, seen by strace: the recorded rows are the calls, and np.load's."""

import os
import re
import secrets
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from harness.engine import Job, Mount
from harness.engine.arguments import container_arguments
from harness.worker.record import Op, Phase
from tests.unit.worker_run import load, load_json, make_data_set, make_spec

pytestmark = pytest.mark.engine

CASES = 20
STRACE = ["strace", "-ff", "-y", "-e", "trace=%file,%desc", "-o"]
NP_LOAD = "import sys, numpy; [numpy.load(path) for path in sys.argv[1:]]"
OPENED = re.compile(r'openat\(AT_FDCWD\S*, "([^"]*\.npy)", .*\) += (\d+)')
CALL = re.compile(r"(\w+)\((\d+)<([^>]*\.npy)>(?:, )?(.*)\) += (-?\d+|0x\w+)")
NAMES = {
    Op.OPEN: "openat",
    Op.READ: "read",
    Op.CLOSE: "close",
    Op.LSEEK: "lseek",
    Op.FSTAT: "newfstatat",
    Op.DUP: "fcntl",
    Op.FCNTL: "fcntl",
    Op.IOCTL: "ioctl",
}


@pytest.fixture
def traced(client, traced_image, tmp_path):
    """Run Python in a container under strace; return the calls on .npy files of each thread."""

    def run(name, *arguments):
        output = tmp_path / name
        output.mkdir()
        job = Job(name=name, arguments=(), mounts=(Mount(path=tmp_path),), log=tmp_path / "log")
        container = client.containers.create(
            **container_arguments(
                job,
                image=traced_image,
                name=f"feedrate-{name}-{secrets.token_hex(4)}",
                labels={},
                user=f"{os.getuid()}:{os.getgid()}",
            )
            | {"command": [*STRACE, f"{output}/log", "python", *arguments]}
        )
        try:
            container.start()
            assert container.wait()["StatusCode"] == 0, container.logs().decode()
        finally:
            container.remove(force=True)
        return {log.name: thread_calls(log) for log in sorted(output.iterdir())}

    return run


def thread_calls(log: Path):
    """Return (call, path, requested, returned, position before) of a thread, in its order."""
    calls, positions = [], defaultdict(int)
    for line in log.read_text(errors="replace").splitlines():
        if found := OPENED.match(line):
            positions[found[1]] = 0
            calls.append(("openat", found[1], None, None, None))
        elif found := CALL.match(line):
            name, _, path, detail, result = found.groups()
            if name == "read":
                asked = int(detail.rsplit(", ", 1)[1])
                calls.append((name, path, asked, int(result), positions[path]))
                positions[path] += int(result)
            elif name == "lseek":
                positions[path] = int(result)
                calls.append((name, path, None, int(result), None))
            else:
                calls.append((name, path, None, None, None))
    return calls


def recorded_calls(rows, files):
    """Return the same of recorded rows."""
    calls = []
    for row in rows:
        name, path = NAMES[Op(int(row["op"]))], files[str(row["file"])]["path"]
        asked, got, at = int(row["requested"]), int(row["returned"]), int(row["offset"])
        if name == "read":
            calls.append((name, path, asked, got, at))
        else:
            calls.append((name, path, None, got if name == "lseek" else None, None))
    return calls


@pytest.mark.parametrize("loader_workers", [0, 2])
@pytest.mark.parametrize("buffer", ["reuse", "fresh"])
def test_rows_are_the_calls_of_each_thread_in_order(traced, tmp_path, buffer, loader_workers):
    data = make_data_set(tmp_path / "data", train=CASES, side=40)
    spec = make_spec(
        tmp_path, data, accelerators=2, epochs=1, buffer=buffer, loader_workers=loader_workers
    )
    (tmp_path / "spec.json").write_text(spec.to_json())
    seen = traced("worker", "-m", "harness.worker", str(tmp_path / "spec.json"))
    files = load_json(spec, "trace/files.json")
    recorded = []
    for rank in range(2):
        rows = load(spec, f"trace/rank-{rank:05d}.npy")
        assert set(rows["phase"]) == {Phase.TRAIN}
        for loader in np.unique(rows["loader"]):
            recorded.append(recorded_calls(rows[rows["loader"] == loader], files))
    assert len(recorded) == 2 * max(1, loader_workers)
    assert sorted(recorded, key=str) == sorted(filter(None, seen.values()), key=str)
    assert sum(call[0] == "openat" for calls in recorded for call in calls) == 2 * CASES


def test_a_file_is_read_with_the_calls_of_np_load(traced, tmp_path):
    data = make_data_set(tmp_path / "data", train=CASES, side=40)
    spec = make_spec(tmp_path, data)
    (tmp_path / "spec.json").write_text(spec.to_json())
    ours = by_file(traced("worker", "-m", "harness.worker", str(tmp_path / "spec.json")))
    paths = sorted(str(path) for path in data.glob("*.npy"))
    theirs = by_file(traced("numpy", "-c", NP_LOAD, *paths))
    assert len(ours) == 2 * CASES
    assert ours == theirs


def by_file(threads):
    calls = defaultdict(list)
    for thread in threads.values():
        for name, path, *rest in thread:
            calls[path].append((name, *rest))
    return calls
