"""Ctrl-C and SIGTERM, noticed between two pieces of work rather than in the midst."""

import contextlib
import signal
from collections.abc import Callable, Iterator

from experiments.devices import gathered
from experiments.errors import Interrupted


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Holds SIGINT and SIGTERM back until they are asked for.

    Yields:
      A function that raises `Interrupted` if a signal has come, to whichever process
      of the run; all call it together. A second signal acts at once, as it would
      without this.

    Example:
      >>> import signal
      >>> from experiments.errors import Interrupted
      >>> from experiments.interrupts import deferred
      >>> with deferred() as check:
      ...     signal.raise_signal(signal.SIGTERM)
      ...     try:
      ...         check()
      ...     except Interrupted as interrupt:
      ...         print(interrupt)
      SIGTERM
    """
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def receive(number, frame) -> None:
        del frame
        received.append(number)
        restore()

    def check() -> None:
        number = max(gathered(received[0] if received else 0))
        if number:
            raise Interrupted(number)

    for number in numbers:
        signal.signal(number, receive)
    try:
        yield check
    finally:
        restore()
