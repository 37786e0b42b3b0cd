from dataclasses import replace

import pytest

from harness.analysis.result import build_result
from harness.worker.record import Eviction
from tests.golden.recordings import MS, Plan, facts, plan, record


def verdict_of(recording, **changes):
    return build_result(recording, facts(recording.ranks, **changes)).verdict


def evidence(verdict, name):
    (value,) = [item.value for item in verdict.evidence if item.name == name]
    return value


def test_storage_that_keeps_up_passes():
    verdict = verdict_of(record(plan(8, 3, load_ms=1, bytes_per_step=10_000_000)))
    assert (verdict.outcome, verdict.limit) == ("pass", "none")
    assert verdict.sentence.startswith("Storage feeds 8 x v100: AU 99 % against 90 %, at 792 MB/s.")


@pytest.mark.parametrize("load_ms", [1, 50])
def test_nothing_is_said_of_storage_that_has_only_holes(load_ms):
    dataset = {"bytes": 100, "allocation": {"holes_bytes": 99, "shared_bytes": 0}}
    recording = record(plan(8, 3, load_ms=load_ms, bytes_per_step=10_000_000))
    verdict = verdict_of(recording, dataset=dataset)
    assert (verdict.outcome, verdict.limit) == ("withheld", "undecided")
    assert "99 % of the data set is holes" in verdict.sentence


def test_nothing_is_said_of_zeros_where_holes_were_meant():
    dataset = {"bytes": 100, "made_of_holes": True, "allocation": {"holes_bytes": 0}}
    recording = record(plan(8, 3, load_ms=1, bytes_per_step=10_000_000))
    assert verdict_of(recording, dataset=dataset).outcome == "withheld"


@pytest.mark.parametrize("holes_bytes", [None, 0, 1])
def test_a_hole_in_a_hundred_bytes_is_no_reason_to_say_nothing(holes_bytes):
    dataset = {"bytes": 100, "allocation": {"holes_bytes": holes_bytes, "shared_bytes": 0}}
    recording = record(plan(8, 3, load_ms=1, bytes_per_step=10_000_000))
    assert verdict_of(recording, dataset=dataset).outcome == "pass"


def test_slow_storage_is_named():
    verdict = verdict_of(record(plan(8, 3, split={"storage": 0.9, "io_cpu": 0.1})))
    assert (verdict.outcome, verdict.limit) == ("fail", "storage")
    assert verdict.sentence.startswith(
        "Storage holds 8 x v100 back: AU 66.6 % against 90 %; "
        "90 % of the lost time is waiting for storage."
    )
    assert evidence(verdict, "storage_share_of_lost") == pytest.approx(0.9)
    assert evidence(verdict, "lost") == pytest.approx(8 * 3 * 0.050)


def test_storage_is_named_when_ranks_take_turns_at_being_last():
    # At every step another rank waits 80 ms for storage and seven wait for it at the barrier.
    loads = [[[80 * MS if step == rank else 0 for step in range(8)] for rank in range(8)]]
    verdict = verdict_of(record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 8])))
    assert (verdict.outcome, verdict.limit) == ("fail", "storage")


@pytest.mark.parametrize("ranks", [2, 8])
def test_one_rank_that_alone_holds_the_others_back_is_named(ranks):
    loads = [[[10 * MS] * 8] * (ranks - 1) + [[90 * MS] * 8]]
    verdict = verdict_of(record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 8])))
    assert (verdict.outcome, verdict.limit) == ("fail", "straggler")
    assert verdict.sentence.startswith(f"Rank {ranks - 1} holds {ranks} x v100 back")
    assert evidence(verdict, "straggler_share_of_lost") == pytest.approx(80 / 90)


def test_one_rank_that_reads_for_all_is_no_straggler():
    loads = [[[80 * MS if rank == 0 else 0] * 8 for rank in range(8)]]
    recording = record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 8]))
    assert verdict_of(recording).limit == "straggler"
    alone = replace(recording, worker=replace(recording.worker, readers=1))
    assert (verdict_of(alone).outcome, verdict_of(alone).limit) == ("fail", "storage")


def test_where_calls_left_no_rows_nobody_is_blamed():
    recording = record(plan(8, 3))
    inferred = replace(recording, worker=replace(recording.worker, bytes="inferred"))
    result = build_result(inferred, facts(8))
    assert (result.verdict.outcome, result.verdict.limit) == ("fail", "undecided")
    assert "tf.data does not tell what for: AU 66.6 %" in result.verdict.sentence
    assert evidence(result.verdict, "storage_share_of_lost") is None
    assert evidence(result.verdict, "client_cpu_share_of_lost") is None
    assert any("bytes are inferred" in warning for warning in result.warnings)
    check = result.self_check
    assert (check.passed, check.bytes, check.checked_windows) == (True, "inferred", 0)


def test_one_long_stall_makes_no_straggler():
    loads = [[[10 * MS] * 8, [5 * MS] * 7 + [900 * MS]]]
    verdict = verdict_of(record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 8])))
    assert evidence(verdict, "straggler_share_of_lost") > 0.9
    assert (verdict.outcome, verdict.limit) == ("fail", "storage")


def test_a_rank_that_only_drew_more_bytes_is_no_straggler():
    loads = [[[10 * MS] * 8, [90 * MS] * 8]]
    recording = record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 8]))
    assert verdict_of(recording).limit == "straggler"
    recording.steps[1]["bytes"][1:] *= 9  # nine times the bytes in nine times the time
    for table in (recording.windows[1], recording.rows[1]):
        for name in ("row_bytes", "asked_bytes", "device_bytes", "returned"):
            if name in table.dtype.names:
                table[name] *= 9
    recording.windows[1]["rchar"] = recording.windows[1]["row_bytes"] + 40
    assert verdict_of(recording).limit == "storage"


def test_a_rank_with_a_slow_processor_is_a_straggler_whatever_it_read():
    loads = [[[10 * MS] * 8, [90 * MS] * 8]]
    slow = Plan(loads_ns=loads, declared_ns=[[100 * MS] * 8], split={"decode_cpu": 1.0})
    recording = record(slow)
    recording.steps[1]["io_wall_ns"] = recording.steps[0]["io_wall_ns"]
    assert verdict_of(recording).limit == "straggler"


def test_a_few_steps_name_no_straggler():
    loads = [[[10 * MS] * 7, [90 * MS] * 7]]
    verdict = verdict_of(record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 7])))
    assert (verdict.outcome, verdict.limit) == ("fail", "storage")


@pytest.mark.parametrize("part", ["io_cpu", "decode_cpu", "runqueue"])
def test_a_busy_client_is_named(part):
    verdict = verdict_of(record(plan(8, 3, split={part: 0.7, "storage": 0.3})))
    assert (verdict.outcome, verdict.limit) == ("fail", "client_cpu")
    assert "70 % of the lost time goes to reading" in verdict.sentence
    assert "30 % to the storage." in verdict.sentence


def test_an_emulation_that_ends_late_is_named():
    verdict = verdict_of(record(plan(8, 3, load_ms=2, overshoot_ns=30 * MS)))
    assert (verdict.outcome, verdict.limit) == ("fail", "emulator")


def test_storage_that_is_largest_without_a_majority_is_not_blamed():
    # 30 + 20 ms of load and 16 ms too late: storage has 30 of 66.
    split = {"storage": 0.6, "io_cpu": 0.4}
    verdict = verdict_of(record(plan(8, 3, split=split, overshoot_ns=16 * MS)))
    assert (verdict.outcome, verdict.limit) == ("fail", "undecided")
    assert evidence(verdict, "storage_share_of_lost") == pytest.approx(30 / 66)


@pytest.mark.parametrize(
    ("load_ms", "late_ms"), [(60, 20), (48, 32)], ids=["client_cpu", "emulator"]
)
def test_no_cause_without_a_majority_is_blamed(load_ms, late_ms):
    split = {"storage": 0.47, "io_cpu": 0.53}
    verdict = verdict_of(
        record(plan(8, 3, load_ms=load_ms, split=split, overshoot_ns=late_ms * MS))
    )
    assert (verdict.outcome, verdict.limit) == ("fail", "undecided")


def test_no_single_cause_is_said_to_be_none():
    split = {"storage": 0.5, "io_cpu": 0.5}
    verdict = verdict_of(record(plan(8, 3, split=split, overshoot_ns=10 * MS)))
    assert (verdict.outcome, verdict.limit) == ("fail", "undecided")
    assert "storage 41.6 %, client processor 41.6 %, emulation 16.6 %" in verdict.sentence


@pytest.mark.parametrize(("threshold", "outcome"), [(0.66, "pass"), (0.67, "fail")])
def test_the_threshold_decides(threshold, outcome):
    assert verdict_of(record(plan(2, 2)), threshold_au=threshold).outcome == outcome


@pytest.mark.parametrize(
    ("status", "words"), [("failed", "the run failed"), ("interrupted", "the run was interrupted")]
)
def test_a_run_that_did_not_end_well_gets_no_verdict(status, words):
    verdict = verdict_of(record(plan(2, 2, load_ms=1)), status=status)
    assert (verdict.outcome, verdict.limit) == ("withheld", "undecided")
    assert words in verdict.sentence


def test_a_recording_that_contradicts_the_kernel_gets_no_verdict():
    recording = record(plan(2, 2, load_ms=1))
    recording.windows[0]["rchar"] += 1
    verdict = verdict_of(recording)
    assert verdict.outcome == "withheld"
    assert "self-check" in verdict.sentence


def test_cold_that_was_not_cold_gets_no_verdict():
    verdict = verdict_of(record(plan(2, 2, load_ms=1, device_share=0.3)))
    assert (verdict.outcome, verdict.limit) == ("withheld", "memory")
    assert "70 % of the bytes came from memory" in verdict.sentence


@pytest.mark.parametrize("cache", ["warm", "once", "asis"])
def test_storage_that_was_hardly_read_is_not_said_to_feed_anything(cache):
    verdict = verdict_of(record(plan(2, 2, load_ms=1, device_share=0.01)), cache=cache)
    assert (verdict.outcome, verdict.limit) == ("withheld", "memory")
    assert verdict.sentence.startswith(
        "No verdict on the storage: 99 % of the bytes came from memory, which feeds 2 x v100: "
        "AU 99 % against 90 %."
    )


def test_a_client_that_is_too_slow_even_from_memory_is_named():
    verdict = verdict_of(record(plan(2, 2, split={"io_cpu": 1}, device_share=0)), cache="warm")
    assert (verdict.outcome, verdict.limit) == ("fail", "client_cpu")


def test_memory_that_was_asked_for_is_told_in_the_sentence():
    verdict = verdict_of(record(plan(2, 2, load_ms=1, device_share=0.6)), cache="once")
    assert verdict.outcome == "pass"
    assert "40 % of the bytes came from memory, not from the storage." in verdict.sentence


@pytest.mark.parametrize("cache", ["cold", "warm", "once", "asis"])
@pytest.mark.parametrize("load_ms", [1, 50], ids=["fed", "held back"])
@pytest.mark.parametrize(("share", "withheld"), [(0.499, True), (0.5, False), (1.0, False)])
def test_nothing_is_said_of_a_storage_that_fewer_than_half_of_the_bytes_came_from(
    cache, load_ms, share, withheld
):
    verdict = verdict_of(record(plan(2, 2, load_ms=load_ms, device_share=share)), cache=cache)
    said = (verdict.outcome, verdict.limit)
    if withheld:
        assert said == ("withheld", "memory")
        assert "50.1 % of the bytes came from memory" in verdict.sentence
        assert verdict.sentence.startswith("No verdict")
    else:
        assert said == (("pass", "none") if load_ms == 1 else ("fail", "storage"))


def test_no_knowledge_of_device_and_memory_gives_no_verdict():
    verdict = verdict_of(record(plan(2, 2, load_ms=1, device_share=None)))
    assert verdict.outcome == "withheld"
    assert "unknown on this target" in verdict.sentence
    assert evidence(verdict, "memory_share") is None


@pytest.mark.parametrize(
    ("resident", "outcome"), [(0.0, "pass"), (0.4, "withheld"), (None, "withheld")]
)
def test_a_probed_eviction_stands_in_for_a_device_counter(resident, outcome):
    eviction = Eviction(epoch=1, files=2, bytes=1_000, seconds=0.1, resident_fraction=resident)
    recording = record(plan(2, 2, load_ms=1, device_share=None, evictions=(eviction,)))
    assert verdict_of(recording).outcome == outcome


@pytest.mark.parametrize(
    ("share", "client"), [(1.0, "cold"), (1.3, "cold"), (0.5, "unknown"), (0.0, "warm")]
)
def test_the_client_is_called_cold_or_warm_only_on_proof(share, client):
    recording = record(plan(2, 2, device_share=share))
    assert build_result(recording, facts(2, cache="asis")).client == client


def test_a_small_demand_is_said_not_to_test_bandwidth():
    assert "cannot test bandwidth" in verdict_of(record(plan(2, 2, load_ms=1))).sentence


def test_the_profile_of_ci_is_said_to_be_no_accelerator():
    accelerators = {"count": 2, "profile": "ci", "batch_size": 2}
    verdict = verdict_of(record(plan(2, 2, load_ms=1)), accelerators=accelerators)
    assert verdict.sentence.endswith("Profile ci describes no real accelerator.")


def test_accelerators_that_compute_are_named_by_their_devices():
    accelerators = {"kind": "tensorflow", "count": 2, "batch_size": 2, "device": ["Xeon", "Xeon"]}
    verdict = verdict_of(record(plan(2, 2, load_ms=1)), accelerators=accelerators)
    assert "2 x TensorFlow on Xeon" in verdict.sentence
    split = {"storage": 0.5, "io_cpu": 0.5}
    wait = verdict_of(record(plan(2, 3, split=split)), accelerators=accelerators)
    assert wait.sentence.startswith("2 x TensorFlow on Xeon wait, and no single cause")
    assert "client processor 50 % of the lost time" in wait.sentence
    assert "emulation" not in wait.sentence
    for devices in ({}, {"device": [None, None]}):
        unknown = {"kind": "tensorflow", "count": 2, "batch_size": 2, **devices}
        verdict = verdict_of(record(plan(2, 2, load_ms=1)), accelerators=unknown)
        assert "2 x TensorFlow on unknown" in verdict.sentence


def test_au_is_never_rounded_up_to_the_mark():
    loads, declared = [[[1_001] * 10]], [[9_000] * 10]
    verdict = verdict_of(record(Plan(loads_ns=loads, declared_ns=declared)))
    assert verdict.outcome == "fail"
    assert "AU 89.9 % against 90 %" in verdict.sentence


def test_two_slow_ranks_are_no_straggler():
    loads = [[[10 * MS] * 3, [80 * MS] * 3, [90 * MS] * 3]]
    verdict = verdict_of(record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 3])))
    assert (verdict.outcome, verdict.limit) == ("fail", "storage")
    assert evidence(verdict, "straggler_share_of_lost") == pytest.approx(10 / 90)


def test_passes_without_an_accelerator_have_no_verdict_and_say_why():
    # What a training is prepared by: all the time is waiting, and nothing is declared.
    verdict = verdict_of(record(plan(8, 3, load_ms=100, declared_ms=0, bytes_per_step=10_000_000)))
    assert (verdict.outcome, verdict.limit) == ("withheld", "undecided")
    assert "no accelerator waits for it; it was read at 800 MB/s" in verdict.sentence
    assert evidence(verdict, "au") is None
