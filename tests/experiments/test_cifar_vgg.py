"""Runs with the options of cifar_vgg, most of them with a small network."""

import contextlib
import io
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from drawing import CURVES
from networks import Linear, Normalised
from programs import VGG, finish, normalised, start

from bopt import models
from experiments import data
from experiments.config import VggConfig, flat
from experiments.launch import main
from experiments.runs.reading import read
from experiments.training.images import moments, scaled

pytestmark = pytest.mark.slow  # a program of their own; options: test_config_vgg

CHECKPOINTS = {"checkpoints", ".lock"}
FILES = {"config.json", "metrics.jsonl", "summary.json", "model", "figures"}
FIGURES = {*CURVES, "stationarity.png"}


def restored(network, path) -> Any:
    """Parameters and batch statistics of a run."""
    image = np.zeros((1, 32, 32, 3), np.float32)
    target = jax.eval_shape(network.init, jax.random.key(0), image)
    with ocp.StandardCheckpointer() as checkpointer:
        return jax.device_get(checkpointer.restore(path / "model", target))


def evaluated(network, variables, split: str, train_size: int):
    """Logits and labels of a split of the digits, standardized."""
    digits = data.load("digits", train_size=train_size, preferred="cifar10")
    chosen = list(getattr(digits, split))
    scale = moments(digits.images[:train_size])
    images = scaled(jnp.asarray(digits.images[chosen]), *scale)
    logits = np.asarray(jax.jit(network.apply)(variables, images), np.float64)
    return logits, digits.labels[chosen]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with everything that cifar_vgg adds, and its output."""
    path = tmp_path_factory.mktemp("runs") / "run"
    words = "--dataset digits --train-size 200 --epochs 3 --learning-rate 4e-3 --split"
    words += " --prune-where all --threshold 0.01 --conv-l2 0.25 --augment"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert normalised(f"{words} --out {path}") == 0
    return read(path), out.getvalue()


def test_the_config(finished):
    config = finished[0].config
    assert set(config) >= set(flat(VggConfig()))
    given = {"split": True, "prune_where": "all", "augment": True, "conv_l2": 0.25}
    defaults = {"optimizer": "mrmsprop", "weigh_by": "directions", "weights": None}
    assert config == config | given | defaults | {"dtype": "float32", "batch_size": 64}
    assert config["dataset_found"] == "digits"


def test_each_group_has_weights(finished):
    rows = finished[0].metrics
    assert rows[0]["weights"] is None
    for row in rows[1:]:
        assert set(row["weights"]) == {"dense", "conv"}
        for weights in row["weights"].values():
            assert len(weights) == 2
            assert sum(weights) == pytest.approx(1, abs=1e-5)
        assert row["weights"]["dense"] != row["weights"]["conv"]


def test_both_kinds_of_kernels_are_pruned(finished):
    run, _ = finished
    first, last = run.metrics[0], run.metrics[-1]
    assert (first["nonzeros_conv"], first["conv_sparsity"]) == ({"Conv_0": 192}, 0)
    assert first["nonzeros"] == {"Dense_0": 2_560}
    assert last["nonzeros_conv"]["Conv_0"] == round(192 * (1 - last["conv_sparsity"]))
    assert 0 < last["conv_sparsity"] < 1
    assert 0 < last["dense_sparsity"] < 1
    summary = run.summary
    assert (summary["entries_conv"], summary["entries_dense"]) == (192, 2_560)
    assert summary["nonzero_conv"] == last["nonzeros_conv"]["Conv_0"]
    assert summary["conv_sparsity"] == last["conv_sparsity"]


def test_the_first_row_has_the_penalties(finished):
    first = finished[0].metrics[0]
    image = np.zeros((1, 32, 32, 3), np.float32)
    # It starts from the same parameters whatever the seed.
    layers = jax.jit(Normalised().init)(jax.random.key(0), image)["params"]
    conv, dense = (np.asarray(layers[name]["kernel"]) for name in ("Conv_0", "Dense_0"))
    conv, dense = (conv**2).sum(), np.abs(dense).sum()
    added = first["objectives"][0] - first["train_cross_entropy"]
    assert added == pytest.approx(0.25 * conv, rel=1e-4)
    assert first["objectives"][1] == pytest.approx(dense + conv, rel=1e-5)
    assert first["l1"] == pytest.approx(dense, rel=1e-5)


def test_the_saved_network_is_the_one_that_was_evaluated(finished):
    """With its zeros and its batch statistics."""
    run, _ = finished
    last = run.metrics[-1]
    variables = restored(Normalised(), run.path)
    for layer, left in (last["nonzeros"] | last["nonzeros_conv"]).items():
        assert np.count_nonzero(variables["params"][layer]["kernel"]) == left
    stored = variables["batch_stats"]["BatchNorm_0"]
    assert (stored["mean"] != 0).all()
    assert (stored["var"] != 1).all()
    for split in ("train", "validation", "test"):
        logits, labels = evaluated(Normalised(), variables, split, train_size=200)
        accuracy = (logits.argmax(-1) == labels).mean()
        assert last[f"{split}_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert last["train_accuracy"] > 0.3  # it learns


def test_output_and_figures(finished):
    run, out = finished
    last = run.metrics[-1]
    conv, dense = last["nonzeros_conv"]["Conv_0"], last["nonzeros"]["Dense_0"]
    assert f"{dense:,} of 2,560 dense and {conv} " in out
    shown = ", ".join(
        f"{group} {first:.2g} {second:.2g}"
        for group, (first, second) in sorted(last["weights"].items())
    )
    assert f"  weights {shown}  validation " in out
    assert re.search(rf"nonzeros, conv +{conv} of 192", out)
    assert "mrmsprop on handwritten digits (scikit-learn), 3 epochs" in out
    assert {path.name for path in run.path.iterdir()} == FILES | CHECKPOINTS
    assert {path.name for path in (run.path / "figures").iterdir()} == FIGURES


def test_auto_without_network_announces_the_digits(tfds_root, tmp_path, capsys):
    path, none = str(tmp_path / "run"), str(tmp_path / "none")
    words = f"--train-size 64 --epochs 0 --no-figures --out {path} --data-dir {none}"
    words = f"{words} --conv-l2 0".split()
    assert main("linear", VggConfig, lambda *_: Linear(), words) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "NOT CIFAR-10! Training on scikit-learn's handwritten digits, because CIFAR-10 "
    )
    run = read(path)
    assert "because CIFAR-10 " in run.summary["data_source"]
    assert run.config["dataset_found"] == "digits"
    assert run.summary["entries_dense"] == 32 * 32 * 3 * 10


def test_the_program(tmp_path):
    path = tmp_path / "run"
    words = "--dataset digits --epochs 1 --train-size 128 --augment --dtype bfloat16"
    code, out, err = finish(start(VGG, f"{words} --out {path}"))
    assert (code, err) == (0, "")
    run, variables = read(path), restored(models.VGG(), path)
    assert {file.name for file in path.iterdir()} == FILES | CHECKPOINTS
    assert run.config == run.config | {"experiment": "cifar_vgg", "dtype": "bfloat16"}
    assert run.summary["finished"] is True
    assert (run.summary["steps"], run.summary["entries_dense"]) == (2, 20_480)
    assert run.summary["entries_conv"] == 286_560  # of kernels alone
    assert run.summary["entries_total"] == 308_394
    assert len(run.metrics) == 2
    assert list(run.metrics[1]["nonzeros"]) == ["Dense_0"]
    assert list(run.metrics[1]["nonzeros_conv"]) == [f"Conv_{i}" for i in range(6)]
    assert run.metrics[1]["weights"] == pytest.approx(run.config["weights"])
    leaves = jax.tree.leaves(variables)
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float32")}
    assert (variables["batch_stats"]["BatchNorm_5"]["var"] != 1).all()
    # It computed in bfloat16: here that gives the same loss, float32 another.
    differences = []
    for dtype in (jnp.bfloat16, jnp.float32):
        logits, labels = evaluated(models.VGG(dtype=dtype), variables, "test", 128)
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
        differences.append(abs(losses.mean() - run.summary["test_cross_entropy"]))
    assert differences[0] < differences[1] / 3
    assert re.search(r"nonzeros, Dense_0 +20,\d{3}", out)
