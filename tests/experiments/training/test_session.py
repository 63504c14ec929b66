"""Signals between two pieces of work; whole runs that get one are in test_stops.py."""

import signal

import pytest

from experiments.interrupts import Interrupted, deferred

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture(autouse=True)
def handlers():
    """Handlers that these tests know; those of pytest come back afterwards."""

    class Reached(Exception):
        pass

    def handler(number, frame):
        raise Reached(signal.Signals(number).name)

    before = {number: signal.signal(number, handler) for number, _ in SIGNALS}
    yield Reached, handler
    for number, old in before.items():
        signal.signal(number, old)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_waits_until_it_is_asked_for(number, code):
    with deferred() as check:
        check()
        signal.raise_signal(number)
        with pytest.raises(Interrupted, match=number.name) as stop:
            check()
    assert stop.value.code == code


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_acts_at_once(second, handlers):
    reached, _ = handlers
    with deferred() as check:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(reached, match=second.name):
            signal.raise_signal(second)
        with pytest.raises(Interrupted, match="SIGINT"):
            check()  # the first is still known


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_the_handlers_are_put_back(error, handlers):
    _, handler = handlers
    try:
        with deferred():
            assert signal.getsignal(signal.SIGINT) is not handler
            assert signal.getsignal(signal.SIGTERM) is not handler
            if error:
                raise error
    except ZeroDivisionError:
        pass
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.getsignal(signal.SIGTERM) is handler
