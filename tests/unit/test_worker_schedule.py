"""Parts of an epoch, between which it is evaluated: every step once, and counts that hold."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.worker.schedule import (
    checkpoints_of_run,
    evaluations_of_run,
    parts_of_epoch,
    parts_of_run,
)
from tests.unit.worker_run import make_spec

FEW = st.integers(0, 7)


def spec_of(*, epochs=1, eval_from=1, eval_every=1, every_steps=0):
    return make_spec(
        Path("/"),
        Path("/data"),
        epochs=epochs,
        eval_from=eval_from,
        eval_every=eval_every,
        eval_every_steps=every_steps,
    )


def all_parts(spec, steps, *, after_tests=True):
    epochs = range(1, spec.epochs + 1)
    return [parts_of_epoch(spec, epoch, steps, after_tests=after_tests) for epoch in epochs]


def test_the_reference_tests_twice_in_32768_steps():
    [parts] = all_parts(spec_of(every_steps=16_384), 32_768)
    assert [(part.start, part.stop) for part in parts] == [(0, 16_384), (16_384, 32_768)]
    assert all(part.evaluated and part.saved for part in parts)


def test_a_shorter_epoch_is_evaluated_at_its_end():
    [parts] = all_parts(spec_of(every_steps=16_384), 77)
    assert [(part.start, part.stop, part.evaluated) for part in parts] == [(0, 77, True)]


def test_an_epoch_that_no_evaluation_follows_has_none_within():
    first, second = all_parts(spec_of(epochs=2, eval_from=2, every_steps=3), 7)
    assert [(part.start, part.stop, part.evaluated) for part in first] == [(0, 7, False)]
    assert [(part.start, part.stop) for part in second] == [(0, 3), (3, 6), (6, 7)]
    assert [(part.evaluated, part.saved) for part in second] == [(True, True)] * 3


def test_without_an_evaluation_the_last_epoch_is_saved_all_the_same():
    first, second = all_parts(spec_of(epochs=2, eval_from=0, every_steps=3), 7)
    assert [part.saved for part in first + second] == [False, True]


def test_what_is_saved_at_the_end_is_saved_once_and_after_the_evaluation():
    parts = all_parts(spec_of(epochs=2, every_steps=3), 7, after_tests=False)
    assert [part.saved for own in parts for part in own] == [False] * 5 + [True]


@given(st.integers(1, 5), FEW, st.integers(1, 3), FEW, st.integers(1, 20), st.booleans())
def test_every_step_is_taken_once_and_counts_are_those_of_the_parts(
    epochs, eval_from, eval_every, every_steps, steps, after_tests
):
    spec = spec_of(
        epochs=epochs, eval_from=eval_from, eval_every=eval_every, every_steps=every_steps
    )
    parts = all_parts(spec, steps, after_tests=after_tests)
    for own in parts:
        assert [step for part in own for step in range(part.start, part.stop)] == list(range(steps))
    every = [part for own in parts for part in own]
    assert len(every) == parts_of_run(spec, steps)
    assert sum(part.evaluated for part in every) == evaluations_of_run(spec, steps)
    saved = sum(part.saved for part in every)
    assert saved == checkpoints_of_run(spec, steps, after_tests=after_tests)
    assert every[-1].saved
