"""Signals that wait until the program checks for them."""

import signal

import pytest

from experiments.errors import Interrupted
from experiments.training.session import deferred_signals

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture(autouse=True)
def handlers():
    """Install handlers that raise; restore those of pytest afterwards."""

    class Reached(Exception):
        pass

    def handler(number, frame):
        raise Reached(signal.Signals(number).name)

    before = {number: signal.signal(number, handler) for number, _ in SIGNALS}
    yield Reached, handler
    for number, old in before.items():
        signal.signal(number, old)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_waits_for_a_check(number, code):
    with deferred_signals() as check:
        check()
        signal.raise_signal(number)
        with pytest.raises(Interrupted, match=number.name) as stop:
            check()
    assert stop.value.code == code


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_acts_at_once(second, handlers):
    reached, _ = handlers
    with deferred_signals() as check:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(reached, match=second.name):
            signal.raise_signal(second)
        with pytest.raises(Interrupted, match="SIGINT"):
            check()  # the first signal counts


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_the_handlers_are_restored(error, handlers):
    _, handler = handlers
    try:
        with deferred_signals():
            assert signal.getsignal(signal.SIGINT) is not handler
            assert signal.getsignal(signal.SIGTERM) is not handler
            if error:
                raise error
    except ZeroDivisionError:
        pass
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.getsignal(signal.SIGTERM) is handler
