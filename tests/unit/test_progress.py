import io
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsgen import events
from dsgen.errors import ExitCode
from harness.pace import format_percent, format_rate, format_time, rate, time_left
from harness.progress import (
    Progress,
    ProgressEvent,
    TrainEvent,
    byte_pace,
    parse_event,
    train_pace,
)

GB = 10**9
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    """Seconds that a test moves."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def text_of(event) -> str:
    return json.dumps(event)


def train(**fields) -> dict:
    known = {"epoch": 1, "epochs": 5, "step": 0, "steps": 10, "phase": "train"}
    return {"kind": "train", **known, "bytes": 0, "elapsed_s": 0.0, **fields}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream():
    return io.StringIO()


def plain(stream, clock) -> Progress:
    return Progress(stream, is_terminal=False, clock=clock)


def test_lines_say_task_percent_rate_and_time_left(stream, clock):
    with plain(stream, clock) as progress:
        progress.line(text_of(events.progress("generate", 0, 16 * GB)))
        clock.now_s += 10
        progress.line(text_of(events.progress("generate", 4 * GB, 16 * GB)))
        clock.now_s += 30
        progress.line(text_of(events.progress("generate", 16 * GB, 16 * GB)) + "\n")
    assert stream.getvalue().splitlines() == [
        "generate 0 %",
        "generate 25 %, 400 MB/s, 30 s left",
        "generate 100 %, 400 MB/s",
    ]


def test_what_an_interrupted_task_had_done_before_does_not_count_as_speed(stream, clock):
    with plain(stream, clock) as progress:
        progress.line(text_of(events.progress("generate", 8 * GB, 16 * GB)))
        clock.now_s += 10
        progress.line(text_of(events.progress("generate", 10 * GB, 16 * GB)))
    assert stream.getvalue().splitlines()[-1] == "generate 62 %, 200 MB/s, 30 s left"


@given(
    waits=st.lists(st.floats(0.01, 20), min_size=1, max_size=300),
    total=st.integers(1, 10**13),
)
def test_a_log_gets_a_line_per_tenth_or_after_a_while_and_always_the_last(waits, total):
    stream, clock = io.StringIO(), Clock()
    started_s = clock.now_s
    with plain(stream, clock) as progress:
        for index, wait_s in enumerate(waits, start=1):
            clock.now_s += wait_s
            progress.line(text_of(events.progress("x", total * index // len(waits), total)))
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 11 + (clock.now_s - started_s) / 5
    assert lines[-1].startswith("x 100 %")


def test_a_long_tenth_is_not_silent(stream, clock):
    with plain(stream, clock) as progress:
        for done in range(120):
            progress.line(text_of(events.progress("x", done, 10**6)))
            clock.now_s += 1
    assert 3 <= len(stream.getvalue().splitlines()) <= 120 / 5


def test_training_gets_a_line_per_epoch_and_phase(stream, clock):
    with plain(stream, clock) as progress:
        for epoch in (1, 2):
            for step in range(1, 11):
                done = (epoch - 1) * 10 + step
                event = train(epoch=epoch, step=step, bytes=done * GB, elapsed_s=2.0 * done)
                progress.line(text_of(event))
            progress.line(text_of(train(epoch=epoch, phase="eval", steps=0, elapsed_s=20.0)))
    assert stream.getvalue().splitlines() == [
        "train epoch 1/5 step 1/10 2 %, 500 MB/s, 1 min 38 s left",
        "eval epoch 1/5 20 %, 1 min 20 s left",
        "train epoch 2/5 step 1/10 22 %, 500 MB/s, 1 min 18 s left",
        "eval epoch 2/5 40 %, 30 s left",
    ]


def test_notices_and_lines_that_are_no_events_are_shown_as_they_are(stream, clock):
    shown = [
        "Traceback (most recent call last):",
        '{"kind": "progress", "task": "x"}',
        '{"kind": "surprise"}',
        '{"half": ',
        "[bold]not markup[/bold]",
        "7",
    ]
    with plain(stream, clock) as progress:
        progress.line(text_of(events.notice("size was rounded up")))
        for line in shown:
            progress.line(line)
        progress.line("   ")
    assert stream.getvalue().splitlines() == ["size was rounded up", *shown]


@given(text=st.text())
@example('"","x":' + "9" * 400 + "}")
@example("[" * 3_000)
@example("\ud800")
def test_no_line_whatsoever_ends_a_run(text):
    for events_stream in (None, io.StringIO()):
        with Progress(io.StringIO(), is_terminal=False, events=events_stream) as progress:
            progress.line(text)
            progress.line('{"kind":"notice","text":' + text)


def test_the_last_error_is_kept_for_the_exit_code(stream, clock):
    with plain(stream, clock) as progress:
        assert progress.last_error is None
        progress.line(text_of(events.error(6, "first")))
        progress.line(text_of(events.error(8, "rank 3 died")))
        progress.line(text_of(events.notice("later")))
    assert progress.last_error.exit_code is ExitCode.RANK_DIED
    assert progress.last_error.text == "rank 3 died"
    assert "rank 3 died" not in stream.getvalue()


def test_events_pass_through_byte_for_byte_and_all_else_is_a_notice(stream, clock):
    passed = io.StringIO()
    lines = [
        '{"kind":"progress","task":"x","done_bytes":1,"total_bytes":2}',
        '{"kind": "notice",  "text": "two blanks"}',
        '{"kind":"of the future","x":1}',
        '{"kind":"error","exit_code":7,"text":"no space"}',
    ]
    progress = Progress(stream, is_terminal=True, events=passed, clock=clock)
    with progress:
        for line in lines:
            progress.line(line + "\n")
        progress.line("a warning of a library")
        progress.line('["no event"]')
        progress.say("for people")
        progress.end(events.result("results/result.json", 20))
    said = passed.getvalue().splitlines()
    assert said[: len(lines)] == lines
    assert [json.loads(line) for line in said[len(lines) :]] == [
        events.notice("a warning of a library"),
        events.notice('["no event"]'),
        events.notice("for people"),
        {"kind": "result", "path": "results/result.json", "exit_code": 20},
    ]
    assert stream.getvalue() == ""
    assert progress.last_error.exit_code == 7


def test_bars_on_a_terminal_move_and_leave_sentences_above(clock):
    stream = io.StringIO()
    with Progress(stream, is_terminal=True, clock=clock) as progress:
        progress.line(text_of(events.progress("generate", 0, 16 * GB)))
        clock.now_s += 10
        progress.line(text_of(events.progress("generate", 4 * GB, 16 * GB)))
        progress.line(text_of(events.notice("a [red]notice[/red]")))
        progress.line(text_of(train(epoch=2, step=5, bytes=GB, elapsed_s=10.0)))
    drawn = CONTROL.sub("", stream.getvalue())
    assert "generate 25 %, 400 MB/s, 30 s left" in drawn
    assert "train epoch 2/5 step 5/10 30 %, 100 MB/s" in drawn
    assert "a [red]notice[/red]\n" in drawn
    assert stream.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is back


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_path_of_the_outcome_is_on_standard_output_alone(is_terminal, stream, capsys):
    with Progress(stream, is_terminal=is_terminal) as progress:
        progress.line(text_of(events.progress("generate", 0, 16 * GB)))
        progress.end(events.data_set("data/imseg"))
    assert capsys.readouterr().out == "data/imseg\n"
    assert "data/imseg" not in stream.getvalue()


def test_a_failure_inside_leaves_the_terminal_in_order():
    stream = io.StringIO()

    def interrupted() -> None:
        with Progress(stream, is_terminal=True) as progress:
            progress.line(text_of(events.progress("generate", 0, 16 * GB)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stream.getvalue().count("\x1b[?25h") == 1


def test_events_of_the_data_side_are_understood():
    assert parse_event(text_of(events.progress("t", 1, 2))) == ProgressEvent(
        task="t", done_bytes=1, total_bytes=2
    )
    assert parse_event(text_of(events.error(11, "x"))).exit_code is ExitCode.RESULT
    assert parse_event(text_of(events.error(9999, "x"))) is None


@given(
    done=st.integers(0, 10**15),
    total=st.integers(0, 10**15),
    first=st.integers(0, 10**15),
    elapsed_s=st.floats(0, 1e10),
)
def test_paces_stay_within_bounds_for_any_counts(done, total, first, elapsed_s):
    event = ProgressEvent(task="x", done_bytes=done, total_bytes=total)
    pace = byte_pace(event, elapsed_s=elapsed_s, first_bytes=first)
    assert 0 <= pace.fraction <= 1
    assert pace.left_s is None or pace.left_s >= 0
    assert pace.text().startswith("x ")


@given(
    epoch=st.integers(0, 9),
    epochs=st.integers(0, 9),
    step=st.integers(0, 9),
    steps=st.integers(0, 9),
    phase=st.sampled_from(["train", "eval", "evict", "checkpoint", "new"]),
)
def test_training_paces_stay_within_bounds_for_any_counts(epoch, epochs, step, steps, phase):
    event = TrainEvent(
        epoch=epoch, epochs=epochs, step=step, steps=steps, phase=phase, bytes=1, elapsed_s=1.0
    )
    assert 0 <= train_pace(event).fraction <= 1


def test_eviction_comes_before_the_steps_of_its_epoch_and_evaluation_after():
    def fraction(**fields) -> float:
        event = parse_event(text_of(train(epoch=2, epochs=4, **fields)))
        return train_pace(event).fraction

    assert fraction(phase="evict", steps=0) == 0.25
    assert fraction(phase="train", step=5) == 0.375
    assert fraction(phase="eval", steps=3, step=1) == 0.5


@given(seconds=st.floats(0, 1e8))
def test_times_are_never_said_shorter_than_they_are(seconds):
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    words = format_time(seconds).split()
    said_s = sum(
        int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True)
    )
    assert seconds <= said_s <= seconds * 1.05 + 1
    assert len(words) <= 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.1, "1 min 00 s"),
        (3600, "1 h 00 min"),
        (3601, "1 h 01 min"),
        (86_399, "1 d 00 h"),
    ],
)
def test_times_carry_over_to_the_next_unit(seconds, text):
    assert format_time(seconds) == text


@given(fraction=st.floats(0, 1, exclude_max=True))
def test_hundred_percent_is_said_only_when_it_is_reached(fraction):
    assert format_percent(fraction) != "100 %"
    assert format_percent(1.0) == "100 %"


def test_rates_are_decimal_and_time_left_needs_a_start():
    assert format_rate(3_400_000_000.4) == "3.4 GB/s"
    assert rate(1, 1e-313) is None
    assert time_left(1, 2, 1e-313) is None
    assert time_left(0, 10, 5.0) is None
    assert time_left(5, 10, 0.0) is None
    assert time_left(10, 10, 5.0) == 0
