"""Counters beside the ranks' own: found where they are, else missing with a reason."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.worker.host.cgroup import find_group_file
from harness.worker.host.sources import find_sources
from tests.unit import source_texts as texts
from tests.unit.worker_run import make_spec


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def sources(tmp_path, *, files, data_dir="/mnt/array/data", **spec):
    write(tmp_path, files)
    return find_sources(
        make_spec(tmp_path, Path(data_dir), **spec),
        proc=tmp_path / "proc",
        groups=tmp_path / "groups",
        lustre=(tmp_path / "old", tmp_path / "new"),
    )


def counted(found, change) -> dict[str, int | None]:
    """Return what each source counts while `change` happens."""
    found.open()
    change()
    return {one.source: one.bytes for one in found.close(epoch=3, phase=1, start_ns=0)}


# Recorded: Linux 6.18 with Docker 20.10, inside a container of version 1.
CONTAINER_1 = "7:blkio:/docker/b339f396\n4:memory:/docker/b339f396\n0::/docker/b339f396\n"
# Composed from cgroups(7): a container of version 2 with a namespace of its own.
CONTAINER_2 = "0::/\n"
BLKIO = "groups/blkio/blkio.throttle.io_service_bytes"


def test_the_group_of_a_container_counts_in_version_2(tmp_path):
    files = {"proc/self/cgroup": CONTAINER_2, "groups/io.stat": texts.IO_STAT}
    found = sources(tmp_path, files=files, group_device="8:0")
    more = texts.IO_STAT.replace("rbytes=90430464", "rbytes=90434560")
    assert counted(found, lambda: write(tmp_path, {"groups/io.stat": more})) == {"cgroup": 4096}
    assert found.missing(found.close(epoch=3, phase=1, start_ns=0)) == {}


def test_a_device_without_a_line_yet_has_read_nothing_yet(tmp_path):
    files = {"proc/self/cgroup": CONTAINER_1, BLKIO: texts.THROTTLE_BYTES_BEFORE}
    found = sources(tmp_path, files=files, group_device="254:0")
    assert counted(found, lambda: write(tmp_path, {BLKIO: texts.THROTTLE_BYTES})) == {
        "cgroup": 67_108_864
    }


def test_a_group_that_never_counts_has_no_figure_but_a_reason(tmp_path):
    files = {"proc/self/cgroup": CONTAINER_1, BLKIO: texts.THROTTLE_BYTES_BEFORE}
    found = sources(tmp_path, files=files, group_device="254:0")
    found.open()
    counts = found.close(epoch=1, phase=1, start_ns=0)
    assert "once a throttle rule has been set" in found.missing(counts)["cgroup"]


@pytest.mark.parametrize(
    ("device", "files", "reason"),
    [
        (None, {"proc/self/cgroup": CONTAINER_2}, "no control group of their own"),
        ("8:0", {"proc/self/cgroup": "no line of the kernel"}, "no control group here counts"),
        ("8:0", {"proc/self/cgroup": CONTAINER_2}, "no control group here counts"),
        ("8:0", {}, "no control group here counts"),
    ],
)
def test_a_layout_that_is_not_known_counts_nothing_and_says_so(tmp_path, device, files, reason):
    found = sources(tmp_path, files=files, group_device=device)
    assert found.counts == {}
    assert reason in found.missing([])["cgroup"]


def test_a_group_is_looked_for_where_it_is_and_not_above(tmp_path):
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a/b\n",
            "groups/a/b/cgroup.procs": "",
            "groups/a/io.stat": texts.IO_STAT,
        },
    )
    found = find_group_file(
        "io.stat", controller="", proc=tmp_path / "proc", root=tmp_path / "groups"
    )
    assert found is None


def test_nfs_counts_by_its_mount(tmp_path):
    files = {"proc/self/mountstats": texts.MOUNTSTATS}
    found = sources(tmp_path, files=files, byte_source="nfs-mountstats")
    more = texts.MOUNTSTATS.replace(" 600000000 ", " 600004096 ").replace("600062400", "600066600")

    def read():
        write(tmp_path, {"proc/self/mountstats": more})

    assert counted(found, read) == {"nfs-mountstats": 4096, "nfs-read-replies": 4200}


def test_without_an_nfs_mount_in_mountstats_there_is_a_reason(tmp_path):
    files = {"proc/self/mountstats": texts.MOUNTSTATS_NONE}
    found = sources(tmp_path, files=files, byte_source="nfs-mountstats")
    assert found.counts == {}
    assert (
        "no bytes of the NFS mount that holds /mnt/array/data" in found.uncounted["nfs-mountstats"]
    )


def test_lustre_counts_over_all_servers(tmp_path):
    files = {
        "new/osc/fs-OST0000-osc-ffff/stats": texts.LUSTRE_OSC,
        "new/osc/fs-OST0001-osc-ffff/stats": texts.LUSTRE_BEFORE,
        "new/llite/fs-ffff/stats": texts.LUSTRE_LLITE,
    }
    found = sources(tmp_path, files=files, byte_source="lustre-osc")
    second = {"new/osc/fs-OST0001-osc-ffff/stats": texts.LUSTRE_OSC}
    assert counted(found, lambda: write(tmp_path, second)) == {
        "lustre-osc": 83_886_080,
        "lustre-llite": 0,
    }


def test_statistics_that_are_cleared_meanwhile_give_no_figure(tmp_path):
    files = {"old/osc/a/stats": texts.LUSTRE_OSC, "old/llite/a/stats": texts.LUSTRE_LLITE}
    found = sources(tmp_path, files=files, byte_source="lustre-osc")
    cleared = {"old/osc/a/stats": texts.LUSTRE_BEFORE}
    assert counted(found, lambda: write(tmp_path, cleared))["lustre-osc"] is None
    gone = (tmp_path / "old/llite/a/stats").unlink
    assert counted(found, gone)["lustre-llite"] is None


@contextmanager
def as_no_root():
    """Let root be another user meanwhile."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


def test_statistics_that_only_root_may_read_are_named_as_missing_by_others(tmp_path):
    files = {"new/osc/a/stats": texts.LUSTRE_OSC}
    write(tmp_path, files)
    (tmp_path / "new").chmod(0)
    try:
        with as_no_root():
            found = sources(tmp_path, files={}, byte_source="lustre-osc")
    finally:
        (tmp_path / "new").chmod(0o700)
    assert "no statistics that this user may read" in found.uncounted["lustre-osc"]


def test_without_lustre_there_is_a_reason(tmp_path):
    found = sources(tmp_path, files={}, byte_source="lustre-osc")
    assert found.counts == {}
    assert str(tmp_path / "new/osc") in found.uncounted["lustre-osc"]


def test_a_target_without_counters_has_no_sources(tmp_path):
    found = sources(tmp_path, files={}, byte_source="none")
    assert (found.counts, found.missing([])) == ({}, {})
