"""Every way to train, through main(); and runs that cannot be."""

import logging
import re

import jax
import pytest
from networks import Linear
from programs import LENET, finish, small, start

from experiments.config import Config
from experiments.launch import main
from experiments.runs.directory import RunDirectory, read

# Every way to train


@pytest.mark.parametrize(
    "words",
    [
        "--optimizer smgd --nesterov --normalize loss+",
        "--optimizer madam --weights 0.9 0.1 --no-regrow",
        "--optimizer mrmsprop --schedule constant",
        "--optimizer sgd --no-prune",
        "--optimizer adam --l1 0 --conv-l2 0",
        "--optimizer rmsprop --batch-size 50",
    ],
)
def test_every_optimizer_finishes(words, tmp_path, capsys):
    path = tmp_path / "run"
    common = f"--dataset digits --train-size 100 --epochs 2 --no-figures --out {path}"
    assert small(f"{common} {words}") == 0
    run = read(path)
    assert run.summary["finished"] is True
    assert len(run.metrics) == 3
    assert not (path / "figures").exists()
    first, last = run.metrics[0], run.metrics[-1]
    assert last["train_cross_entropy"] < first["train_cross_entropy"]
    if "--no-prune" in words:
        assert run.summary["dense_sparsity"] == 0
    else:
        assert run.summary["dense_sparsity"] > 0
    if "--weights" in words:
        assert last["weights"] == pytest.approx([0.9, 0.1], rel=1e-6)
    if "--l1 0" in words:
        assert last["weights"] == [1.0, 0.0]
        assert first["objectives"][0] == first["train_cross_entropy"]
    assert "Written to" in capsys.readouterr().out


def test_no_epochs_at_all(tmp_path, capsys):
    path = tmp_path / "run"
    assert small(f"--dataset digits --train-size 64 --epochs 0 --out {path}") == 0
    run = read(path)
    assert [row["epoch"] for row in run.metrics] == [0]
    assert run.summary["finished"] is True
    assert run.summary["steps_per_second"] is None
    assert "0 epochs" in capsys.readouterr().out
    assert {file.name for file in (path / "figures").iterdir()} == {
        *("accuracy.png", "loss.png", "weight.png", "nonzeros.png")
    }


def test_a_network_without_convolutions(tmp_path, capsys):
    """Cause: the penalty was sought for line 0 even with coefficient 0."""
    path = str(tmp_path / "run")
    words = f"--dataset digits --train-size 64 --epochs 1 --conv-l2 0 --out {path}"
    assert main("linear", Config, lambda _: Linear(), words.split()) == 0
    assert capsys.readouterr().err == ""


def test_one_compilation_a_run(tmp_path, caplog, monkeypatch):
    """The steps and the evaluation are compiled once; after epoch 1, nothing is."""
    counts, append = [], RunDirectory.append_metrics

    def compiled():
        # Logged at lowering; compilation itself goes on in other threads.
        return [m for m in caplog.messages if m.startswith("Compiling ")]

    def counting(self, row):
        counts.append(len(compiled()))
        append(self, row)

    monkeypatch.setattr(RunDirectory, "append_metrics", counting)
    words = f"--dataset digits --train-size 200 --epochs 4 --out {tmp_path / 'run'}"
    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        assert small(words) == 0
    assert sum("jit(steps)" in message for message in compiled()) == 1
    assert sum("jit(evaluate)" in message for message in compiled()) == 1
    assert counts[1] == counts[2] == counts[3] == counts[4] > 0


# What cannot run


def test_auto_without_network_says_that_it_is_not_mnist(
    tfds_root, tmp_path, monkeypatch, capsys
):
    """The folder's name was taken for markup, and its end raised an error."""
    monkeypatch.chdir(tmp_path)
    assert small("--train-size 64 --epochs 1 --data-dir [/b]:x:") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(
        "NOT MNIST! Training on scikit-learn's handwritten digits, because MNIST could "
        "not be had (original files: "
    )
    assert "[/b]:x:" in said[0]
    assert re.fullmatch(r"Written to runs/small-\d{8}-\d{6}", said[-1])
    run = read(said[-1].removeprefix("Written to "))
    for source in (run.config["data_source"], run.summary["data_source"]):
        assert source in said[0]
        assert "because MNIST could not be had" in source
    assert run.config["dataset"] == "auto"
    assert run.config["dataset_found"] == run.summary["dataset"] == "digits"
    assert run.config["dataset_title"] == "handwritten digits (scikit-learn)"


def test_mnist_without_data_says_what_was_tried(tfds_root, tmp_path, capsys):
    words = f"--dataset mnist --data-dir {tmp_path / 'none'} --out {tmp_path / 'run'}"
    assert small(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: MNIST could not be had. Tried, in this order:\n")
    for way in ("original files", "prepared by TFDS", "downloaded with TFDS"):
        assert f"  - {way}: " in said
    assert "--dataset digits" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--optimizer adam --weights 1 1", "--weights has no meaning for --optimizer"),
        ("--dataset digits --train-size 64 --batch-size 65", "--batch-size is 65, but"),
        ("--dataset digits --train-size 9999", "train_size is 9999: expected a whole"),
    ],
)
def test_options_that_do_not_fit(words, message, tmp_path, capsys):
    path = tmp_path / "run"
    assert small(f"{words} --out {path}") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert not path.exists()  # the same --out can be used again
    assert "Traceback" not in said


def test_the_exit_code_and_the_message_of_a_process():
    code, out, err = finish(start(LENET, "--epochs -1"))
    assert (code, out) == (2, "")
    assert err == "error: --epochs is -1; expected a finite number, at least 0.\n"


# Losses that are not finite


def test_a_diverging_loss_names_epoch_and_step(tmp_path, capsys):
    path = tmp_path / "run"
    words = "--optimizer smgd --learning-rate 1e30 --train-size 320 --epochs 3"
    assert small(f"--dataset digits {words} --out {path}") == 1
    message = r"error: The objectives are not finite in epoch 1, step [2-9] of 10\. "
    assert re.match(message, capsys.readouterr().err)
    run = read(path)
    assert [row["epoch"] for row in run.metrics] == [0]
    assert (run.summary["epochs"], run.summary["finished"]) == (0, False)
    assert not (path / "model").exists()


def test_the_last_step_may_diverge_too(tmp_path, capsys):
    """Cause: a step looks at the objectives before it moves, so nobody looked after
    the last, and a run of NaN called itself finished."""
    path = tmp_path / "run"
    words = "--optimizer sgd --learning-rate 1e38 --train-size 32 --epochs 1"
    assert small(f"--dataset digits {words} --out {path}") == 1
    message = "error: The cross entropy is not finite in epoch 1, step 1 of 1. "
    assert capsys.readouterr().err.startswith(message)
    assert read(path).summary["finished"] is False
    assert not (path / "model").exists()
