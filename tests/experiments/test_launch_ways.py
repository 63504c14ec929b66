"""Every way to train ends in a finished run, or in a loss that is not finite."""

import re

import pytest
from drawing import CURVES
from networks import Linear
from programs import small

from experiments.config import Config
from experiments.launch import main
from experiments.runs.reading import read

pytestmark = pytest.mark.slow


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
        *CURVES
    }  # nothing recorded


def test_a_network_without_convolutions(tmp_path, capsys):
    """Cause: the penalty was sought for row 0 even with coefficient 0."""
    path = str(tmp_path / "run")
    words = f"--dataset digits --train-size 64 --epochs 1 --conv-l2 0 --out {path}"
    assert main("linear", Config, lambda *_: Linear(), words.split()) == 0
    assert capsys.readouterr().err == ""


# Losses that are not finite


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_diverging_loss_names_epoch_and_step(seeds, tmp_path, capsys):
    path = tmp_path / "run"
    words = "--optimizer smgd --learning-rate 1e30 --train-size 320 --epochs 3"
    assert small(f"--dataset digits {words} --seeds {seeds} --out {path}") == 1
    message = r"error: The objectives are not finite in epoch 1, step [2-9] of 10; "
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
    message = "error: The cross entropy is not finite in epoch 1, step 1 of 1; "
    assert capsys.readouterr().err.startswith(message)
    assert read(path).summary["finished"] is False
    assert not (path / "model").exists()
