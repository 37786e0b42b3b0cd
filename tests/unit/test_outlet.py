"""A stream that fails is given up, and what is written to it then goes nowhere."""

import io
import os
import sys
from pathlib import Path

import pytest

from dsgen.outlet import Outlet, standard_outlets


def broken_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w", encoding="utf-8")


def test_what_is_written_comes_through():
    stream = io.StringIO()
    outlet = Outlet(stream)
    print("hello", file=outlet, flush=True)
    assert stream.getvalue() == "hello\n"
    assert (outlet.lost, outlet.last, outlet.missed) == (None, "hello", "")


def test_a_reader_that_went_away_misses_nothing():
    with broken_pipe() as stream:
        outlet = Outlet(stream)
        for number in range(3):
            print(number, file=outlet, flush=True)
        assert outlet.lost is not None
        assert outlet.missed == ""
        stream.write("the interpreter flushes once more")


def test_a_full_disk_is_missed():
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        outlet = Outlet(stream)
        print("first", file=outlet)
        assert outlet.missed == ""
        print("second", file=outlet, flush=True)
        assert outlet.missed == "No space left on device"
        assert outlet.last == "second"


def test_no_stream_at_all():
    outlet = Outlet(None)
    print("hello", file=outlet, flush=True)
    assert not outlet.isatty()
    assert outlet.missed == ""
    with pytest.raises(OSError, match="Bad file descriptor"):
        outlet.fileno()


def test_the_streams_are_as_before():
    before = sys.stdout, sys.stderr
    with standard_outlets() as outlets:
        assert (sys.stdout, sys.stderr) == outlets
    assert (sys.stdout, sys.stderr) == before
