"""Real processes that are stopped, disks that fill up, output that cannot be shown.

Nothing that was done is lost: resumed, a run ends with the same bits. Kills are in
`test_kills`.
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fronts
import pytest
from programs import (
    LENET,
    SMALL,
    TIMEOUT,
    finish,
    small,
    start,
    unfinished,
    wait_for_epochs,
)
from resuming import results

from experiments.runs.reading import read, read_front

pytestmark = pytest.mark.slow

DIGITS = "--dataset digits --no-figures"
ENDLESS = f"{DIGITS} --train-size 64 --epochs 100000 --out"


def lines(path: Path) -> int:
    """Return the number of lines of the tables, which grow during a run."""
    files = [path / name for name in ("metrics.jsonl", "front.csv")]
    return sum(file.read_bytes().count(b"\n") for file in files if file.is_file())


# Disks


@pytest.fixture
def disk(tmp_path):
    """A folder that is a disk of 2 MB, and a function that mounts it otherwise."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> bool:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(words, capture_output=True).returncode == 0

    if sys.platform != "linux" or os.geteuid() != 0 or not mount("size=2m"):
        pytest.skip("only root mounts a tmpfs, on Linux, where it is allowed")
    yield folder, mount
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write a file that takes all room that is left."""
    file = folder / "other"
    with pytest.raises(OSError, match="No space left"), open(file, "wb", 0) as rest:
        while True:
            rest.write(bytes(4096))
    return file


def last(err: str) -> str:
    """Return the last line; libraries may print tracebacks of their threads before."""
    assert not re.search(r'File ".*/experiments/', err), err  # none of ours
    assert err.count("error: ") == 1, err
    return err.splitlines()[-1]


FULL = (
    r"error: Cannot write .*/run/?.*: .*No space left.*\. The (epochs|checkpoints) "
    r"before are intact.*; free some space and use --resume, or choose another --out\."
)


FILLING = f"{DIGITS} --train-size 64 --epochs 60"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Results of a run with room enough."""
    path = tmp_path_factory.mktemp("whole") / "run"
    assert finish(start(SMALL, f"{FILLING} --out {path}"))[0] == 0
    return results(path)


@pytest.mark.parametrize("later", [0, 1, 7])
def test_a_disk_that_fills_up_while_it_runs(later, disk, whole):
    folder, mount = disk
    path = folder / "run"
    process = start(SMALL, f"{FILLING} --out {path}")
    wait_for_epochs(process, path, later)
    other = fill(folder)
    code, _, err = finish(process)
    assert code == 1
    assert re.fullmatch(FULL, last(err)), err
    run = read(path)
    assert [row["epoch"] for row in run.metrics] == [*range(len(run.metrics))]
    assert run.metrics and run.summary.get("finished") is not True
    if later < 7:
        # As long as there is no room, the message is the same; no line is lost.
        code, _, err = finish(start(SMALL, f"--resume {path}"))
        assert code == 1
        assert re.fullmatch(FULL, last(err)), err
        assert len(read(path).metrics) >= len(run.metrics) - 2
    if later == 1:
        other.unlink()
    else:
        assert mount("remount,size=8m")
    code, _, err = finish(start(SMALL, f"--resume {path}"))
    assert (code, err) == (0, "")
    assert results(path) == whole


def test_a_disk_that_may_only_be_read(disk, capsys):
    folder, mount = disk
    path = folder / "run"
    process = start(SMALL, f"{ENDLESS} {path}")
    wait_for_epochs(process, path, 2)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    assert mount("remount,ro")
    there = lines(path)
    for words, reason in [
        (
            f"{DIGITS} --epochs 1 --out {folder / 'new'}",
            f"Cannot make {folder / 'new'}",
        ),
        (f"--resume {path}", f"Cannot write {path}"),
    ]:
        assert small(words) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"error: {reason}: Read-only file system."), err
        assert err.count("\n") == 1
    assert lines(path) == there


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
        r"before are intact; ",
        err,
    ), err
    run = unfinished(path, at_least=2)
    assert run.summary["epochs"] == len(run.metrics) - 1


# Signals


@pytest.mark.parametrize(
    ("program", "number", "code"),
    [
        (SMALL, signal.SIGINT, 130),
        (SMALL, signal.SIGHUP, 129),
        (LENET, signal.SIGTERM, 143),
    ],
)
def test_a_signal_stops_between_two_chunks(program, number, code, tmp_path):
    path = tmp_path / "run"
    process = start(program, f"{ENDLESS} {path}")
    wait_for_epochs(process, path, 2)
    process.send_signal(number)
    found, out, err = finish(process)
    assert (found, out.count("Training on")) == (code, 1)
    name = "small" if program == SMALL else "mnist_lenet"
    assert err == (
        f"Stopped by {number.name}: everything done is saved. Resume with: "
        f"python -m experiments.{name} --resume {path}\n"
    )
    run = unfinished(path, at_least=2)
    assert run.summary["epochs"] == len(run.metrics) - 1  # nothing was cut in two
    assert {p.name for p in path.iterdir()} == {
        *("config.json", "metrics.jsonl", "summary.json", "checkpoints", ".lock")
    }


def test_a_signal_stops_a_search(tmp_path):
    """On two devices."""
    number, code = signal.SIGTERM, 143
    path, env = tmp_path / "run", {"JAX_NUM_CPU_DEVICES": "2", "XLA_FLAGS": ""}
    words = f"{fronts.WORDS} --train-size 160".replace("--epochs 2", "--epochs 100")
    process = start(fronts.PROGRAM, f"{words} --budget 20 --out {path}", env=env)
    until = time.monotonic() + TIMEOUT
    while not (path / "front.csv").exists():
        assert time.monotonic() < until and process.poll() is None, finish(process)
        time.sleep(0.02)
    process.send_signal(number)
    found, _, err = finish(process)
    assert found == code
    assert err == (
        f"Stopped by {number.name}: everything done is saved. Resume with: "
        f"python -m experiments.pareto_front --resume {path}\n"
    )
    assert 2 <= len(read_front(path)) < 20
    assert len([*(path / "checkpoints").iterdir()]) == 1  # of the batch


@pytest.mark.skipif(shutil.which("nohup") is None, reason="needs nohup")
def test_nohup_keeps_a_run_going(tmp_path):
    path = tmp_path / "run"
    words = f"{DIGITS} --train-size 64 --epochs 60 --out {path}"
    process = subprocess.Popen(
        ["nohup", sys.executable, *SMALL, *words.split()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_epochs(process, path, 2)
    process.send_signal(signal.SIGHUP)
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    assert read(path).summary["finished"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_compilation(number, tmp_path):
    """The compiler cannot be stopped, and is not waited for."""
    path, env = tmp_path / "run", {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    process = start(LENET, f"{ENDLESS} {path}", env=env)
    assert process.stdout is not None
    while process.stdout.readline() != "Compiling.\n":
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(number)
    code, _, err = finish(process)
    assert code == 128 + number
    assert err == f"Stopped by {number.name}: nothing had begun.\n"
    assert not path.exists()


def test_ctrl_c_while_a_program_starts_is_one_line():
    """At any moment of the imports."""
    for _ in range(3):
        process = start(LENET, ENDLESS + " nowhere")
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        code, _, err = finish(process)
        assert code in (-signal.SIGINT, 130)
        assert err in ("", "Stopped by SIGINT: nothing had begun.\n")


# Output


@pytest.mark.parametrize("output", ["closed", "full"])
def test_output_that_cannot_be_written_does_not_end_a_run(output, tmp_path):
    path = tmp_path / "run"
    words = f"{DIGITS} --train-size 64 --epochs 4 --out {path}"
    if output == "full":
        with open("/dev/full", "w") as full:
            process = start(SMALL, words, stdout=full)
    else:
        process = start(SMALL, words)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    assert read(path).summary["finished"]


def test_a_second_signal_acts_at_once(tmp_path):
    path = tmp_path / "run"
    process = start(SMALL, f"{ENDLESS} {path}")
    wait_for_epochs(process, path, 2)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
    # Unless the first was quicker.
    assert finish(process)[0] in (143, -signal.SIGTERM)
    unfinished(path, at_least=2)
