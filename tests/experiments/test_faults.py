"""Real processes that are killed, and disks that fill up: nothing done is lost."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fronts
import numpy as np
import pytest
from programs import LENET, SMALL, TIMEOUT, VGG, finish, start, wait_for_epochs
from resuming import arrays, newest, results

from experiments.runs.directory import read

DIGITS = "--dataset digits --no-figures"
HALF = ".orbax-checkpoint-tmp"  # in the name of a folder that Orbax is writing


def lines(path: Path) -> int:
    """Of the tables, which grow as a run goes on."""
    files = [path / name for name in ("metrics.jsonl", "front.csv")]
    return sum(file.read_bytes().count(b"\n") for file in files if file.is_file())


def half(path: Path) -> bool:
    """Whether a checkpoint is just being written."""
    walk = os.walk(path / "checkpoints")  # folders may be gone before it gets there
    return any(HALF in name for _, folders, _ in walk for name in folders)


def after(number: int) -> Callable[[Path], Callable[[], bool]]:
    """A moment: so many lines from now."""

    def moment(path: Path) -> Callable[[], bool]:
        now = lines(path)
        return lambda: lines(path) >= now + number

    return moment


def writing(number: int) -> Callable[[Path], Callable[[], bool]]:
    """A moment: in the midst of a checkpoint, once there are so many lines more."""

    def moment(path: Path) -> Callable[[], bool]:
        now = lines(path)
        return lambda: lines(path) >= now + number and half(path)

    return moment


def lost(path: Path, steps: int) -> int:
    """How many epochs have their line but no checkpoint."""
    there = [int(f.name) for f in (path / "checkpoints").glob("*") if f.name.isdigit()]
    return lines(path) - 1 - max(there, default=0) // steps


def kill(process: subprocess.Popen, moment: Callable[[], bool]) -> bool:
    """Kills a program at a moment, and not at all if it ends before."""
    until = time.monotonic() + TIMEOUT
    while not moment():
        if process.poll() is not None:
            finish(process)  # closes its pipes
            return False
        assert time.monotonic() < until, "the moment never came"
    os.kill(process.pid, signal.SIGKILL)
    assert finish(process)[2] == ""
    return True


def killed(program, words: str, path: Path, moments, env=None, steps=0) -> list[int]:
    """Runs a program to its end, killed on its way at all these moments.

    Returns:
      For each time that it was, the epochs that were lost, if there are `steps` in one.
    """
    given, losses = f"{words} --out {path}", []
    for moment in moments:
        process = start(program, given, env=env or {}, stdout=subprocess.DEVNULL)
        if kill(process, moment(path)):
            losses.append(lost(path, steps) if steps else 0)
        if (path / "config.json").is_file():
            given = f"--resume {path}"
    code, _, err = finish(start(program, given, env=env or {}))
    assert (code, err) == (0, "")
    return losses


def random_moments(number: int, up_to: int):
    generator = np.random.default_rng()
    for turn in range(number):
        lines_more = int(generator.integers(1, up_to))
        yield (after, writing)[turn % 2](lines_more)


@pytest.mark.slow
def test_killed_again_and_again(tmp_path):
    whole, path = tmp_path / "whole", tmp_path / "run"
    words = f"{DIGITS} --train-size 64 --epochs 30"
    assert finish(start(SMALL, f"{words} --out {whole}"))[0] == 0
    losses = killed(SMALL, words, path, random_moments(3, up_to=7), steps=2)
    assert len(losses) == 3 and max(losses) <= 2  # one trained, one being written
    assert results(path) == results(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "words", "steps", "times"),
    [
        (SMALL, "--train-size 64 --epochs 200 --seeds 2", 2, 16),
        (SMALL, "--train-size 320 --epochs 60 --checkpoint-every 1", 10, 16),
        (LENET, "--train-size 320 --epochs 12", 10, 8),
        (VGG, "--train-size 128 --epochs 2", 2, 3),
    ],
)
def test_the_real_programs(program, words, steps, times, tmp_path):
    """At random, and every other time in the midst of writing a checkpoint."""
    whole, path = tmp_path / "whole", tmp_path / "run"
    words = f"{DIGITS} {words}"
    code, _, err = finish(start(program, f"{words} --out {whole}"))
    assert code == 0, err
    up_to = 2 if program == VGG else 4
    losses = killed(program, words, path, random_moments(times, up_to), steps=steps)
    assert len(losses) >= times // 2 and max(losses) <= 2
    assert results(path) == results(whole)


@pytest.mark.slow
def test_a_front(tmp_path):
    """On two devices; in the search, and in the final training."""
    env = {"JAX_NUM_CPU_DEVICES": "2", "XLA_FLAGS": ""}
    words = f"{fronts.WORDS} --search grid --budget 6 --epochs 30"
    words += " --final-epochs 40 --save all"
    whole, path = tmp_path / "whole", tmp_path / "run"
    code, _, err = finish(start(fronts.PROGRAM, f"{words} --out {whole}", env=env))
    assert code == 0, err
    moments = [writing(0), after(1), writing(0), writing(1), after(2), after(7)]
    losses = killed(fronts.PROGRAM, words, path, [*moments, writing(3)], env)
    assert len(losses) >= 3  # of 7: a loaded machine looks too late at times
    assert fronts.table(path) == fronts.table(whole)
    assert read(whole).summary["final"]
    assert results(path, False) == results(whole, False)
    assert [folder.name for folder in (path / "checkpoints").iterdir()] == ["final"]
    ends = [newest(p, "checkpoints/final") / "state" for p in (path, whole)]
    assert arrays(ends[0]) == arrays(ends[1])
    for folder in (whole / "networks").iterdir():
        assert arrays(folder) == arrays(path / "networks" / folder.name)


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


# A frame of our own in a traceback; TensorStore's threads may print their own, of event
# loops that Orbax closed, before the message or after it.
OURS = re.compile(r'File ".*/experiments/')


def fill(folder: Path) -> Path:
    """Another's file, which takes all room that is left."""
    file = folder / "other"
    with pytest.raises(OSError, match="No space left"), open(file, "wb", 0) as rest:
        while True:
            rest.write(bytes(4096))
    return file


@pytest.mark.slow
@pytest.mark.parametrize("later", [0, 1, 7])
def test_a_disk_that_fills_up_while_it_runs(later, disk, tmp_path):
    folder, mount = disk
    words, whole = f"{DIGITS} --train-size 64 --epochs 60", tmp_path / "whole"
    assert finish(start(SMALL, f"{words} --out {whole}"))[0] == 0
    path = folder / "run"
    process = start(SMALL, f"{words} --out {path}")
    wait_for_epochs(process, path, later)
    other = fill(folder)
    code, _, err = finish(process)
    assert code == 1
    message = r"^error: Cannot write .*/run/?.*: .*No space left.*\. The (epochs fin|"
    assert re.search(message + "checkpoints before)", err, re.MULTILINE), err
    assert not OURS.search(err), err
    run = read(path)
    assert [row["epoch"] for row in run.metrics] == [*range(len(run.metrics))]
    assert run.metrics and run.summary.get("finished") is not True
    # As long as there is no room, it says so again; no line is lost.
    code, _, err = finish(start(SMALL, f"--resume {path}"))
    assert code == 1 and not OURS.search(err), err
    assert re.search(r"^error: Cannot write .*No space left", err, re.MULTILINE), err
    assert len(read(path).metrics) >= len(run.metrics) - 2
    if later == 1:
        other.unlink()
    else:
        assert mount("remount,size=8m")
    code, _, err = finish(start(SMALL, f"--resume {path}"))
    assert (code, err) == (0, "")
    assert results(path) == results(whole)


@pytest.mark.slow
def test_a_disk_that_may_only_be_read(disk):
    folder, mount = disk
    path = folder / "run"
    process = start(SMALL, f"{DIGITS} --train-size 64 --epochs 100000 --out {path}")
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
        code, _, err = finish(start(SMALL, words))
        assert code == 1
        assert err.startswith(f"error: {reason}: Read-only file system."), err
        assert err.count("\n") == 1
    assert lines(path) == there
