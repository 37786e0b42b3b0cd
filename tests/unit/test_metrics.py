from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.demand import compute_demand
from harness.analysis.epoch import epochs_of
from harness.analysis.metrics import compute_metrics, epoch_facts
from tests.golden.recordings import MS, Plan, cut, plan, record

# 50 ms of load and 100 ms of compute in every step, nothing hidden: a step takes 150 ms.


def figures(recording, *, warmup=0, byte_source="proc"):
    epochs = epochs_of(recording, warmup_epochs=warmup)
    return epochs, compute_metrics(epochs, byte_source=byte_source)


@pytest.mark.parametrize("ranks", [1, 2, 8])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_au_and_rates_are_those_of_the_arithmetic(ranks, steps):
    _, metrics = figures(record(plan(ranks, steps)))
    window_s = steps * 0.150
    assert metrics.au.value == pytest.approx((steps * 0.100) / window_s)
    assert [own.value for own in metrics.au.per_rank] == pytest.approx([100 / 150] * ranks)
    assert metrics.throughput_samples_per_s.value == pytest.approx(ranks * 2 * steps / window_s)
    assert metrics.bandwidth_bytes_per_s.value == pytest.approx(ranks * 1_000 * steps / window_s)
    assert metrics.load_time_ns.count == ranks * steps
    assert metrics.load_time_ns.p50 == metrics.load_time_ns.max == 50 * MS


def test_one_rank_twice_as_slow_sets_the_pace_of_all():
    loads = [[[50 * MS] * 3, [100 * MS] * 3]]
    _, metrics = figures(record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 3])))
    assert metrics.au.value == pytest.approx(300 / (3 * (100 + 100)))
    assert metrics.throughput_samples_per_s.value == pytest.approx(2 * 2 * 3 / 0.600)


def test_the_window_starts_when_the_last_rank_arrives_not_when_others_wake():
    # Ranks wake 7 ms late, then load. The release is rank 0's end: argmax takes the first.
    recording = record(plan(2, 2, wake_ns=7 * MS))
    _, metrics = figures(recording)
    first = 7 + 50 + 100  # rank 1 woke late and is the last to arrive, so it does not wake late
    second = 7 + 50 + 100  # now rank 0 woke late
    assert metrics.au.value == pytest.approx(200 / (first + second))
    # Rank 1: from its own late leaving of barrier 0 to its late leaving of barrier 2.
    ends = recording.steps[1]["barrier_end_ns"]
    assert metrics.au.per_rank[1].value == pytest.approx(200 * MS / (ends[2] - ends[0]))


def test_mlperf_style_leaves_the_first_step_out_and_counts_measured_compute():
    loads = [[[500 * MS, 50 * MS, 50 * MS]]]
    plan_ = Plan(loads_ns=loads, declared_ns=[[100 * MS] * 3], overshoot_ns=10 * MS)
    _, metrics = figures(record(plan_))
    assert metrics.au_mlperf_style.value == pytest.approx(220 / 320)
    assert metrics.au.value == pytest.approx(300 / (610 + 160 + 160))
    assert "first step" in metrics.au_mlperf_style.formula


def test_mlperf_style_of_epochs_of_one_step_is_unknown():
    assert figures(record(plan(2, 1)))[1].au_mlperf_style.value is None


def test_run_figures_weigh_epochs_by_their_time_and_leave_warm_up_out():
    loads = [[[900 * MS] * 2], [[100 * MS] * 2], [[0] * 2]]
    recording = record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 2] * 3))
    epochs, metrics = figures(recording, warmup=1)
    assert [epoch.warm_up for epoch in epochs] == [True, False, False]
    assert [own.value for own in metrics.au.per_epoch] == pytest.approx([0.1, 0.5, 1.0])
    assert metrics.au.value == pytest.approx((200 + 200) / (400 + 200))
    assert metrics.load_time_ns.count == 4


def test_only_warm_up_leaves_every_run_figure_unknown():
    _, metrics = figures(record(plan(2, 2)), warmup=1)
    assert metrics.au.value is None
    assert metrics.throughput_samples_per_s.value is None
    assert metrics.bandwidth_bytes_per_s.value is None
    assert metrics.load_time_ns.p50 is None


def test_an_epoch_without_steps_has_no_figures_and_divides_by_nothing():
    recording = record(plan(2, 2))
    bare = replace(recording, steps=tuple(rows[:1] for rows in recording.steps))
    epochs, metrics = figures(bare)
    facts = epoch_facts(epochs[0], byte_source="proc")
    assert (facts.steps, facts.window_ns, facts.complete) == (0, None, False)
    assert metrics.au.value is None
    assert metrics.au.per_epoch[0].value is None


def test_p99_needs_a_thousand_values():
    assert figures(record(plan(1, 999)))[1].load_time_ns.p99 is None
    assert figures(record(plan(1, 1_000)))[1].load_time_ns.p99 == 50 * MS


def test_unknown_device_bytes_are_null_everywhere():
    epochs, metrics = figures(record(plan(2, 2, device_share=None)))
    facts = epoch_facts(epochs[0], byte_source="proc")
    for bytes_ in (metrics.bytes, facts.bytes):
        assert bytes_.device.value is None
        assert bytes_.device.source == "none"
        assert bytes_.page_cache is None
        assert bytes_.memory_share is None


def test_one_rank_without_a_counter_makes_the_sum_unknown():
    recording = record(plan(2, 2))
    windows = [rows.copy() for rows in recording.windows]
    windows[1]["device_bytes"] = -1
    _, metrics = figures(replace(recording, windows=tuple(windows)))
    assert metrics.bytes.device.value is None


def test_a_target_without_a_byte_source_is_not_believed():
    assert figures(record(plan(2, 2)), byte_source="none")[1].bytes.device.value is None


def test_bytes_add_up():
    _, metrics = figures(record(plan(2, 3, device_share=0.25)))
    assert metrics.bytes.returned == 2 * 3 * 1_000
    assert metrics.bytes.asked == 2 * 3 * (1_000 + 96)
    assert metrics.bytes.device.value == 1_500
    assert metrics.bytes.page_cache == 4_500


def test_what_one_epoch_fetched_too_much_does_not_hide_that_memory_answered_in_another():
    recording = record(Plan(loads_ns=[[[50 * MS]] * 2] * 2, declared_ns=[[100 * MS]] * 2))
    for rows in recording.windows:
        rows["device_bytes"] = (2_000, 0)
    _, metrics = figures(recording)
    assert (metrics.bytes.returned, metrics.bytes.device.value) == (4_000, 4_000)
    assert metrics.bytes.memory_share == 0.5


def test_an_epoch_that_a_rank_did_not_finish_is_told_and_left_out():
    loads = [[[50 * MS] * 3] * 2] * 2
    whole = record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 3] * 2))
    epochs, metrics = figures(cut(whole, rank=1, rows=4 + 2))  # epoch 2: opening and one step
    assert [(e.complete, e.step_count) for e in epochs] == [(True, 3), (False, 1)]
    assert metrics.au.value == pytest.approx(100 / 150)
    assert metrics.au.per_epoch[1].value == pytest.approx(100 / 150)
    assert metrics.load_time_ns.count == 2 * 3


def test_a_rank_without_rows_leaves_no_epoch_to_measure():
    epochs, metrics = figures(cut(record(plan(2, 3)), rank=0, rows=0))
    assert [epoch.complete for epoch in epochs] == [False]
    assert metrics.au.value is None


def test_nothing_recorded_gives_no_figures():
    recording = cut(cut(record(plan(2, 3)), rank=0, rows=0), rank=1, rows=0)
    epochs, metrics = figures(recording)
    assert epochs == ()
    assert metrics.au.value is None


def test_demand_is_what_full_use_would_ask_for():
    epochs, _ = figures(record(plan(8, 3)))
    demand = compute_demand(epochs, 500.0)
    assert demand.samples_per_s == pytest.approx(8 * 2 / 0.100)
    assert demand.mean_sample_bytes == 500
    assert demand.bytes_per_s == pytest.approx(160 * 500)


def test_demand_does_not_grow_with_what_a_pipeline_reads_ahead():
    recording = record(plan(8, 3))
    before = compute_demand(figures(recording)[0], 500.0)
    for windows in recording.windows:
        windows["row_bytes"] *= 100
        windows["rchar"] *= 100
    assert compute_demand(figures(recording)[0], 500.0) == before


def test_demand_counts_the_samples_of_a_short_last_step():
    recording = record(plan(8, 3))
    for windows in recording.windows:
        windows["samples"] -= 1
    demand = compute_demand(figures(recording)[0], 500.0)
    assert demand.samples_per_s == pytest.approx(8 * 5 / 0.300)


def test_bytes_of_a_sample_that_are_unknown_are_no_demand_of_zero():
    demand = compute_demand(figures(record(plan(8, 3)))[0], None)
    assert demand.bytes_per_s is None
    assert demand.samples_per_s == pytest.approx(160)


def test_rows_in_any_order_give_the_same_figures():
    recording = record(plan(2, 3))
    shuffled = tuple(
        rows[np.random.default_rng(1).permutation(len(rows))] for rows in recording.steps
    )
    assert figures(replace(recording, steps=shuffled))[1] == figures(recording)[1]


def test_a_rank_that_wakes_late_after_the_last_barrier_does_not_lengthen_the_window():
    recording = record(plan(2, 2))
    recording.steps[0]["barrier_end_ns"][-1] += 40 * MS
    _, metrics = figures(recording)
    assert metrics.au.value == pytest.approx(200 / 300)
    assert metrics.au.per_rank[0].value == pytest.approx(200 / 340)


def test_an_epoch_with_fewer_steps_than_the_worker_planned_is_not_complete():
    recording = record(plan(2, 3))
    fewer = replace(recording, steps=tuple(rows[:3] for rows in recording.steps))
    assert [epoch.complete for epoch in figures(fewer)[0]] == [False]


def test_ranks_that_disagree_on_the_last_step_leave_an_epoch_incomplete():
    recording = record(plan(2, 3))
    steps = (recording.steps[0], recording.steps[1][:3])
    worker = replace(recording.worker, steps_per_epoch=None)
    assert [e.complete for e in figures(replace(recording, steps=steps, worker=worker))[0]] == [
        False
    ]
