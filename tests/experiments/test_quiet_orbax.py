"""What Orbax and TensorStore print of a failure is not shown; all else is. What their
reads leave behind, tests/experiments/test_checkpoints.py meets."""

import _thread
import logging
import sys

from experiments.runs.quiet_orbax import quiet_orbax


def test_what_tensorstores_threads_print_is_not_shown(capsys, caplog):
    """Cause: after a failure they print tracebacks by the hundred, past all hooks; the
    tasks that failed are told whenever they are collected."""
    with quiet_orbax():
        ended = _thread.allocate_lock()
        ended.acquire()

        def print_from_outside() -> None:  # in a thread that threading knows nothing of
            print("Traceback", file=sys.stderr)
            ended.release()

        _thread.start_new_thread(print_from_outside, ())
        ended.acquire()
        print("ours", file=sys.stderr)
    assert capsys.readouterr().err == "ours\n"
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    logging.getLogger("asyncio").error("another message")
    assert [record.message for record in caplog.records] == ["another message"]


def test_other_errors_that_cannot_be_raised_are_told(capsys, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with quiet_orbax():
        pass

    class Thing:
        def __del__(self):
            raise RuntimeError("told")

    Thing()
    assert "RuntimeError: told" in capsys.readouterr().err
