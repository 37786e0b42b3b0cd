"""The worker makes the calls of np.load, seen by strace, and its rows are those calls."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from harness.trace.calls import calls_of, in_detail
from harness.worker.record import Op
from tests.reference.calls import compare, recorded_calls
from tests.unit.traced_calls import run_traced
from tests.unit.worker_run import (
    command,
    load,
    load_json,
    make_data_set,
    make_spec,
    run_worker,
)

pytestmark = pytest.mark.strace

NP_LOAD = "import sys, numpy; [numpy.load(path) for path in sys.argv[1:]]"


def strace(tmp_path, arguments):
    """Return what was done with each .npy file: path -> [Traced]."""
    files = defaultdict(list)
    for traced in run_traced(tmp_path, arguments).below("/"):
        if traced.call.path.endswith(".npy"):
            files[traced.call.path].append(traced)
    return files


def training_files(directory):
    return sorted(str(path) for path in directory.glob("*.npy"))


def np_load_calls(tmp_path, directory):
    paths = training_files(directory)
    return strace(tmp_path, [sys.executable, "-c", NP_LOAD, *paths]), paths


@pytest.fixture
def data_dir(tmp_path):
    # The y files end on different bytes of a block, and some are smaller than two blocks.
    return make_data_set(tmp_path / "data", train=5, side=16)


@pytest.mark.parametrize("buffer", ["reuse", "fresh"])
@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_training_makes_the_calls_of_np_load(tmp_path, data_dir, buffer, loader_workers):
    expected, paths = np_load_calls(tmp_path / "numpy", data_dir)
    spec = make_spec(tmp_path, data_dir, buffer=buffer, loader_workers=loader_workers)
    made = strace(tmp_path, command(tmp_path, spec))
    for path in paths:
        assert in_detail(made[path]) == in_detail(expected[path])


@pytest.mark.parametrize("buffer", ["reuse", "fresh"])
def test_rows_are_the_calls(tmp_path, data_dir, buffer):
    spec = make_spec(tmp_path, data_dir, buffer=buffer, loader_workers=1)
    made = strace(tmp_path, command(tmp_path, spec))
    rows = load(spec, "trace/rank-00000.npy")
    files = load_json(spec, "trace/files.json")
    assert len(files) == len(made)
    for number, facts in files.items():
        own = recorded_calls(rows[rows["file"] == int(number)], files)
        assert compare(calls_of(made[facts["path"]]), own) == ""


def test_a_case_is_read_image_first_and_each_file_once(tmp_path, data_dir):
    spec = make_spec(tmp_path, data_dir)
    assert run_worker(tmp_path, spec).returncode == 0
    rows = load(spec, "trace/rank-00000.npy")
    files = load_json(spec, "trace/files.json")
    opened = [files[str(row["file"])]["path"] for row in rows if row["op"] == Op.OPEN]
    assert sorted(opened) == training_files(data_dir)
    for image, label in zip(opened[::2], opened[1::2], strict=True):
        assert image.endswith("_x.npy")
        assert label == image.replace("_x.npy", "_y.npy")


@pytest.mark.root
@pytest.mark.parametrize(("kind", "options"), [("tmpfs", "huge=always,size=64m"), ("ext4", "loop")])
def test_sizes_follow_the_block_size_of_the_file_system(tmp_path, kind, options):
    mount = tmp_path / "mount"
    mount.mkdir()
    source = kind
    if kind == "ext4":
        source = str(tmp_path / "image")
        Path(source).write_bytes(b"")
        with Path(source).open("r+b") as image:
            image.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-b", "1024", source], check=True)
    subprocess.run(["mount", "-t", kind, "-o", options, source, str(mount)], check=True)
    try:
        data_dir = make_data_set(mount / "data", train=3, side=20)
        big = mount / "data" / "case_00000_x.npy"
        assert big.stat().st_blksize != 4096
        expected, paths = np_load_calls(tmp_path / "numpy", data_dir)
        made = strace(tmp_path, command(tmp_path, make_spec(tmp_path, data_dir)))
        for path in paths:
            assert in_detail(made[path]) == in_detail(expected[path])
        assert np.load(big).dtype == np.float32
    finally:
        subprocess.run(["umount", str(mount)], check=True)
