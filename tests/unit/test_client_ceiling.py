"""What a client could do over cached data, and when a wait for storage may be its own doing."""

from dataclasses import replace

import pytest

from harness.analysis.ceiling import Ceiling, client_au, compute_ceiling, no_ceiling
from harness.analysis.client import IDLE_SHARE, doubt
from harness.analysis.demand import Demand
from harness.analysis.epoch import epochs_of
from harness.analysis.machine import machine_use
from harness.analysis.result import build_result
from tests.golden.recordings import MS, Plan, cut, facts, plan, record

SLOW = plan(8, 10, load_ms=150)  # AU 40 %, all of it waiting for storage
STEPS = 5


def rehearsal(*, load_ms=10, bytes_per_step=1_000_000, first_ms=None, **more):
    loads = [[[50 * MS] * STEPS] * 2, [[load_ms * MS] * STEPS] * 2, [[load_ms * MS] * STEPS] * 2]
    if first_ms is not None:
        loads[2] = [[first_ms * MS, *[load_ms * MS] * (STEPS - 1)]] * 2
    declared = [[0] * STEPS, [0] * STEPS, [90 * MS] * STEPS]
    more = {"device_share": 0.0, **more}
    return record(Plan(loads_ns=loads, declared_ns=declared, bytes_per_step=bytes_per_step, **more))


def ceiling_of(recording):
    return compute_ceiling(recording, byte_source="proc")


def ceiling(au=None, bandwidth=None):
    return Ceiling(au=au, bandwidth_bytes_per_s=bandwidth, steps=5, reason=None)


def demand(bytes_per_s=1e9):
    return Demand(
        samples_per_s=1.0, bytes_per_s=bytes_per_s, mean_sample_bytes=1.0, mean_declared_ns=1.0
    )


def machine(idle_share):
    recording = record(plan(2, 2, idle_share=idle_share))
    return machine_use(recording.worker.machine, epochs_of(recording, warmup_epochs=0))


def verdict_of(what, **changes):
    recording = record(what)
    return build_result(recording, facts(recording.ranks, **changes)).verdict


def test_the_figures_are_those_of_the_second_and_the_third_epoch():
    found = ceiling_of(rehearsal())
    assert found.au == pytest.approx(90 / 100)
    # Two ranks, 1 MB each every 10 ms.
    assert found.bandwidth_bytes_per_s == pytest.approx(2 * 1e6 / 0.010)
    assert (found.steps, found.reason) == (STEPS, None)


def test_the_first_load_of_a_short_run_is_left_out_of_its_au():
    assert ceiling_of(rehearsal(first_ms=5_000)).au == pytest.approx(90 / 100)


def test_bytes_that_memory_did_not_hold_make_no_ceiling():
    found = ceiling_of(rehearsal(device_share=0.5))
    assert (found.au, found.bandwidth_bytes_per_s) == (None, None)
    assert "only 50 % of its bytes came from memory" in found.reason


def test_what_was_cut_short_or_read_nothing_says_so():
    assert "cut short" in ceiling_of(cut(rehearsal(), rank=0, rows=STEPS)).reason
    found = ceiling_of(rehearsal(bytes_per_step=0))
    assert found.au == pytest.approx(0.9)
    assert found.bandwidth_bytes_per_s is None
    assert "stays with the readers" in found.reason


@pytest.mark.parametrize(
    ("au", "bandwidth", "needed", "best"),
    [
        (0.97, 2e9, 1e9, 0.97),
        (0.97, 0.5e9, 1e9, 0.5),  # most of it was read ahead: bandwidth says more
        (0.97, None, 1e9, 0.97),
        (0.97, 2e9, None, 0.97),
        (1.02, 2e9, 1e9, 1.0),
        (None, 2e9, 1e9, None),
    ],
)
def test_a_client_allows_what_both_figures_allow(au, bandwidth, needed, best):
    assert client_au(ceiling(au, bandwidth), demand(needed)) == best


@pytest.mark.parametrize(
    ("idle", "found", "au", "reason"),
    [
        (0.5, no_ceiling("off"), 0.4, None),
        (IDLE_SHARE, ceiling(0.95, 9e9), 0.4, None),
        (0.09, ceiling(0.95, 9e9), 0.4, "idle for 9 % of it only"),
        (None, ceiling(0.95, 9e9), 0.4, "is unknown"),
        # Lost per declared second: 1.5 measured, 0.43 over cached data, 1 at an AU of 0.5.
        (0.5, ceiling(0.7, 9e9), 0.4, None),
        (0.5, ceiling(0.5, 9e9), 0.4, "the same run reaches AU 50 %"),
        (0.5, ceiling(0.95, 0.5e9), 0.4, "the same run reaches AU 50 %"),
    ],
)
def test_storage_is_doubted_where_the_client_may_have_been_slow(idle, found, au, reason):
    said = doubt(machine(idle), found, demand(), au)
    assert (reason in said) if reason else said is None


@pytest.mark.parametrize("idle", [0.05, None])
def test_waiting_for_storage_without_idle_cores_is_undecided(idle):
    verdict = verdict_of(replace(SLOW, idle_share=idle))
    assert (verdict.outcome, verdict.limit) == ("fail", "undecided")
    assert verdict.sentence.startswith("Client or storage, undecided: 8 x v100 wait, AU 40 %")
    assert verdict_of(SLOW).limit == "storage"


def test_a_client_as_slow_over_cached_data_is_undecided():
    verdict = verdict_of(SLOW, ceiling=ceiling(au=0.45))
    assert (verdict.outcome, verdict.limit) == ("fail", "undecided")
    assert "but over cached data the same run reaches AU 45 %." in verdict.sentence


def test_a_client_that_would_be_next_is_told_beside_the_storage():
    verdict = verdict_of(SLOW, ceiling=ceiling(au=0.8, bandwidth=5e9))
    assert verdict.limit == "storage"
    said = "This client would not reach 90 % over cached data either: AU 80 %, 5 GB/s."
    assert said in verdict.sentence
    assert said not in verdict_of(SLOW, ceiling=ceiling(au=0.95, bandwidth=5e9)).sentence


def test_idle_cores_do_not_matter_where_storage_is_not_blamed():
    busy = plan(8, 3, split={"io_cpu": 1.0}, idle_share=0.0)
    assert verdict_of(busy).limit == "client_cpu"
    assert verdict_of(plan(8, 3, load_ms=1, idle_share=0.0)).outcome == "pass"


def test_a_run_without_enough_memory_is_told_as_that():
    verdict = verdict_of(plan(2, 2), status="failed", exit_code=9)
    assert (verdict.outcome, verdict.limit) == ("withheld", "memory")
    assert "needs more memory than it was given" in verdict.sentence
    other = verdict_of(plan(2, 2), status="failed", exit_code=8)
    assert (other.outcome, other.limit) == ("withheld", "undecided")
