import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TargetError
from harness.mounts import mount_of, parse_mountinfo, traits_of
from harness.target import (
    block_device_number,
    create_directory,
    find_disk,
    inspect_target,
    parse_choice,
    target_lines,
)

MOUNTINFO = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:45 / /mnt/array rw,noatime shared:5 master:2 - nfs4 filer:/export/a rw,vers=4.2,rsize=131072
31 27 0:46 / /mnt/lustre rw - lustre 10.0.0.1@tcp:/scratch rw,flock
32 27 0:47 / /tank/data rw,xattr - zfs tank/data rw,xattr,noacl
33 27 0:48 / /var/lib/merged rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
34 27 0:23 / /dev/shm rw - tmpfs tmpfs rw,size=24684100k
35 27 259:2 / /mnt/with\\040blank rw - xfs /dev/nvme0n1p2 rw,attr2
36 27 0:50 /sub /mnt/btrfs rw - btrfs /dev/sda1 rw,subvol=/sub
37 27 8:1 / /mnt/array/inner ro,relatime - ext4 /dev/sda1 ro
38 27 0:51 / /mnt/fuse rw - fuse.sshfs user@host:/ rw,user_id=0
no mount
39 27 7:0 / /mnt/stacked rw - ext4 /dev/loop0 rw
40 27 7:1 / /mnt/stacked rw - xfs /dev/loop1 rw
"""


def mount(path: str, device: tuple[int, int]):
    return mount_of(parse_mountinfo(MOUNTINFO), PurePosixPath(path), device)


@pytest.mark.parametrize(
    ("path", "device", "file_system", "source"),
    [
        ("/home/me/data", (254, 0), "ext4", "/dev/vda"),
        ("/mnt/array/x/y", (0, 45), "nfs4", "filer:/export/a"),
        ("/mnt/array/inner/z", (8, 1), "ext4", "/dev/sda1"),
        ("/mnt/arrayed", (254, 0), "ext4", "/dev/vda"),
        ("/mnt/arrayed", (99, 9), "ext4", "/dev/vda"),
        ("/mnt/lustre", (0, 46), "lustre", "10.0.0.1@tcp:/scratch"),
        ("/tank/data/a", (0, 47), "zfs", "tank/data"),
        ("/var/lib/merged", (0, 48), "overlay", "overlay"),
        ("/dev/shm/a", (0, 23), "tmpfs", "tmpfs"),
        ("/mnt/with blank/a", (259, 2), "xfs", "/dev/nvme0n1p2"),
        ("/mnt/btrfs/a", (0, 99), "btrfs", "/dev/sda1"),
        ("/mnt/stacked/a", (7, 1), "xfs", "/dev/loop1"),
        ("/mnt/stacked/a", (7, 0), "ext4", "/dev/loop0"),
    ],
)
def test_the_mount_that_holds_a_path_is_found(path, device, file_system, source):
    found = mount(path, device)
    assert (found.type, found.source) == (file_system, source)


def test_options_are_those_of_the_mount_and_of_the_file_system_each_once():
    assert mount("/mnt/array", (0, 45)).options == (
        *("rw", "noatime"),
        *("vers=4.2", "rsize=131072"),
    )
    assert len(parse_mountinfo(MOUNTINFO)) == 12


@given(text=st.text())
def test_any_text_gives_mounts_or_none(text):
    assert all(one.type for one in parse_mountinfo(f"{MOUNTINFO}{text}")[:12])


@pytest.mark.parametrize(
    ("file_system", "disk", "evictable", "trusted", "source", "reason"),
    [
        ("ext4", True, True, True, "proc", ""),
        ("xfs", True, True, True, "proc", ""),
        ("btrfs", True, True, True, "proc", ""),
        ("tmpfs", False, False, False, "none", "memory"),
        ("ramfs", False, False, False, "none", "memory"),
        ("zfs", False, False, False, "none", "threads of its own"),
        ("overlay", False, True, False, "none", "below"),
        ("nfs4", False, True, False, "nfs-mountstats", ""),
        ("nfs", False, True, False, "nfs-mountstats", ""),
        ("lustre", False, True, False, "lustre-osc", ""),
        ("fuse.sshfs", False, True, False, "none", "no block device"),
        ("fuseblk", True, True, False, "none", "no block device"),
        ("newfs", False, True, False, "none", "no block device"),
    ],
)
def test_nothing_is_claimed_that_the_file_system_does_not_allow(
    file_system, disk, evictable, trusted, source, reason
):
    traits = traits_of(file_system, has_block_device=disk)
    assert (traits.evictable, traits.residency_trusted) == (evictable, trusted)
    assert traits.byte_source == source
    assert reason in traits.byte_source_reason
    assert bool(traits.byte_source_reason) is (source == "none")


@pytest.fixture
def sysfs(tmp_path):
    disk = tmp_path / "devices/pci/block/sda"
    (disk / "sda1").mkdir(parents=True)
    (disk / "queue").mkdir()
    (disk / "sda1/partition").write_text("1\n")
    (tmp_path / "dev/block").mkdir(parents=True)
    (tmp_path / "dev/block/8:0").symlink_to(disk)
    (tmp_path / "dev/block/8:1").symlink_to(disk / "sda1")
    return tmp_path


def test_a_partition_leads_to_its_whole_disk(sysfs):
    assert find_disk((8, 1), None, sysfs).name == "sda"
    assert find_disk((8, 0), None, sysfs).name == "sda"
    assert find_disk((8, 2), None, sysfs) is None


def test_an_anonymous_number_is_no_disk_unless_the_source_is_a_block_device(sysfs):
    nfs, btrfs = mount("/mnt/array", (0, 45)), mount("/mnt/btrfs", (0, 99))
    numbers = {"/dev/sda1": (8, 1)}
    assert find_disk((0, 45), nfs, sysfs, numbers.get) is None
    assert find_disk((0, 99), btrfs, sysfs, numbers.get).name == "sda"
    assert find_disk((0, 99), btrfs, sysfs, {}.get) is None


@pytest.mark.parametrize("source", ["/dev/null", "/etc/passwd", "/dev/not-there", "tmpfs", "a:/b"])
def test_what_is_no_block_device_has_no_number(source):
    assert block_device_number(source) is None


def test_a_directory_that_exists_is_described_as_the_system_describes_it(tmp_path):
    target = inspect_target(tmp_path)
    command = ["df", "-B1", "--output=target,fstype,size", str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    point, file_system, size = output.splitlines()[1].split()
    assert (target.mount_point, target.file_system) == (point, file_system)
    assert target.total_bytes == int(size)
    assert 0 < target.free_bytes <= target.total_bytes
    assert target.path == str(tmp_path.resolve())
    assert {"rw", "ro"} & set(target.mount_options) == {"rw"}
    assert target.as_json()["mount_options"] == list(target.mount_options)


def test_shared_memory_is_known_to_be_memory():
    target = inspect_target(Path("/dev/shm/feedrate-not-there"))
    assert (target.file_system, target.mount_point) == ("tmpfs", "/dev/shm")
    assert (target.device, target.read_ahead_kb, target.rotational) == (None, None, None)
    assert not target.evictable
    assert not target.residency_trusted
    assert target.byte_source == "none"


def test_a_directory_to_come_is_described_by_its_parent_and_not_created(tmp_path):
    path = tmp_path / "a/b/c"
    target = inspect_target(path)
    assert target.path == str(path)
    assert target.mount_point == inspect_target(tmp_path).mount_point
    assert not (tmp_path / "a").exists()
    create_directory(path)
    create_directory(path)
    assert path.is_dir()


def test_a_link_is_followed_to_the_storage_it_leads_to(tmp_path):
    (tmp_path / "link").symlink_to("/dev/shm")
    assert inspect_target(tmp_path / "link/x").path == "/dev/shm/x"
    assert inspect_target(tmp_path / "link/x").file_system == "tmpfs"


def refused(path: Path) -> str:
    with pytest.raises(TargetError) as caught:
        inspect_target(path)
    assert caught.value.exit_code == 7
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_what_cannot_take_data_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "not a directory" in refused(tmp_path / "file")
    assert "runs through" in refused(tmp_path / "file/deeper/still")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop")
    refused(tmp_path / ("x" * 300))
    with pytest.raises(TargetError, match="cannot be created"):
        create_directory(tmp_path / "file/deeper")


@pytest.fixture
def as_another_user():
    """Take the rights of root off, if the tests have them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.usefixtures("as_another_user")
def test_a_directory_without_the_right_to_write_is_refused():
    message = refused(Path("/etc"))
    assert message.startswith("not writable: /etc")
    assert "cannot be created, /etc is not writable" in refused(Path("/etc/a/b"))


def test_the_echo_says_where_data_goes_and_what_will_be_known(tmp_path):
    first, second = target_lines(inspect_target(tmp_path))
    assert str(tmp_path) in first
    assert " free of " in first
    assert "can be evicted" in second
    _, memory = target_lines(inspect_target(Path("/dev/shm")))
    assert "pages cannot be evicted" in memory
    assert "no device" in memory


def test_the_choice_in_brackets_is_the_one_in_force():
    assert parse_choice("always [madvise] never\n") == "madvise"
    assert parse_choice("one two") is None
