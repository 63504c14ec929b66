"""A whole run, started as a user starts it: what it writes and what it says."""

import dataclasses
import math
import os
import pty
import re

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from programs import LENET, SMALL, finish, small, start

from bopt.models import LeNet5
from experiments.config import Config
from experiments.runs.directory import read

OPTIONS = {field.name for field in dataclasses.fields(Config)}
CONFIG = OPTIONS | {
    "experiment",
    "dataset_found",
    "dataset_title",
    "data_source",
    "sizes",
    "versions",
    "device",
}
SCORES = {
    f"{split}_{name}"
    for split in ("train", "validation", "test")
    for name in ("accuracy", "cross_entropy")
}
METRICS = SCORES | {
    *("epoch", "step", "seconds", "learning_rate", "objectives", "weights"),
    *("l1", "nonzeros", "nonzeros_conv"),
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
FIGURES = {"accuracy.png", "loss.png", "weight.png", "nonzeros.png"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of the program as a user starts it: what it wrote and what it said."""
    path = tmp_path_factory.mktemp("runs") / "run:x:"  # not an emoji
    words = "--dataset digits --train-size 300 --epochs 3 --learning-rate 4e-3"
    code, out, err = finish(start(LENET, f"{words} --seed 5 --out {path}"))
    assert (code, err) == (0, "")
    return read(path), out


# What a run writes


def test_the_keys(finished):
    run, _ = finished
    assert set(run.config) == CONFIG
    assert [set(row) for row in run.metrics] == [METRICS] * 4
    assert set(run.summary) == SUMMARY


def test_the_config(finished):
    run, _ = finished
    config = run.config
    assert config["experiment"] == "mnist_lenet"
    resolved = {"weigh_by": "directions", "decay": 0.0, "epochs": 3, "momentum": None}
    assert config == config | resolved | {"l1": None, "weights": None}
    given = {"learning_rate": 4e-3, "train_size": 300, "seed": 5, "dataset": "digits"}
    assert config == config | given
    assert config["dataset_found"] == "digits"
    assert config["data_source"] == "scikit-learn's handwritten digits"
    assert config["sizes"] == {"train": 300, "validation": 143, "test": 360}
    assert config["versions"]["jax"] == jax.__version__
    assert set(config["versions"]) >= {"python", "bopt-jax", "jaxlib", "flax", "optax"}
    assert set(config["device"]) == {
        *("platform", "kind", "count", "processor", "cores")
    }


def test_the_first_line_is_before_training(finished):
    first = finished[0].metrics[0]
    assert first["weights"] is None
    assert first["learning_rate"] is None
    assert (first["epoch"], first["step"]) == (0, 0)
    assert sum(first["nonzeros"].values()) == 58_920
    # NumPy and JAX do not add up in the same order.
    assert first["objectives"][1] == pytest.approx(first["l1"], rel=1e-5)
    # Objective 0 is the cross entropy and 1e-4 times the convolutions' penalty.
    assert 0 < first["objectives"][0] - first["train_cross_entropy"] < 0.01


def test_the_lines_are_consistent(finished):
    run, _ = finished
    for epoch, row in enumerate(run.metrics):
        assert (row["epoch"], row["step"]) == (epoch, epoch * (300 // 32))
        left = sum(row["nonzeros"].values())
        assert row["dense_sparsity"] == pytest.approx(1 - left / 58_920, abs=1e-12)
        assert 0 <= row["total_sparsity"] <= row["dense_sparsity"] + 0.01
        if epoch:
            assert sum(row["weights"]) == pytest.approx(1, abs=1e-5)
            # That of the last step, hence of epoch - 1 in DESIGN's count from 0.
            fall = 1 / (1 + math.exp(-(epoch - 1 - 0.75 * 3) / (0.075 * 3)))
            expected = 4e-3 * (1 - 0.9 * fall if epoch > 1 else 1)
            assert row["learning_rate"] == pytest.approx(expected, rel=1e-5)
    seconds = [row["seconds"] for row in run.metrics]
    assert seconds == sorted(seconds)
    losses = [row["train_cross_entropy"] for row in run.metrics]
    assert losses == sorted(losses, reverse=True)  # it learns
    assert run.metrics[-1]["dense_sparsity"] > 0.03  # and prunes


def test_the_summary_is_that_of_the_last_line(finished):
    run, _ = finished
    summary, last = run.summary, run.metrics[-1]
    assert summary["finished"] is True
    assert (summary["epochs"], summary["steps"]) == (3, 27)
    assert (summary["dataset"], summary["optimizer"]) == ("digits", "madam")
    assert summary["data_source"] == run.config["data_source"]
    for key in ("l1", "dense_sparsity", "total_sparsity", *SCORES & SUMMARY):
        assert summary[key] == last[key]
    assert summary["nonzero_dense"] == sum(last["nonzeros"].values())
    assert (summary["entries_dense"], summary["entries_total"]) == (58_920, 60_074)
    total = 1 - summary["nonzero_total"] / 60_074
    assert summary["total_sparsity"] == pytest.approx(total, abs=1e-12)
    assert summary["seconds_total"] == last["seconds"] > summary["seconds_compile"]
    assert summary["steps_per_second"] > 0


def test_the_network_is_saved_with_its_zeros(finished):
    run, _ = finished
    images = np.zeros((1, 28, 28, 1), np.float32)
    target = jax.eval_shape(LeNet5().init, jax.random.key(0), images)
    with ocp.StandardCheckpointer() as checkpointer:
        params = checkpointer.restore(run.path / "model", target)["params"]
    for layer, left in run.metrics[-1]["nonzeros"].items():
        assert np.count_nonzero(params[layer]["kernel"]) == left
    kernels = [
        np.abs(params[layer]["kernel"]).sum() for layer in ("Dense_0", "Dense_1")
    ]
    assert sum(kernels) < run.summary["l1"]


def test_nothing_else_is_written(finished):
    run, _ = finished
    names = {path.name for path in run.path.iterdir()}
    files = {"config.json", "metrics.jsonl", "summary.json", ".lock"}
    assert names == files | {"figures", "model", "checkpoints"}
    # The last two, and the best on validation data.
    scores = {r["step"]: r["validation_accuracy"] for r in run.metrics}
    best = max(scores, key=lambda step: (scores[step], step))
    steps = {int(path.name) for path in (run.path / "checkpoints").iterdir()}
    assert steps == {18, 27, best}
    assert {path.name for path in (run.path / "figures").iterdir()} == FIGURES


# What a run says


def test_without_a_terminal_a_line_an_epoch_and_the_table(finished):
    run, out = finished
    lines = out.splitlines()
    assert lines[0] == "Training on scikit-learn's handwritten digits."
    for epoch, (line, row) in enumerate(zip(lines[1:5], run.metrics, strict=True)):
        assert line.startswith(f"epoch {epoch}/3  losses {row['objectives'][0]:.4f} ")
        assert f"validation {row['validation_accuracy']:.4f}" in line
        left = sum(row["nonzeros"].values())
        assert f"nonzeros {left:,} ({left / 58_920:.1%})" in line
        if epoch:
            chosen = " ".join(f"{weight:.2g}" for weight in row["weights"])
            assert f"weights {chosen} " in line
            assert re.search(r" [\d,]+ steps/s  left \d+:\d\d$", line)
    table = "\n".join(lines[5:])
    assert "madam on handwritten digits (scikit-learn), 3 epochs" in " ".join(
        table.split()
    )
    summary = run.summary
    for label, value in {
        **{key.replace("_", " "): f"{run.metrics[-1][key]:.4f}" for key in SCORES},
        "dense sparsity": f"{100 * summary['dense_sparsity']:.2f} %",
        "total sparsity": f"{100 * summary['total_sparsity']:.2f} %",
        **{
            f"nonzeros, {layer}": f"{left:,}"
            for layer, left in run.metrics[-1]["nonzeros"].items()
        },
        "time (of it compilation)": f"{summary['seconds_total']:.1f} s",
    }.items():
        assert re.search(rf"{re.escape(label)} +{re.escape(value)}", table), label
    assert lines[-1] == f"Written to {run.path}"
    assert "\x1b" not in out


@pytest.mark.slow
def test_on_a_terminal_a_progress_bar(tmp_path):
    master, slave = pty.openpty()
    words = f"--dataset digits --train-size 300 --epochs 4 --out {tmp_path / 'run'}"
    environment = {"TERM": "xterm-256color", "COLUMNS": "180", "LINES": "40"}
    process = start(SMALL, words, stdout=slave, env=environment)
    os.close(slave)
    said = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux' way to say that the other side is closed
            break
        if not part:
            break
        said += part
    os.close(master)
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    bars = re.findall(r"epoch \d/4 .*?\r", plain)
    assert len(bars) >= 4
    last = bars[-1]
    assert "━" in last
    for part in (
        r"epoch 4/4 ",
        r" 36/36 ",
        r"losses \d\.\d{4} \d+\.\d",
        r"weights 0\.\d+ 0\.\d+",
        r"validation 0\.\d{4}",
        r"nonzeros \d+ \(\d+\.\d%\)",
        r"[\d,]+ steps/s",
        r"\d:\d\d",
    ):
        assert re.search(part, last), (part, last)
    assert "dense sparsity" in plain.rpartition("epoch 4/4")[2]


def test_a_second_run_in_the_same_folder_is_refused(finished, capsys):
    path = finished[0].path
    before = (path / "config.json").read_bytes()
    assert small(f"--dataset digits --train-size 64 --out {path}") == 1
    assert "already holds a run" in capsys.readouterr().err
    assert (path / "config.json").read_bytes() == before
