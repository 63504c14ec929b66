"""Experiments for the tests, in processes of their own or in this one.

Run as a program, it is an experiment like mnist_lenet, with a network that compiles in
a third of the time.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from networks import Normalised, Small

from experiments.config import Config, VggConfig
from experiments.data import digits
from experiments.launch import main
from experiments.runs.reading import Run, read

LENET = ("-m", "experiments.mnist_lenet")
VGG = ("-m", "experiments.cifar_vgg")
SMALL = (__file__,)
TIMEOUT = 240  # seconds; a busy machine takes ten times as long as a quiet one


class SmallConfig(Config):
    """Options of the small network, which is too small to lose 98 % of its weights."""

    WEIGH_BY = "directions"
    SCHEDULE = "logistic"
    PRUNING = "threshold"


def start_quickly() -> None:
    """Make this process, one of many, read the digits from a file: scikit-learn takes a
    second to import.

    The file is beside the compiled programs, which all processes of the tests share.
    """
    folder, read = os.environ.get("JAX_COMPILATION_CACHE_DIR"), digits.read

    def kept(shape):
        file = Path(folder or "") / f"digits-{'-'.join(map(str, shape))}.npz"
        if not file.is_file():
            images, labels = read(shape)
            file.parent.mkdir(parents=True, exist_ok=True)
            written = file.with_suffix(f".{os.getpid()}.npz")
            np.savez(written, images=images, labels=labels)
            written.rename(file)
        with np.load(file) as content:
            return content["images"], content["labels"]

    if folder:
        digits.read = kept


def start(program: tuple[str, ...], words: str, **options) -> subprocess.Popen:
    """Start a program as a user does."""
    return subprocess.Popen(
        [sys.executable, *program, *words.split()],
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        env=os.environ | {"COLUMNS": "100"} | options.pop("env", {}),
        text=True,
        **options,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Wait for a process; return its exit code, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    return process.returncode, out, err


def printed(*words: str, strict: bool = True, **environment: str) -> str:
    """Run a Python program in a process of its own on CPUs; return its stdout."""
    told = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    kept = {name: value for name, value in os.environ.items() if name not in told}
    done = subprocess.run(
        [sys.executable, *(["-W", "error"] if strict else []), *words],
        env=kept | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def small(words: str) -> int:
    """Run the small experiment in this process; return the exit code."""
    return main("small", SmallConfig, lambda *_: Small(), words.split())


def normalised(words: str) -> int:
    """Run an experiment like cifar_vgg in this process; return the exit code."""
    return main("normalised", VggConfig, lambda *_: Normalised(), words.split())


def wait_for_epochs(process: subprocess.Popen, path: Path, epochs: int) -> None:
    """Wait until a run has written the line of an epoch."""
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until and process.poll() is None:
        metrics = path / "metrics.jsonl"
        if metrics.is_file() and metrics.read_bytes().count(b"\n") > epochs:
            return
        time.sleep(0.05)
    process.kill()
    out, err = process.communicate()
    raise AssertionError(f"it never reached epoch {epochs}:\n{out}\n{err}")


def unfinished(path: Path, at_least: int) -> Run:
    """Read a run that was stopped; check that its files agree with that."""
    run = read(path)
    assert [row["epoch"] for row in run.metrics] == [*range(len(run.metrics))]
    assert len(run.metrics) > at_least
    assert run.summary["finished"] is False
    assert run.summary["epochs"] in (len(run.metrics) - 1, len(run.metrics) - 2)
    return run


if __name__ == "__main__":
    start_quickly()
    sys.exit(main("small", SmallConfig, lambda *_: Small()))
