"""What tests need beyond Python is looked for once; a lack is named, and fails where CI is set."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from harness.target import inspect_target
from tests.rest import check_rest

# Under nohup a hang-up is ignored, and stays so in what tests start, who want to see it heeded.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long a law takes is shown by benchmarks, never asserted.
settings.register_profile("laws", deadline=None)
settings.load_profile("laws")


def engine_lack():
    import docker

    if not hasattr(docker, "from_env"):
        return "the docker SDK is not installed"
    try:
        docker.from_env(timeout=10).ping()
    except docker.errors.DockerException as error:
        return f"no Docker engine answers ({error})"
    return None


def browser_lack():
    return None if shutil.which("chromium") else "chromium is not installed"


def strace_lack():
    if not shutil.which("strace"):
        return "strace is not installed"
    trial = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if trial.returncode == 0 else "this process may not trace others"


def root_lack():
    return None if os.geteuid() == 0 else "this process is not root"


def reflink_lack():
    if not shutil.which("mkfs.xfs") or not shutil.which("mkfs.ext4"):
        return "xfsprogs and e2fsprogs are not installed"
    return root_lack()


def fuse_lack():
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/fuse does not open ({error.strerror})"
    return root_lack()


def disk_lack():
    place = tempfile.gettempdir()
    device = inspect_target(Path(place)).device
    on_disk = device is not None and Path(device).is_block_device()
    return None if on_disk else f"{place} is on no block device"


LEFT_OUT = "this machine lacks"

LACKS = {
    "engine": engine_lack,
    "browser": browser_lack,
    "disk": disk_lack,
    "fuse": fuse_lack,
    "reflink": reflink_lack,
    "root": root_lack,
    "strace": strace_lack,
}


def pytest_collection_modifyitems(items):
    for marker, lack in LACKS.items():
        marked = [item for item in items if item.get_closest_marker(marker)]
        reason = lack() if marked else None
        if reason is None:
            continue
        if os.environ.get("CI"):
            raise pytest.UsageError(f"CI leaves nothing out, but {reason}")
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=f"{LEFT_OUT} {marker}: {reason}"))


@pytest.fixture(autouse=True)
def rest(request):
    """Look, after each test, at every run that it left: no time of its ranks is unexplained."""
    place = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if place is not None and not request.node.get_closest_marker("spoils"):
        check_rest(place)


def pytest_terminal_summary(terminalreporter):
    """Say what was left out, wherever it was collected: here, or in a process beside."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    for reason, count in Counter(reasons).items():
        if LEFT_OUT in reason:
            needs = reason.partition(LEFT_OUT)[2]
            terminalreporter.write_line(f"LEFT OUT: {count} tests that need{needs}", yellow=True)
