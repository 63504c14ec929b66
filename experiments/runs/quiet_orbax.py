"""Orbax, without the tracebacks of its threads and of reads that it left: what went
wrong is said in one line by who called it."""

import contextlib
import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Keeps what Orbax and TensorStore print from the user: of a full disk, tracebacks
    by the hundred lines, which are said in one.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import orbax.checkpoint as ocp
      >>> from experiments.runs.quiet_orbax import quiet_orbax
      >>> path = Path(tempfile.mkdtemp()) / "model"
      >>> with quiet_orbax(), ocp.StandardCheckpointer() as checkpointer:
      ...     checkpointer.save(path, {"w": 1.0})
      >>> path.exists()
      True
    """
    # For good: tasks that failed are told when they are collected, much later.
    logging.getLogger("asyncio").addFilter(_retrieved)
    if not isinstance(sys.unraisablehook, _NotOfOrbax):
        sys.unraisablehook = _NotOfOrbax(sys.unraisablehook)
    log = logging.getLogger("absl")
    level, stream = log.level, _OfPython(sys.stderr)
    log.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stderr(stream):
            try:
                yield
            finally:
                if stream.dropped:
                    time.sleep(0.2)  # more are on their way
    finally:
        log.setLevel(level)


class _OfPython(io.TextIOBase):
    """A stream without what threads write that Python did not start: TensorStore's,
    which say of a full disk, in tracebacks, that a loop is closed."""

    def __init__(self, stream: Any):
        self._stream, self.dropped = stream, False

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("Dummy-"):
            self.dropped = True
            return len(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


def _retrieved(record: logging.LogRecord) -> bool:
    return "exception was never retrieved" not in record.getMessage()


class _NotOfOrbax:
    """A hook without the reads that Orbax left when another one failed: Python tells of
    each, in a traceback, when it is collected or finds its loop closed."""

    def __init__(self, hook: Callable[[Any], Any]):
        self._hook = hook

    def __call__(self, unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)  # a coroutine's
        left = code is not None and "orbax" in code.co_filename
        if not left and str(unraisable.exc_value) != "Event loop is closed":
            self._hook(unraisable)
