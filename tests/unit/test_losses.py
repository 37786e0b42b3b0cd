from dataclasses import replace

import pytest

from harness.analysis.epoch import epochs_of
from harness.analysis.losses import KINDS, Losses, compute_losses, total_losses
from harness.analysis.result import build_result
from harness.analysis.selfcheck import REST_LIMIT, check_recording, is_unexplained
from tests.golden.recordings import MS, Plan, cut, facts, plan, record

SPLIT = {"storage": 0.5, "io_cpu": 0.2, "decode_cpu": 0.2, "runqueue": 0.1}


def losses_of(recording, *, warmup=0):
    return compute_losses(recording, epochs_of(recording, warmup_epochs=warmup))


@pytest.mark.parametrize("ranks", [1, 2, 8])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_losses_are_those_of_the_arithmetic(ranks, steps):
    recording = record(plan(ranks, steps, split=SPLIT, overshoot_ns=3 * MS))
    for own in losses_of(recording):
        assert own.wall == steps * (50 + 100 + 3) * MS
        assert own.compute == steps * 100 * MS
        assert own.emulator_overshoot == steps * 3 * MS
        assert own.storage_wait == steps * 25 * MS
        assert own.io_cpu == own.decode_cpu == steps * 10 * MS
        assert own.runqueue == steps * 5 * MS
        assert own.barrier == own.eval == own.checkpoint == own.rest == 0


def test_the_fast_rank_waits_at_the_barrier_for_the_slow_one():
    loads = [[[50 * MS] * 3, [100 * MS] * 3]]
    fast, slow = losses_of(record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 3])))
    assert (fast.storage_wait, fast.barrier) == (150 * MS, 150 * MS)
    assert (slow.storage_wait, slow.barrier) == (300 * MS, 0)
    assert fast.wall == slow.wall == 600 * MS


@pytest.mark.parametrize("wake_ns", [0, 11 * MS])
@pytest.mark.parametrize(
    "split", [{"storage": 1.0}, {"storage": 0.3}, {"io_cpu": 0.7, "runqueue": 0.5}]
)
def test_losses_sum_to_the_wall_exactly(wake_ns, split):
    loads = [[[7 * MS, 13 * MS], [29 * MS, 3 * MS], [1 * MS, 1 * MS]]] * 3
    recording = record(
        Plan(
            loads_ns=loads,
            declared_ns=[[10 * MS, 11 * MS]] * 3,
            split=split,
            overshoot_ns=123_457,
            wake_ns=wake_ns,
            eval_ns=31 * MS,
            checkpoint_ns=17 * MS,
        )
    )
    for own in losses_of(recording):
        assert sum(getattr(own, kind) for kind in KINDS) == own.wall


def test_evaluation_and_checkpoint_stand_on_their_own():
    recording = record(plan(2, 2, eval_ns=40 * MS, checkpoint_ns=60 * MS))
    zero, one = losses_of(recording)
    assert (zero.eval, zero.checkpoint, zero.wall) == (40 * MS, 60 * MS, (300 + 40 + 60) * MS)
    assert (one.eval, one.checkpoint, one.wall) == (40 * MS, 0, (300 + 40) * MS)


def test_an_accelerator_that_ends_early_computed_no_longer_than_it_took():
    recording = record(plan(1, 2, overshoot_ns=-20 * MS))
    (own,) = losses_of(recording)
    assert (own.compute, own.emulator_overshoot, own.rest) == (160 * MS, 0, 0)


def test_warm_up_is_in_no_loss():
    loads = [[[50 * MS] * 2]] * 2
    recording = record(Plan(loads_ns=loads, declared_ns=[[100 * MS] * 2] * 2, eval_ns=9 * MS))
    (own,) = losses_of(recording, warmup=1)
    assert own.wall == (300 + 9) * MS


def test_totals_are_accelerator_seconds():
    total = total_losses(losses_of(record(plan(8, 3))))
    assert total.wall == pytest.approx(8 * 0.450)
    assert total.storage_wait == pytest.approx(8 * 0.150)


def test_nothing_measured_has_no_losses():
    assert losses_of(cut(record(plan(2, 2)), rank=0, rows=0)) == []


def test_a_sound_recording_passes_its_check():
    recording = record(plan(2, 2, eval_ns=5 * MS, checkpoint_ns=5 * MS))
    check = check_recording(recording, losses_of(recording))
    assert check.passed
    assert check.checked_windows == 2 + 2 + 1
    assert check.rest_share == 0


def test_unexplained_time_above_the_limit_is_named():
    recording = record(plan(2, 2, split={"storage": 0.98}))  # 1 of 50 ms in each 150 ms step
    check = check_recording(recording, losses_of(recording))
    assert not check.passed
    assert check.rest_share == pytest.approx(1 / 150)
    assert "rank 0: 0.67% of its wall time is unexplained" in check.problems[0]


def test_unexplained_time_below_the_limit_is_only_a_figure():
    recording = record(plan(2, 2, split={"storage": 0.99}))
    check = check_recording(recording, losses_of(recording))
    assert check.passed
    assert 0 < check.rest_share < REST_LIMIT


@pytest.mark.parametrize(
    ("wall_ms", "rest_us", "is_problem"),
    [(2, -27, False), (2, 99, False), (2, 101, True), (40, 199, False), (40, -201, True)],
)
def test_a_tenth_of_a_millisecond_is_no_problem_however_short_the_run(wall_ms, rest_us, is_problem):
    kinds = dict.fromkeys(KINDS, 0) | {"rest": rest_us * 1_000}
    assert is_unexplained(Losses(rank=0, wall=wall_ms * MS, **kinds)) is is_problem


def test_explaining_more_than_there_was_is_a_problem_too():
    recording = record(plan(1, 2, split={"storage": 1.1}))
    assert not check_recording(recording, losses_of(recording)).passed


def test_a_byte_that_the_kernel_counted_and_no_row_holds_is_found():
    recording = record(plan(2, 2))
    recording.windows[1]["rchar"] += 1
    check = check_recording(recording, losses_of(recording))
    assert not check.passed
    assert check.problems == [
        "rank 1, epoch 1, train: the kernel counted 2,041 bytes read, "
        "the recording 2,000 and 40 beside the data"
    ]


def test_a_lost_row_is_found():
    recording = record(plan(2, 2))
    rows = (recording.rows[0][:-1], recording.rows[1])
    check = check_recording(replace(recording, rows=rows), losses_of(recording))
    assert check.problems == ["rank 0, epoch 1, train: rows hold 1,000 bytes, their window 2,000"]


def test_nothing_checked_is_not_passed():
    recording = cut(record(plan(1, 2)), rank=0, rows=0)
    assert not check_recording(recording, []).passed


def test_a_wait_for_another_ranks_reader_is_no_lost_core():
    # Both ranks count half of their wait as without a core, of which the run queue knows nothing.
    recording = record(plan(2, 3, split={"runqueue": 0.5, "storage": 0.5}))
    for own in recording.steps:
        own["runqueue_ns"][1:] = 1

    def suspects(recording):
        return [text for text in build_result(recording, facts(2)).warnings if "core" in text]

    assert [text[:6] for text in suspects(recording)] == ["rank 0", "rank 1"]
    # A rank that made no call waited for one that did, and slept.
    alone = replace(recording, rows=(recording.rows[0], recording.rows[1][:0]))
    assert [text[:6] for text in suspects(alone)] == ["rank 0"]
