"""Idle cores and stalls, from files as kernels of both cgroup versions have them."""

import pytest

from harness.worker.host.machine import Machine

PRESSURE = "some avg10=1.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 total={}\n"


def stat(*idle):
    lines = [f"cpu{core} 10 0 10 {ticks} 0 0 0 0 0 0" for core, ticks in enumerate(idle)]
    return "\n".join([f"cpu  10 0 10 {sum(idle)} 0 0 0 0 0 0", *lines, "intr 5 1 2", ""])


@pytest.fixture
def place(tmp_path):
    """Write files of a procfs and of control groups, and return the roots of both."""
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    root.mkdir()

    def put(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return proc, root

    return put


def windows(machine, change):
    machine.begin()
    change()
    return machine.end(3)


def test_idle_time_is_that_of_the_cores_that_may_be_used(place):
    proc, root = place(proc__stat=stat(100, 200, 300, 400))
    machine = Machine(proc, root, frozenset({1, 3}))
    window = windows(machine, lambda: place(proc__stat=stat(900, 210, 900, 430)))
    assert (window.epoch, window.cores) == (3, 2)
    assert window.idle_ns == 40 * 10_000_000  # ticks of 10 ms


def test_waiting_for_a_device_is_idle(place):
    line = "cpu0 10 0 10 100 {} 0 0 0 0 0\n"
    proc, root = place(proc__stat=line.format(0))
    machine = Machine(proc, root, frozenset({0}))
    window = windows(machine, lambda: place(proc__stat=line.format(7)))
    assert window.idle_ns == 70_000_000


@pytest.mark.parametrize(
    ("group", "files", "later"),
    [
        (
            "0::/job\n",
            {"cgroup__job__cpu_dot_max": "100000 100000\n"},
            ("cgroup__job__cpu_dot_stat", "usage_usec 0\n", "usage_usec 1000000000000\n"),
        ),
        (
            "3:cpuacct:/job\n2:cpu:/job\n",
            {
                "cgroup__cpu__job__cpu_dot_cfs_quota_us": "100000\n",
                "cgroup__cpu__job__cpu_dot_cfs_period_us": "100000\n",
            },
            ("cgroup__cpuacct__job__cpuacct_dot_usage", "0\n", "1000000000000000\n"),
        ),
    ],
)
def test_a_quota_that_is_used_up_leaves_no_idle_time(place, group, files, later):
    usage, before, after = later
    names = {"proc__self__cgroup": group, "proc__stat": stat(0, 0), usage: before}
    if group.startswith("0"):
        names["cgroup__cgroup_dot_controllers"] = "cpu"
    proc, root = place(**names, **files)
    machine = Machine(proc, root, frozenset({0, 1}))
    window = windows(machine, lambda: place(proc__stat=stat(1000, 1000), **{usage: after}))
    assert (window.cores, window.idle_ns) == (1, 0)


def test_stalls_are_the_machines_where_the_group_has_no_account(place):
    names = [f"proc__pressure__{name}" for name in ("cpu", "io", "memory")]
    proc, root = place(**dict.fromkeys(names, PRESSURE.format(10, 1)))
    window = windows(
        Machine(proc, root, frozenset({0})),
        lambda: place(**dict.fromkeys(names[:2], PRESSURE.format(30, 6))),
    )
    assert window.pressure_ns == {"cpu": (20_000, 5_000), "io": (20_000, 5_000), "memory": (0, 0)}
    assert window.pressure_source.startswith("/proc/pressure")


def test_stalls_are_the_groups_own_where_it_has_an_account(place):
    pressures = {
        f"cgroup__job__{name}_dot_pressure": PRESSURE.format(5, 5)
        for name in ("cpu", "io", "memory")
    }
    proc, root = place(
        proc__self__cgroup="0::/job\n", proc__pressure__cpu=PRESSURE.format(1, 1), **pressures
    )
    window = windows(Machine(proc, root, frozenset({0})), lambda: None)
    assert window.pressure_ns["cpu"] == (0, 0)
    assert "control group" in window.pressure_source


def test_stalls_of_the_groups_above_are_not_the_jobs_own(place):
    (names, above) = (
        [pattern.format(name) for name in ("cpu", "io", "memory")]
        for pattern in ("proc__pressure__{}", "cgroup__{}_dot_pressure")
    )
    proc, root = place(
        proc__self__cgroup="0::/job\n",
        cgroup__job__cgroup_dot_procs="1\n",
        **dict.fromkeys([*names, *above], PRESSURE.format(10, 1)),
    )
    window = windows(Machine(proc, root, frozenset({0})), lambda: None)
    assert window.pressure_source.startswith("/proc/pressure")


def test_what_the_kernel_does_not_say_is_unknown(place):
    window = windows(Machine(*place(proc__stat="cpu  1 2\n"), frozenset({0})), lambda: None)
    assert window.idle_ns is None
    assert set(window.pressure_ns.values()) == {None}
    assert "no account of stalls" in window.pressure_source


def test_every_byte_that_a_look_reads_is_counted(place):
    text = stat(1, 2)
    proc, root = place(proc__stat=text)
    machine = Machine(proc, root, frozenset({0}))
    machine.begin()
    assert machine.looked() == len(text)
    machine.end(1)
    assert machine.looked() == 2 * len(text)
