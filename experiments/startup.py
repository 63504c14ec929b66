"""Start of a program, before its imports, which take a second."""

import sys
from types import TracebackType


def handle_ctrl_c() -> None:
    """Print one line instead of a traceback when Ctrl-C ends the program."""
    sys.excepthook = _excepthook


def _excepthook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped by SIGINT: nothing had begun.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
