"""The program mnist_lenet as a user starts it: first line, cache, bar, results."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from programs import LENET, SMALL, finish, start

import bopt
from bopt.models import LeNet5
from experiments.runs.reading import read

pytestmark = pytest.mark.slow

# Writes a line, past all buffers, when JAX is imported.
NOTED = """
import os, runpy, sys
class Note:
    def find_spec(self, name, path, target=None):
        if name == "jax":
            os.write(1, b"importing jax\\n")
sys.meta_path.insert(0, Note())
runpy.run_module("experiments.mnist_lenet", run_name="__main__")
"""


def run_as_user(program: tuple[str, ...], words: str, cache: Path, **env: str) -> str:
    """Run a program with a user's cache folder; return its output, errors included."""
    told = ("JAX_", "XLA_")  # by conftest
    kept = {name: x for name, x in os.environ.items() if not name.startswith(told)}
    done = subprocess.run(
        [sys.executable, *program, *words.split()],
        env=kept | {"XDG_CACHE_HOME": str(cache)} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def compiled(folder: Path) -> set[str]:
    """Return the files of the two large programs in a cache."""
    names = ("jit_steps-*-cache", "jit_evaluate-*-cache")
    return {file.name for name in names for file in folder.rglob(name)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A user's cache folder, empty at first."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache):
    """A run as a user starts it, and its output."""
    path = tmp_path_factory.mktemp("runs") / "run"
    words = "--dataset digits --train-size 300 --epochs 3 --learning-rate 4e-3"
    out = run_as_user(("-c", NOTED), f"{words} --out {path}", cache)
    return read(path), out


def test_the_first_line_is_before_jax(finished):
    """JAX takes seconds to import."""
    lines = finished[1].splitlines()
    assert lines[:2] == [
        "Training on scikit-learn's handwritten digits.",
        "importing jax",
    ]
    assert lines[2] == "Compiling."
    assert lines[-1] == f"Written to {finished[0].path}"


def test_modules_of_the_first_line_do_without_jax():
    names = ("launch", "config", "data", "mnist_lenet", "cifar_vgg", "pareto_front")
    imports = "; ".join(f"import experiments.{name}" for name in names)
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; import sys; print('jax' in sys.modules)"],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_compiled_programs_are_kept_for_the_user(finished, cache, tmp_path):
    """In the user's cache folder, unless JAX's own variable names another."""
    own = cache / "bopt" / "jax"
    there = compiled(own)
    assert len(there) == 2 and compiled(cache) == there
    words = "--dataset digits --train-size 300 --epochs 3 --learning-rate 4e-3"
    words = f"{words} --no-figures --out {tmp_path / 'run'}"
    empty = tmp_path / "empty"
    run_as_user(LENET, words, empty, JAX_COMPILATION_CACHE_DIR=str(own))
    assert compiled(own) == there  # the steps and the evaluation are not compiled again
    assert not (empty / "bopt").exists()
    seconds = read(tmp_path / "run").summary["seconds_compile"]
    assert seconds < finished[0].summary["seconds_compile"]


def test_nothing_is_kept_without_compilation_cache(tmp_path):
    words = f"--dataset digits --train-size 64 --epochs 1 --out {tmp_path / 'run'}"
    run_as_user(SMALL, f"{words} --no-figures --no-compilation-cache", tmp_path / "no")
    assert not (tmp_path / "no" / "bopt").exists()


def test_the_results(finished):
    run, out = finished
    assert run.config["experiment"] == "mnist_lenet"
    assert sum(run.metrics[0]["nonzeros"].values()) == 58_920
    summary, last = run.summary, run.metrics[-1]
    assert (summary["entries_dense"], summary["entries_total"]) == (58_920, 60_074)
    assert sum(last["nonzeros"].values()) == 1_178  # 2 %
    losses = [row["train_cross_entropy"] for row in run.metrics]
    assert losses[-1] < losses[0]
    images = np.zeros((1, 28, 28, 1), np.float32)
    target = jax.eval_shape(LeNet5().init, jax.random.key(0), images)
    with ocp.StandardCheckpointer() as checkpointer:
        params = checkpointer.restore(run.path / "model", target)["params"]
    for layer, left in last["nonzeros"].items():
        assert np.count_nonzero(params[layer]["kernel"]) == left
        assert re.search(rf"nonzeros, {layer} +{left:,}", out)


def test_on_a_terminal_there_is_a_progress_bar(tmp_path):
    master, slave = pty.openpty()
    words = f"--dataset digits --train-size 300 --epochs 4 --out {tmp_path / 'run'}"
    environment = {"TERM": "xterm-256color", "COLUMNS": "180", "LINES": "40"}
    process = start(SMALL, words, stdout=slave, env=environment)
    os.close(slave)
    printed = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # on Linux, the other side is closed
            break
        if not part:
            break
        printed += part
    os.close(master)
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode())
    bars = re.findall(r"epoch \d/4 .*?\r", plain)
    assert len(bars) >= 4
    last = bars[-1]
    assert "━" in last
    for part in (
        r"epoch 4/4 ",
        r"accuracy \d+\.\d %",
        r"\d+ of 864 ",
        r"loss \d\.\d{4}",
        r"l1 \d+\.\d",
        r"weights 0\.\d+ 0\.\d+",
        r"[\d,]+ steps/s",
        r"left \d+:\d\d",
    ):
        assert re.search(part, last), (part, last)
    assert "dense sparsity" in plain.rpartition("epoch 4/4")[2]


def test_the_exit_code_and_message_of_a_mistake():
    code, out, err = finish(start(LENET, "--epochs -1"))
    assert (code, out) == (2, "")
    assert err == "error: --epochs is -1; expected a finite number, at least 0.\n"


@pytest.mark.parametrize("module", ["experiments", "experiments.mnist_lenet"])
def test_the_version(module):
    code, out, err = finish(start(("-m", module), "--version"))
    assert (code, out, err) == (0, f"bopt {bopt.__version__}\n", "")
