"""dlrm on file systems of other block sizes: still the calls of the reference's readers."""

import subprocess

import pytest

from tests.unit.dlrm_sets import dlrm_spec, make_days, make_rows, make_text
from tests.unit.traced_calls import as_the_reference

pytestmark = [pytest.mark.strace, pytest.mark.root]


@pytest.fixture(params=[("tmpfs", "huge=always,size=64m"), ("ext4", "loop")], ids=lambda p: p[0])
def mount(request, tmp_path):
    kind, options = request.param
    source, place = kind, tmp_path / "mount"
    place.mkdir()
    if kind == "ext4":
        source = str(tmp_path / "image")
        with (tmp_path / "image").open("wb") as image:
            image.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-b", "1024", source], check=True)
    subprocess.run(["mount", "-t", kind, "-o", options, source, str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("batch_size", [64, 7])
def test_bin(tmp_path, mount, batch_size):
    data_dir = make_rows(mount / "data", train=1_000, test=20_000)
    assert (data_dir / "preprocessed.bin").stat().st_blksize != 4096
    changes = {"shuffle": "batches", "epochs": 2, "eval_from": 1}
    spec = dlrm_spec(tmp_path, data_dir, batch_size=batch_size, **changes)
    assert as_the_reference(tmp_path, spec, "bin")


def test_npz(tmp_path, mount):
    data_dir = make_days(mount / "data", [20, 300, 2_000, 500])
    spec = dlrm_spec(tmp_path, data_dir, eval_from=1)
    assert as_the_reference(tmp_path, spec, "npz")


def test_text(tmp_path, mount):
    data_dir = make_text(mount / "data", 1_000)
    spec = dlrm_spec(tmp_path, data_dir)
    assert as_the_reference(tmp_path, spec, "text")
