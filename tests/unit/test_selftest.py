"""What the selftest predicts, and what it takes for found; the runs are in tests/container."""

import errno
import os
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.analysis.ceiling import no_ceiling
from harness.analysis.epoch import epochs_of, measured
from harness.analysis.result import build_result
from harness.commands import main
from harness.conclude import Ending
from harness.errors import ExitCode, JobError, ResultError, StopRequested, TargetError
from harness.selftest.attempt import attempt
from harness.selftest.cause import Means, Outcome
from harness.selftest.causes import (
    all_causes,
    check_cached,
    check_client,
    check_memory,
    check_neighbour,
    check_storage,
    check_straggler,
    short_causes,
)
from harness.selftest.neighbour import spinning
from harness.selftest.predict import predict_au
from harness.setting import Setting
from tests.golden.recordings import MS, Plan, facts, plan, record
from tests.unit.test_config import run

MB = 1_000_000


def epoch_of(sizes, declared_ms):
    """One epoch of ranks whose batches have these bytes, sizes[rank][step]."""
    recording = record(plan(len(sizes), len(declared_ms)))
    for rank, own in enumerate(sizes):
        recording.steps[rank]["bytes"][1:] = own
        recording.steps[rank]["declared_ns"][1:] = [ms * MS for ms in declared_ms]
    return measured(epochs_of(recording, warmup_epochs=0))


def outcome_of(what, **changes):
    recording = record(what)
    result = build_result(recording, facts(recording.ranks, **changes))
    return Outcome(result=result, epochs=measured(epochs_of(recording, warmup_epochs=0)))


# Two ranks, 5 MB each a step, 100 ms of reading at 100 MB/s and 10 ms of compute, which all but the
# last batch hide.
THROTTLED = Plan(
    loads_ns=[[[100 * MS, *[90 * MS] * 9]] * 2],
    declared_ns=[[10 * MS] * 10],
    bytes_per_step=5 * MB,
)


@pytest.mark.parametrize(
    ("sizes", "declared_ms", "au"),
    [
        # 10 MB a step at 100 MB/s: 100 ms each, and the last step after that.
        ([[5 * MB] * 4] * 2, [50] * 4, 200 / 450),
        # Compute that takes longer waits for the first batch alone.
        ([[5 * MB] * 4] * 2, [300] * 4, 1200 / 1300),
        # A rank alone has all of the bandwidth.
        ([[5 * MB] * 4], [10] * 4, 40 / 210),
        # 2 MB and 8 MB: the larger one has half of the bandwidth until 4 MB, then all of it.
        ([[2 * MB], [8 * MB]], [100], 100 / 200),
        ([[2 * MB, 0], [2 * MB, 6 * MB]], [100, 100], 200 / 240),
    ],
)
def test_au_follows_from_bytes_and_bandwidth(sizes, declared_ms, au):
    assert predict_au(epoch_of(sizes, declared_ms), 100 * MB) == pytest.approx(au)


def test_a_storage_that_is_as_slow_as_planted_is_found():
    finding = check_storage(outcome_of(THROTTLED), bytes_per_s=100 * MB)
    assert finding.passed, finding.figures
    assert finding.figures == (
        "99 MB/s (-1.0%), AU 9.9 % (predicted 9.9 %), cores idle 80 %, fail: storage"
    )


def test_a_storage_of_another_speed_or_another_verdict_is_not_found():
    assert not check_storage(outcome_of(THROTTLED), bytes_per_s=107 * MB).passed
    busy = outcome_of(replace(THROTTLED, idle_share=0.0))
    assert not check_storage(busy, bytes_per_s=100 * MB).passed
    # As fast as planted, but it computes for longer than it should have.
    longer = outcome_of(replace(THROTTLED, declared_ns=[[14 * MS] * 10]))
    longer = replace(longer, epochs=outcome_of(THROTTLED).epochs)
    assert not check_storage(longer, bytes_per_s=96 * MB).passed


def test_a_busy_client_is_found_and_nothing_else_taken_for_it():
    assert check_client(outcome_of(plan(2, 8, split={"decode_cpu": 1.0}))).passed
    assert not check_client(outcome_of(plan(2, 8))).passed


def test_a_slow_rank_must_be_named():
    loads = [[[10 * MS] * 8, [90 * MS] * 8]]
    slow = Plan(loads_ns=loads, declared_ns=[[100 * MS] * 8])
    assert check_straggler(outcome_of(slow)).passed
    other = replace(slow, loads_ns=[loads[0][::-1]])
    finding = check_straggler(outcome_of(other))
    assert not finding.passed
    assert "rank 1 not named" in finding.figures


def test_too_little_memory_is_a_refusal_or_a_limit():
    short = JobError(ExitCode.OUT_OF_MEMORY, "2 ranks keep 3 GB")
    assert check_memory(Outcome(error=short)).passed
    assert not check_memory(Outcome(error=JobError(ExitCode.RANK_DIED, "a rank died"))).passed
    assert not check_memory(outcome_of(plan(2, 8))).passed


def test_a_neighbour_and_cached_data_must_not_blame_the_storage():
    assert not check_neighbour(outcome_of(plan(2, 8))).passed
    assert check_neighbour(outcome_of(plan(2, 8, idle_share=0.0))).passed
    warm = plan(2, 8, load_ms=1, device_share=0.0)
    assert check_cached(outcome_of(warm, cache="warm")).passed
    assert not check_cached(outcome_of(plan(2, 8), cache="warm")).passed


@pytest.mark.parametrize(
    "check", [check_client, check_straggler, check_memory, check_neighbour, check_cached]
)
def test_a_run_without_figures_is_never_right(check):
    died = Outcome(error=JobError(ExitCode.RANK_DIED, "a rank died"))
    assert not check(died).passed
    assert not check(Outcome()).passed
    assert "a rank died" in check(died).figures


def test_causes_have_names_of_their_own_and_enough_steps_for_a_straggler():
    for causes in (all_causes(), short_causes()):
        assert len({cause.name for cause in causes}) == len(causes)
        assert min(cause.steps for cause in causes) >= 8


def test_a_slow_storage_is_planted_in_the_device_or_in_the_worker():
    cause = short_causes()[0]
    device = Means(device="/dev/vda", reason="")
    assert device.limits(cause) == {"/dev/vda": 400 * MB}
    assert device.planted(cause) is None
    worker = Means(device=None, reason="")
    assert worker.limits(cause) == {}
    assert worker.planted(cause).read_bytes_per_s == 400 * MB
    others = [one for one in short_causes() if one.read_bytes_per_s is None]
    assert all(means.limits(one) == {} for one in others for means in (device, worker))
    assert all(device.planted(one) is one.planted for one in others)


def test_a_neighbour_spins_and_is_gone_afterwards():
    def children():
        command = ["ps", "--ppid", str(os.getpid()), "-o", "args="]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return listed.count("while True: pass")

    with spinning(1):
        assert children() == len(os.sched_getaffinity(0))
    assert children() == 0


@pytest.mark.parametrize("times", ["0", "-1", "x", "1e3", "1001"])
def test_a_number_of_times_that_cannot_be_meant_is_refused(times, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["selftest", f"--times={times}"])
    assert caught.value.code == ExitCode.USAGE
    assert f"{times!r} is no number from 1 to 1000" in capsys.readouterr().err


def test_a_planted_run_says_so():
    recording = record(plan(2, 8))
    worker = replace(recording.worker, planted={"burn_s": 0.6, "slow_rank": None})
    result = build_result(replace(recording, worker=worker), facts(2))
    assert (
        result.warnings[0] == "this run was made slow on purpose, to test the verdict: burn_s 0.6"
    )
    assert result.worker["planted"] == {"burn_s": 0.6, "slow_rank": None}
    assert result.ceiling == no_ceiling("not measured")


def attempted(root, monkeypatch, *, ending, concluded):
    """Attempt a cause whose run ends like that and whose result cannot be written."""

    def conclude(*_):
        raise concluded

    monkeypatch.setattr("harness.selftest.attempt.run_ranks", lambda *_: ending)
    monkeypatch.setattr("harness.selftest.attempt.conclude", conclude)
    config = run("--results", str(root / "results"))
    engine = SimpleNamespace(name="local")
    known = dict.fromkeys(("target", "system", "progress"))
    setting = Setting(config=config, engine=engine, command=(), **known)
    means = Means(device=None, reason="")
    return attempt(setting, None, root / "data", short_causes()[0], means, seed=1)


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
STOP = StopRequested(15)


@pytest.mark.parametrize(
    ("ending", "raised"),
    [(Ending(), TargetError), (Ending(stop=STOP), StopRequested)],
)
def test_an_attempt_without_a_result_leaves_nothing(tmp_path, monkeypatch, ending, raised):
    with pytest.raises(raised):
        attempted(tmp_path, monkeypatch, ending=ending, concluded=FULL)
    assert list((tmp_path / "results" / "selftest").iterdir()) == []


def test_what_ended_an_attempt_is_told_although_the_disk_is_full(tmp_path, monkeypatch):
    killed = JobError(ExitCode.OUT_OF_MEMORY, "killed")
    ending = Ending(exit_code=killed.exit_code, error=killed)
    assert attempted(tmp_path, monkeypatch, ending=ending, concluded=FULL).error is killed


def test_the_log_of_an_attempt_without_a_recording_stays(tmp_path, monkeypatch):
    lack = ResultError("no recording")
    assert attempted(tmp_path, monkeypatch, ending=Ending(), concluded=lack).error is lack
    [home] = (tmp_path / "results" / "selftest").iterdir()
    assert not home.name.startswith(".")
    assert (home / "logs" / "progress.log").is_file()
