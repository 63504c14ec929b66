"""Session: the parts of a program that its trainings share, and its signals."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from experiments.data import Dataset
from experiments.devices import gathered
from experiments.errors import STOP_SIGNALS, Interrupted
from experiments.runs import records, resume
from experiments.runs.directory import RunDirectory


class Session(NamedTuple):
    """A program that trains into one run directory.

    Attributes:
      program: name of the program.
      directory: the run directory, locked by this process.
      dataset: the images.
      console: terminal output.
      check: raises `experiments.errors.Interrupted` after a signal to any process; all
        call it together. With `alone=True`, after a signal to this one.
      start: start of the program, by `time.perf_counter`.
    """

    program: str
    directory: RunDirectory
    dataset: Dataset
    console: Console
    check: Callable[..., None]
    start: float


@contextlib.contextmanager
def opened(
    program: str,
    options: dict[str, Any],
    dataset: Dataset,
    console: Console,
    start: float,
) -> Iterator[Session]:
    """Open the run directory, a new one or the one to resume, for this run alone.

    `options` are resolved and flat, see `experiments.config.flat`.
    """
    now, path = records.config(program, options, dataset), options["resume"]
    if path is None:
        directory = RunDirectory.create(options["out"], program)
    else:
        directory = RunDirectory(Path(path))
        resume.check_same(directory.path, now, console)
    with directory.locked(new=path is None), deferred_signals() as check:
        if path is None:
            directory.write_config(now)
        try:
            yield Session(program, directory, dataset, console, check, start)
        except Interrupted as interrupt:
            if path or directory.begun():
                interrupt.command = (
                    f"python -m experiments.{program} --resume {directory.path}"
                )
            raise


@contextlib.contextmanager
def deferred_signals() -> Iterator[Callable[..., None]]:
    """Hold back the signals that stop a program until it checks for them.

    A signal that was ignored before, as by nohup, stays so. A second one acts at once.

    Yields:
      The function `Session.check`.
    """
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    before = {n: old for n, old in before.items() if old is not signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def receive(number, frame) -> None:
        del frame
        received.append(number)
        restore()

    def check(*, alone: bool = False) -> None:
        own = received[0] if received else 0
        number = own if alone else max(gathered(own))
        if number:
            raise Interrupted(number)

    for number in before:
        signal.signal(number, receive)
    try:
        yield check
    finally:
        restore()
