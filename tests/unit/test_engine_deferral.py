"""Signals wait while things are created and removed, and none is lost."""

import signal
import threading

import pytest

from dsgen.signals import STOPPING
from harness.engine.deferral import Deferral
from harness.errors import StopRequested


@pytest.fixture(autouse=True)
def handlers():
    def stop(number, _frame):
        raise StopRequested(number)

    before = {n: signal.signal(n, stop) for n in STOPPING}
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_waits_for_the_end(number):
    done = []

    def work():
        with Deferral():
            signal.raise_signal(number)
            done.append("all of it")

    with pytest.raises(StopRequested) as caught:
        work()
    assert caught.value.exit_code == 128 + number
    assert done == ["all of it"]


def test_a_signal_arrives_where_it_is_let_in_and_the_removal_is_whole():
    seen = []

    def work():
        with Deferral() as signals:
            try:
                signal.raise_signal(signal.SIGTERM)
                seen.append("created")
                with signals.let_in():
                    seen.append("never")
            finally:
                signal.raise_signal(signal.SIGINT)
                seen.append("removed")

    with pytest.raises(StopRequested):
        work()
    assert seen == ["created", "removed"]


def test_the_handlers_are_as_before(handlers):
    with Deferral() as signals, signals.let_in():
        assert signal.getsignal(signal.SIGTERM) is handlers
    assert signal.getsignal(signal.SIGTERM) is handlers
    assert signal.getsignal(signal.SIGINT) is handlers


def test_a_handler_that_was_replaced_meanwhile_stays():
    with Deferral() as signals, signals.let_in():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_thread_may_use_it_too():
    done = []

    def work():
        with Deferral() as signals, signals.let_in():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_a_hangup_that_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Deferral() as signals, signals.let_in():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    signal.raise_signal(signal.SIGHUP)
