"""Runs in this process: files, output, programs. Refusals: test_launch_refusals."""

import contextlib
import importlib.util
import io
import logging
import math
import os
import re
import runpy
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from drawing import CURVES
from networks import Small
from programs import small

import bopt
from experiments.__main__ import PROGRAMS
from experiments.config import Config, flat
from experiments.config.command_line import expanded
from experiments.runs.directory import RunDirectory
from experiments.runs.reading import read

SCORES = {
    f"{split}_{name}"
    for split in ("train", "validation", "test")
    for name in ("accuracy", "cross_entropy")
}
CONFIG = set(flat(Config())) | {
    *("experiment", "dataset_found", "dataset_title", "data_source"),
    *("sizes", "versions", "device"),
}
METRICS = SCORES | {
    *("epoch", "step", "seconds", "learning_rate", "objectives", "weights"),
    *("stationarity", "l1", "nonzeros", "nonzeros_conv"),
    *("dense_sparsity", "conv_sparsity", "total_sparsity"),
}
SUMMARY = {
    *("dataset", "data_source", "optimizer", "seed", "epochs", "steps"),
    *("test_accuracy", "test_cross_entropy", "validation_accuracy", "l1"),
    *("nonzero_dense", "entries_dense", "nonzero_conv", "entries_conv"),
    *("nonzero_total", "entries_total"),
    *("dense_sparsity", "conv_sparsity", "total_sparsity"),
    *("seconds_total", "seconds_compile", "steps_per_second", "finished"),
}
FIGURES = {*CURVES, "stationarity.png"}
DENSE, TOTAL = 864, 916  # entries of `Small`
# The program of the session's `trained_run`, which is compiled once.
WORDS = "--train-size 160 --epochs 2 --threshold 0.08"


class Compiled(logging.Handler):
    """Names of the programs that JAX lowers."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def emit(self, record):
        if (message := record.getMessage()).startswith("Compiling "):
            self.names.append(message.split()[1])


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A finished run, its output, and the number of programs compiled by each row."""
    path = tmp_path_factory.mktemp("runs") / "run:x:"  # not an emoji
    compiled, counts, append = Compiled(), [], RunDirectory.append_metrics

    def counting(self, row):
        counts.append(len(compiled.names))
        append(self, row)

    logger = logging.getLogger("jax")
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        jax.log_compiles(),
    ):
        patch.setattr(RunDirectory, "append_metrics", counting)
        logger.addHandler(compiled)
        try:
            words = f"--dataset digits {WORDS} --seed 5 --no-figures --out {path}"
            assert small(words) == 0
        finally:
            logger.removeHandler(compiled)
    return read(path), out.getvalue(), compiled.names, counts


@pytest.fixture(scope="module")
def finished(logged):
    """A finished run and its output."""
    return logged[:2]


# Files


def test_the_keys(finished):
    run, _ = finished
    assert set(run.config) == CONFIG
    assert [set(row) for row in run.metrics] == [METRICS] * 3
    assert set(run.summary) == SUMMARY


def test_the_config(finished):
    config = finished[0].config
    assert config["experiment"] == "small"
    resolved = {"weigh_by": "directions", "decay": 0.0, "momentum": None}
    resolved |= {"l1": None, "weights": None, "learning_rate": 1e-3}
    assert config == config | resolved
    given = {"epochs": 2, "train_size": 160, "seed": 5, "dataset": "digits"}
    assert config == config | given
    assert config["dataset_found"] == "digits"
    assert config["data_source"] == "scikit-learn's handwritten digits"
    assert config["sizes"] == {"train": 160, "validation": 143, "test": 360}
    assert config["versions"]["jax"] == jax.__version__
    assert set(config["versions"]) >= {"python", "bopt-jax", "jaxlib", "flax", "optax"}
    assert set(config["device"]) == {
        *("platform", "kind", "count", "processor", "cores")
    }


def test_the_first_row_is_before_training(finished):
    first = finished[0].metrics[0]
    assert first["weights"] is None
    assert first["learning_rate"] is None
    assert (first["epoch"], first["step"]) == (0, 0)
    assert sum(first["nonzeros"].values()) == DENSE
    # NumPy and JAX do not add up in the same order.
    assert first["objectives"][1] == pytest.approx(first["l1"], rel=1e-5)
    # Objective 0 is the cross entropy and 1e-4 times the convolution's penalty.
    assert 0 < first["objectives"][0] - first["train_cross_entropy"] < 0.01


def test_the_rows_are_consistent(finished):
    run, _ = finished
    for epoch, row in enumerate(run.metrics):
        assert (row["epoch"], row["step"]) == (epoch, epoch * (160 // 32))
        left = sum(row["nonzeros"].values())
        assert row["dense_sparsity"] == pytest.approx(1 - left / DENSE, abs=1e-12)
        zeros = row["total_sparsity"] * TOTAL  # of biases and convolutions, too
        assert DENSE - left - 1e-6 <= zeros <= DENSE - left + (TOTAL - DENSE)
        if epoch:
            assert sum(row["weights"]) == pytest.approx(1, abs=1e-5)
            # That of the last step, hence of epoch - 1 where epochs count from 0.
            fall = 1 / (1 + math.exp(-(epoch - 1 - 0.75 * 2) / (0.075 * 2)))
            expected = 1e-3 * (1 - 0.9 * fall if epoch > 1 else 1)
            assert row["learning_rate"] == pytest.approx(expected, rel=1e-5)
    seconds = [row["seconds"] for row in run.metrics]
    assert seconds == sorted(seconds)
    losses = [row["train_cross_entropy"] for row in run.metrics]
    assert losses == sorted(losses, reverse=True)  # it learns
    assert run.metrics[-1]["dense_sparsity"] > 0.01  # and prunes


def test_the_summary_is_that_of_the_last_row(finished):
    run, _ = finished
    summary, last = run.summary, run.metrics[-1]
    assert summary["finished"] is True
    assert (summary["epochs"], summary["steps"]) == (2, 10)
    assert (summary["dataset"], summary["optimizer"]) == ("digits", "madam")
    assert summary["data_source"] == run.config["data_source"]
    for key in ("l1", "dense_sparsity", "total_sparsity", *SCORES & SUMMARY):
        assert summary[key] == last[key]
    assert summary["nonzero_dense"] == sum(last["nonzeros"].values())
    assert (summary["entries_dense"], summary["entries_total"]) == (DENSE, TOTAL)
    total = 1 - summary["nonzero_total"] / TOTAL
    assert summary["total_sparsity"] == pytest.approx(total, abs=1e-12)
    assert summary["seconds_total"] == last["seconds"] > summary["seconds_compile"]
    assert summary["steps_per_second"] > 0


def test_the_network_is_saved_with_its_zeros(finished):
    run, _ = finished
    images = np.zeros((1, 28, 28, 1), np.float32)
    target = jax.eval_shape(Small().init, jax.random.key(0), images)
    with ocp.StandardCheckpointer() as checkpointer:
        params = checkpointer.restore(run.path / "model", target)["params"]
    kernels = {layer: params[layer]["kernel"] for layer in ("Dense_0", "Dense_1")}
    for layer, left in run.metrics[-1]["nonzeros"].items():
        assert np.count_nonzero(kernels[layer]) == left
    norm = sum(float(np.abs(kernel).sum()) for kernel in kernels.values())
    assert norm == pytest.approx(run.summary["l1"], rel=1e-5)


def test_nothing_else_is_written(trained_run):
    run = read(trained_run)
    names = {path.name for path in run.path.iterdir()}
    files = {"config.json", "metrics.jsonl", "summary.json", ".lock"}
    assert names == files | {"figures", "model", "checkpoints"}
    # The last two, and the best on validation data.
    scores = {r["step"]: r["validation_accuracy"] for r in run.metrics}
    best = max(scores, key=lambda step: (scores[step], step))
    steps = {int(path.name) for path in (run.path / "checkpoints").iterdir()}
    assert steps == {5, 10, best}
    assert {path.name for path in (run.path / "figures").iterdir()} == FIGURES


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux")
def test_everything_is_on_disk_in_order(tmp_path, monkeypatch):
    """File, rename, folder: a power cut loses nothing that was said to be done."""
    path, events = tmp_path / "run", []

    def watch(name, places):
        function = getattr(os, name)

        def watched(*args, **kwargs):
            own = [str(place) for place in places(*args)]
            function(*args, **kwargs)
            if own[-1].startswith(str(path)):
                events.append((threading.get_ident(), name, *own))

        monkeypatch.setattr(os, name, watched)

    watch("fsync", lambda number: [os.readlink(f"/proc/self/fd/{number}")])
    watch("replace", lambda old, new: [old, new])
    watch("rename", lambda old, new: [old, new])
    assert small(f"--dataset digits {WORDS} --out {path}") == 0
    moved = {Path(event[3]).name for event in events if event[1] != "fsync"}
    assert moved >= {"config.json", "metrics.jsonl", "summary.json", "loss.png"}
    assert moved >= {"model", "0", "5", "10"}  # Orbax's folders, in other threads
    own = [event[1:] for event in events if event[0] == threading.get_ident()]
    for n, (name, *places) in enumerate(own):
        if name == "replace":
            around = ("fsync", places[0]), ("fsync", os.path.dirname(places[1]))
            assert (own[n - 1], own[n + 1]) == around
    for n, (_, name, *places) in enumerate(events):
        if name == "rename":
            folder = os.path.dirname(places[1]).replace(".orbax-checkpoint-tmp", "")
            assert folder in {event[2] for event in events[n:] if event[1] == "fsync"}
    assert own[-2][2] == str(path / "summary.json")  # the last write


# Output


def test_without_a_terminal_one_line_per_epoch_and_the_table(finished):
    run, out = finished
    lines = out.splitlines()
    assert lines[:2] == [
        "Training on scikit-learn's handwritten digits.",
        "Compiling.",
    ]
    for epoch, (line, row) in enumerate(zip(lines[2:5], run.metrics, strict=True)):
        assert line.startswith(f"epoch {epoch}/2 ")
        assert f"accuracy {100 * row['validation_accuracy']:.1f} %" in line
        left = sum(row["nonzeros"].values())
        assert f"{left:,} of {DENSE:,}" in line
        if epoch:
            chosen = " ".join(f"{weight:.2g}" for weight in row["weights"])
            assert f"weights {chosen} " in line
            assert re.search(r" [\d,]+ steps/s  left \d+:\d\d$", line)
    table = "\n".join(lines[5:])
    assert "madam on handwritten digits (scikit-learn), 2 epochs" in table
    summary, last = run.summary, run.metrics[-1]
    layers = last["nonzeros"].items()
    for label, value in {
        "test accuracy": f"{100 * last['test_accuracy']:.2f} %",
        "dense sparsity": f"{100 * summary['dense_sparsity']:.2f} %",
        **{f"nonzeros, {layer}": f"{left:,}" for layer, left in layers},
        "time": f"{summary['seconds_total']:.1f} s",
    }.items():
        assert re.search(rf"{re.escape(label)} +{re.escape(value)}", table), label
    assert lines[-1] == f"Written to {run.path}"
    assert "\x1b" not in out


@pytest.mark.slow
def test_auto_without_network_announces_the_digits(
    tfds_root, tmp_path, monkeypatch, capsys
):
    """Cause: the folder's name was taken for markup, and its end raised an error."""
    monkeypatch.chdir(tmp_path)
    words = f"{WORDS} --no-figures --data-dir [/b]:x:"
    assert small(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "NOT MNIST! Training on scikit-learn's handwritten digits, because MNIST "
    )
    assert "[/b]:x:" in lines[0]
    assert re.fullmatch(r"Written to runs/small-\d{8}-\d{6}", lines[-1])
    run = read(lines[-1].removeprefix("Written to "))
    for source in (run.config["data_source"], run.summary["data_source"]):
        assert source in lines[0]
        assert "because MNIST " in source
    assert run.config["dataset"] == "auto"
    assert run.config["dataset_found"] == run.summary["dataset"] == "digits"
    assert run.config["dataset_title"] == "handwritten digits (scikit-learn)"


def test_compiled_once_per_run(logged):
    """The steps and the evaluation are compiled once; after epoch 1, nothing is."""
    _, _, names, counts = logged
    assert names.count("jit(steps)") == names.count("jit(evaluate)") == 1
    assert counts[1] == counts[2] > 0


# The programs


def run_program(name: str, words: list[str], monkeypatch) -> object:
    """Run a module as python -m does, in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", [name, *words])
    monkeypatch.delitem(sys.modules, f"experiments.{name}", raising=False)
    try:
        runpy.run_module(f"experiments.{name}", run_name="__main__")
    except SystemExit as done:
        return done.code or 0
    return 0


def test_the_list_of_programs(monkeypatch, capsys):
    assert run_program("__main__", [], monkeypatch) == 0
    out = capsys.readouterr().out
    assert len(PROGRAMS) == 8
    for name, line in PROGRAMS.items():
        assert importlib.util.find_spec(f"experiments.{name}")
        assert re.search(rf"^  {name} +{re.escape(line)}$", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", ["__main__", *PROGRAMS])
def test_the_version(name, monkeypatch, capsys):
    name = "benchmark.__main__" if name == "benchmark" else name
    assert run_program(name, ["--version"], monkeypatch) == 0
    assert capsys.readouterr().out == f"bopt {bopt.__version__}\n"


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    words = ["--out=~/run", "--data-dir", "~/data", "--optimizer=adam", "x~"]
    expected = ["--out=/home/me/run", "--data-dir", "/home/me/data"]
    assert expanded(words) == [*expected, *words[3:]]
