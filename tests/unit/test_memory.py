"""Which memory is in force, how it stands to the data, and what is said of it."""

from dataclasses import replace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.memory import effective_memory, memory_of, regime_of
from harness.analysis.result import build_result
from harness.commands import main
from harness.limit import expected_memory
from harness.worker.host.cgroup import CgroupLimits
from harness.worker.record import Eviction
from tests.golden.recordings import facts, plan, record
from tests.unit.test_config import run

GB = 10**9
DATA = 800 + 200  # of the two files of a made recording


@pytest.mark.parametrize(
    ("asked", "group", "effective"),
    [
        (None, None, (64 * GB, "machine")),
        (8 * GB, None, (8 * GB, "limit of the run")),
        (8 * GB, 8 * GB - 4096, (8 * GB - 4096, "limit of the run")),
        (8 * GB, 4 * GB, (4 * GB, "control group")),
        (None, 4 * GB, (4 * GB, "control group")),
        (128 * GB, None, (64 * GB, "machine")),
        (128 * GB, 128 * GB, (64 * GB, "machine")),
    ],
)
def test_the_lowest_memory_is_in_force_and_named(asked, group, effective):
    found = effective_memory(total_bytes=64 * GB, asked_bytes=asked, group_bytes=group)
    assert found == effective


@pytest.fixture
def group(monkeypatch):
    """Put this process into a group that is held to so many bytes."""
    limits = CgroupLimits(version="2", memory_bytes=GB, cpus=None)
    monkeypatch.setattr("harness.limit.own_limits", lambda: limits)


@pytest.mark.usefixtures("group")
def test_the_own_group_holds_plain_processes_and_no_container():
    assert expected_memory(run(), engine="local") == (GB, "control group")
    assert expected_memory(run(), engine="docker") == (psutil.virtual_memory().total, "machine")


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("engine", ["local", "auto"])
def test_processes_that_are_plain_for_want_of_a_daemon_are_in_the_group_as_well(
    engine, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    places = ("--data", tmp_path / "data", "--results", tmp_path / "results")
    words = ("benchmark", "imseg", "--preset", "smoke", *places, "--engine", engine, "--dry-run")
    assert main(list(map(str, words))) == 0
    assert "memory  1 GB (control group), the ranks keep " in capsys.readouterr().err


@given(ratio=st.floats(0, 10))
def test_every_ratio_has_the_regime_of_its_range(ratio):
    regime = regime_of(ratio)
    assert (regime == "warm") is (ratio >= 2)
    assert (regime == "knee") is (0.9 <= ratio <= 1.1)
    assert (regime == "cold") is (ratio <= 0.67)


@given(limit=st.integers(0, 1 << 40), need=st.integers(0, 1 << 40), data=st.integers(1, 1 << 40))
def test_what_the_ranks_keep_holds_no_data(limit, need, data):
    memory = memory_of(limit, "machine", need_bytes=need, data_bytes=data)
    assert memory.ratio == max(0, limit - need) / data
    assert memory.regime in memory.text()


def test_a_limit_cut_to_whole_pages_has_the_regime_of_the_one_asked_for():
    memory = memory_of(900_000_000 // 4096 * 4096, "machine", need_bytes=0, data_bytes=10**9)
    assert memory.ratio < 0.9
    assert memory.regime == "knee"


def test_nothing_to_read_has_no_ratio():
    memory = memory_of(GB, "machine", need_bytes=1, data_bytes=0)
    assert (memory.ratio, memory.regime) == (None, None)
    assert "1 GB (machine)" in memory.text()


def made(found, *, cache="once", asked=None):
    recording = record(plan(2, 3))
    worker = replace(recording.worker, memory=found)
    known = facts(2, cache=cache, config={"memory_bytes": asked})
    return build_result(replace(recording, worker=worker), known)


FOUND = {"need_bytes": 300, "limit_bytes": None, "group_version": "2", "total_bytes": 1_300}


def test_a_result_states_its_memory_against_its_data():
    memory = made(FOUND).memory
    assert (memory.limit_bytes, memory.source) == (1_300, "machine")
    assert (memory.need_bytes, memory.data_bytes) == (300, DATA)
    assert (memory.ratio, memory.regime) == (1.0, "knee")


def test_the_limit_that_the_ranks_found_is_the_one_that_counts():
    memory = made({**FOUND, "limit_bytes": 800}, asked=800).memory
    assert (memory.limit_bytes, memory.source) == (800, "limit of the run")
    assert (memory.ratio, memory.regime) == (0.5, "cold")


def test_a_worker_that_did_not_get_so_far_leaves_it_unknown():
    assert made(None).memory is None


@pytest.mark.parametrize("cache", ["cold", "warm", "once", "asis"])
@pytest.mark.parametrize(("total", "helps"), [(1_300, True), (900, False), (9_000, True)])
def test_memory_that_may_answer_is_a_warning_unless_it_is_evicted_or_asked_for(cache, total, helps):
    said = made({**FOUND, "total_bytes": total}, cache=cache).warnings
    told = any(line.startswith("Memory may answer") for line in said)
    assert told is (helps and cache in ("once", "asis"))


@pytest.mark.parametrize(
    ("epoch", "left", "told"), [(0, None, True), (0, 0.0, False), (1, None, False)]
)
def test_a_limit_whose_file_system_does_not_tell_what_is_left_in_memory_is_doubted(
    epoch, left, told
):
    eviction = Eviction(epoch=epoch, files=2, bytes=9, seconds=0.1, resident_fraction=left)
    said = build_result(record(plan(2, 3, evictions=(eviction,))), facts(2)).warnings
    assert any("the memory limit does not hold" in line for line in said) is told
