"""Known failures of the programs, each with its exit code.

Every message names the culprit, what was expected and what to do.
"""

import signal


class Failure(Exception):
    """A known failure; the programs print its message and exit with its code."""

    code = 1


class ConfigError(Failure, ValueError):
    """Options that are out of range or contradict each other."""

    code = 2


class DataError(Failure, ValueError):
    """Data that is missing, damaged or requested incorrectly."""

    code = 2


class RunDirectoryError(Failure):
    """A run directory that cannot be written or read."""


class NonFiniteError(Failure, ArithmeticError):
    """A loss that is NaN or infinite."""


class ProcessError(Failure):
    """Another process of the run failed."""


# Signals that ask a program to stop: Ctrl-C, a scheduler's, a closed terminal.
STOP_SIGNALS = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None
)


class Interrupted(Failure):
    """A signal that asked the run to stop.

    Attributes:
      code: exit code that shells expect: 130 for Ctrl-C, 143 for SIGTERM.
      command: command that resumes the run, if there is anything to resume.
      compiling: whether the compiler's threads still run; the process must not wait.

    Example:
      >>> import signal
      >>> from experiments.errors import Interrupted
      >>> Interrupted(signal.SIGTERM).code
      143
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number
        self.command: str | None = None
        self.compiling = False
