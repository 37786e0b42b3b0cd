import json
import os
import platform
import socket
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from harness.system import SystemFacts, parse_cpuinfo, system_facts, system_json
from harness.worker.host.cgroup import parse_groups, read_limits

UNLIMITED = "9223372036854771712\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_facts_of_this_machine_are_what_its_own_tools_say():
    facts = system_facts()
    assert facts.kernel == f"{os.uname().sysname} {os.uname().release}"
    assert facts.cores_usable == len(os.sched_getaffinity(0))
    assert facts.cores_total == os.cpu_count()
    assert facts.memory_total_bytes == psutil.virtual_memory().total
    assert 0 < facts.memory_available_bytes <= facts.memory_total_bytes
    assert facts.python == platform.python_version()
    assert facts.packages["numpy"] == np.__version__
    assert facts.packages["msgspec"] == msgspec.__version__
    assert len(facts.load_average) == 3


def test_affinity_is_told_from_the_cores_of_the_machine():
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        assert system_facts().cores_usable == 1
        assert system_facts().cores_total == os.cpu_count()
    finally:
        os.sched_setaffinity(0, cores)


def test_facts_go_to_json_and_back_without_the_name_of_the_host():
    facts = system_facts()
    text = json.dumps(system_json(facts))
    assert msgspec.convert(json.loads(text), SystemFacts) == facts
    assert f'"{socket.gethostname()}"' not in text


def test_what_is_unknown_is_none_and_never_zero(tmp_path):
    facts = system_facts(proc=tmp_path, sysfs=tmp_path)
    unknown = (facts.cpu_model, facts.numa_nodes, facts.hypervisor, facts.transparent_huge_pages)
    assert unknown == (None,) * 4
    assert (facts.cgroup.version, facts.cgroup.memory_bytes, facts.cgroup.cpus) == (None,) * 3


def test_files_of_the_kernel_are_read_as_they_are(tmp_path):
    write(
        tmp_path,
        {
            "cpuinfo": "processor\t: 0\nmodel name\t: Fast 9000\nflags\t\t: fpu hypervisor sse\n\n"
            "processor\t: 1\nmodel name\t: Slow\n",
            "kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
            "devices/system/node/node0/x": "",
            "devices/system/node/node1/x": "",
            "devices/system/node/power/x": "",
        },
    )
    facts = system_facts(proc=tmp_path, sysfs=tmp_path)
    assert (facts.cpu_model, facts.hypervisor) == ("Fast 9000", True)
    assert (facts.numa_nodes, facts.transparent_huge_pages) == (2, "always")


@pytest.mark.parametrize(
    ("text", "fields"),
    [("", {}), ("Features : fp\n", {"Features": "fp"}), ("no colon\n", {"no colon": ""})],
)
def test_processors_of_other_kinds_have_other_fields(text, fields):
    assert parse_cpuinfo(text) == fields


def test_group_paths_are_told_by_controller():
    text = "9:name=systemd:/s\n4:memory:/m\n2:cpu,cpuacct:/c\n0::/u:with:colons\n"
    groups = {"memory": "/m", "cpu": "/c", "cpuacct": "/c", "": "/u:with:colons"}
    assert parse_groups(text) == groups


def test_lowest_limit_from_the_group_to_the_root_holds_in_version_2(tmp_path):
    write(
        tmp_path,
        {
            "cgroup.controllers": "cpu memory\n",
            "a/b/memory.max": "max\n",
            "a/memory.max": "4000000000\n",
            "memory.max": "8000000000\n",
            "a/b/cpu.max": "150000 100000\n",
            "a/cpu.max": "max 100000\n",
        },
    )
    limits = read_limits("0::/a/b\n", tmp_path)
    assert (limits.version, limits.memory_bytes, limits.cpus) == ("2", 4_000_000_000, 1.5)
    other = read_limits("0::/elsewhere\n", tmp_path)
    assert (other.memory_bytes, other.cpus) == (8_000_000_000, None)


def test_unlimited_is_no_limit_in_version_1(tmp_path):
    write(
        tmp_path,
        {
            "memory/memory.limit_in_bytes": UNLIMITED,
            "memory/job/memory.limit_in_bytes": "3000000000\n",
            "cpu/cpu.cfs_quota_us": "-1\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "cpu/job/cpu.cfs_quota_us": "50000\n",
            "cpu/job/cpu.cfs_period_us": "100000\n",
        },
    )
    free = read_limits("4:memory:/\n1:cpu:/\n", tmp_path)
    assert (free.version, free.memory_bytes, free.cpus) == ("1", None, None)
    held = read_limits("4:memory:/job\n1:cpu:/job\n", tmp_path)
    assert (held.memory_bytes, held.cpus) == (3_000_000_000, 0.5)


def test_both_versions_at_once_are_a_hybrid_and_names_of_the_host_end_at_the_root(tmp_path):
    write(
        tmp_path,
        {
            "unified/cgroup.controllers": "\n",
            "memory/memory.limit_in_bytes": "1000000000\n",
        },
    )
    limits = read_limits("4:memory:/docker/0123\n0::/docker/0123\n", tmp_path)
    assert (limits.version, limits.memory_bytes) == ("hybrid", 1_000_000_000)
