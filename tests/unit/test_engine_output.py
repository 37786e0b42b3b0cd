"""Lines out of chunks, and a watch that ends at the right moment."""

import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.output import Output, lines
from harness.engine.supervise import supervise
from harness.errors import EngineError, StopRequested


@given(text=st.text(alphabet="ab\u00e9\n", max_size=60), data=st.data())
def test_lines_do_not_depend_on_where_chunks_are_cut(text, data):
    whole = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    wanted = text.split("\n")
    if wanted[-1] == "":
        wanted.pop()
    assert list(lines(chunks)) == wanted


def test_bytes_that_are_no_text_do_not_end_the_job():
    assert list(lines([b"a\xffb\r\n"])) == ["a\ufffdb"]


class Still:
    """A job that runs until it is told otherwise, and notes what it was told."""

    def __init__(self, ends_at="kill"):
        self.told = []
        self.ends_at = ends_at

    def alive(self):
        return self.ends_at not in self.told

    def terminate(self):
        self.told.append("terminate")

    def kill(self):
        self.told.append("kill")


def output(tmp_path, stdout, stderr=()):
    made = Output(stdout=stdout, stderr=stderr, log=tmp_path / "log")
    made.start()
    return made


def test_a_time_limit_ends_a_silent_job(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.engine.supervise.GRACE_S", 0.1)
    job = Still()
    assert supervise(job, output(tmp_path, []), print, 0.2)
    assert job.told[:2] == ["terminate", "kill"]


def test_a_job_that_heeds_the_request_is_not_waited_for(tmp_path):
    job = Still(ends_at="terminate")
    started = time.monotonic()
    assert supervise(job, output(tmp_path, []), print, 0.2)
    assert time.monotonic() - started < 5


def test_a_flood_of_lines_does_not_outrun_the_time_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.engine.supervise.GRACE_S", 0.1)
    monkeypatch.setattr("harness.engine.supervise.DRAIN_S", 0.1)
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            yield b"line\n"
            time.sleep(0.001)

    try:
        assert supervise(Still(), output(tmp_path, flood()), lambda _line: None, 0.3)
    finally:
        stop.set()


def test_a_second_stop_ends_the_grace(tmp_path):
    def on_line(_line):
        raise StopRequested(15)

    job = Still()
    started = time.monotonic()
    with pytest.raises(StopRequested):
        supervise(job, output(tmp_path, [b"one\ntwo\n"]), on_line, None)
    assert job.told == ["terminate", "kill"]
    assert time.monotonic() - started < 5


def test_a_broken_stream_is_raised_where_the_job_is_watched(tmp_path):
    def broken():
        yield b"line\n"
        raise EngineError("the Docker daemon was lost")

    seen = []
    with pytest.raises(EngineError, match="was lost"):
        supervise(Still(), output(tmp_path, broken()), seen.append, None)
    assert seen == ["line"]


def test_what_a_stopped_job_still_writes_is_read(tmp_path):
    reading, writing = os.pipe()

    class Job(Still):
        def terminate(self):
            super().terminate()
            os.write(writing, b"last words\n")
            os.close(writing)

    chunks = iter(lambda: os.read(reading, 100), b"")
    seen = []
    assert supervise(Job(ends_at="terminate"), output(tmp_path, chunks), seen.append, 0.1)
    assert seen == ["last words"]
    os.close(reading)
