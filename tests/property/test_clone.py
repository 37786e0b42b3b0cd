"""Clones on a file system that shares blocks: what the device gives, and what the manifest says."""

import os
import subprocess

import pytest

from dsgen.manifest import read_manifest
from dsgen.verify import verify
from tests.property.inputs import EXAMPLES, make_all, scaled
from tests.unit.test_generate_refusals import refused

DISK_BYTES = 2 * 10**9
SLACK_BYTES = 16 * 10**6  # of the file system's own


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A small XFS with the inputs on it."""
    root = tmp_path_factory.mktemp("xfs")
    image, mounted = root / "image", root / "disk"
    with image.open("wb") as stream:
        stream.truncate(DISK_BYTES)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    mounted.mkdir()
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
    try:
        make_all(mounted)
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)
        image.unlink()


def used_bytes(disk):
    os.sync()
    room = os.statvfs(disk)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


@pytest.mark.reflink
@pytest.mark.parametrize("name", ["imseg", "bert", "npz"])
def test_a_copy_takes_the_device_s_bytes_and_a_clone_does_not(name, disk):
    example = next(one for one in EXAMPLES if one.name == name)
    manifests = {}
    for mode in ("copy", "clone"):
        output = disk / f"{name}-{mode}"
        before = used_bytes(disk)
        done = scaled(example.workload, disk / name, output, example.size_bytes, "--mode", mode)
        assert done.returncode == 0, done.stderr
        taken = used_bytes(disk) - before
        assert verify(output, processes=1, emit=lambda _: None) == []
        manifest = manifests[mode] = read_manifest(output)
        assert manifest.parameters.origin == mode
        total = manifest.data_bytes + manifest.sidecar_bytes
        assert manifest.allocation.holes_bytes == 0
        own = total - manifest.allocation.shared_bytes
        assert abs(taken - own) < SLACK_BYTES
        if mode == "copy":
            assert own == total
        else:
            # What has no whole copy of its source: the last file's end, and files of counts.
            last = [file for file in manifest.files if file.role == "train"][-1]
            assert own <= last.bytes + manifest.sidecar_bytes
            assert own < total / 2
    assert [file.crc32c for file in manifests["copy"].files] == [
        file.crc32c for file in manifests["clone"].files
    ]


@pytest.mark.reflink
def test_a_clone_may_be_larger_than_the_disk(disk):
    output = disk / "larger"
    done = scaled("imseg", disk / "imseg", output, 2 * DISK_BYTES, "--mode", "clone")
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(output)
    assert manifest.allocation.shared_bytes == manifest.data_bytes >= 2 * DISK_BYTES
    done = scaled("imseg", disk / "imseg", disk / "copy", 2 * DISK_BYTES)
    assert refused(done, 7, "too little space")


@pytest.mark.reflink
@pytest.mark.parametrize("name", ["text", "bin"])
def test_what_does_not_begin_on_blocks_again_is_no_clone(name, disk):
    example = next(one for one in EXAMPLES if one.name == name)
    done = scaled("dlrm", disk / name, disk / "out", example.size_bytes, "--mode", "clone")
    assert refused(done, 2, "beyond its own length shares no blocks", "use --mode copy")


@pytest.mark.reflink
def test_another_file_system_is_no_place_for_a_clone(disk, tmp_path):
    done = scaled("imseg", disk / "imseg", tmp_path / "out", 80_000_000, "--mode", "clone")
    assert refused(done, 2, "another file system than the input's")


@pytest.mark.reflink
def test_a_file_system_without_shared_blocks_refuses(tmp_path):
    image, mounted = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as stream:
        stream.truncate(400_000_000)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mounted.mkdir()
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
    try:
        EXAMPLES[0].make(mounted / "in")
        done = scaled("imseg", mounted / "in", mounted / "out", 80_000_000, "--mode", "clone")
        assert refused(done, 2, "this file system cannot share blocks")
        assert not list(mounted.glob("tmp*"))
    finally:
        subprocess.run(["umount", mounted], check=True)
