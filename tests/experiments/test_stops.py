"""Runs that are stopped from outside: Ctrl-C, SIGTERM, kill, a file too large."""

import re
import resource
import signal
import sys

import pytest
from programs import LENET, SMALL, finish, start, unfinished, wait_for_epochs

ENDLESS = "--dataset digits --train-size 64 --epochs 100000 --out"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_between_two_pieces_of_work(number, code, tmp_path):
    path = tmp_path / "run"
    process = start(SMALL, f"{ENDLESS} {path}")
    wait_for_epochs(process, path, 2)
    process.send_signal(number)
    found, out, err = finish(process)
    assert (found, out.count("Training on")) == (code, 1)
    assert err == (
        f"Stopped by {number.name}: all that was done is saved. Go on with: "
        f"python -m experiments.small --resume {path}\n"
    )
    run = unfinished(path, at_least=2)
    assert run.summary["epochs"] == len(run.metrics) - 1  # nothing was cut in two
    assert {p.name for p in path.iterdir()} == {
        *("config.json", "metrics.jsonl", "summary.json", "checkpoints", ".lock")
    }


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_file_that_may_not_grow(tmp_path):
    """A full disk in the midst of a run: here metrics.jsonl reaches a limit."""
    path = tmp_path / "run"
    process = start(SMALL, f"--checkpoint-every 1000 {ENDLESS} {path}")
    wait_for_epochs(process, path, 1)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (5_000, 5_000))
    code, _, err = finish(process)
    assert code == 1
    assert re.match(
        r"error: Cannot write .*/run/metrics\.jsonl: File too large\. The epochs "
        r"finished before are intact in .*/run; ",
        err,
    ), err
    run = unfinished(path, at_least=2)
    assert run.summary["epochs"] == len(run.metrics) - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
)
def test_the_real_program(number, code, tmp_path):
    """kill -9 gives no time for a word, and still leaves whole lines."""
    path = tmp_path / "run"
    process = start(LENET, f"{ENDLESS} {path}")
    wait_for_epochs(process, path, 5)
    process.send_signal(number)
    found, _, err = finish(process)
    assert found == code
    assert "Traceback" not in err
    unfinished(path, at_least=5)
