"""Runs that are refused: one line, an exit code, and nothing written."""

import pytest
from networks import Small
from programs import small

from experiments import data
from experiments.config import Config
from experiments.errors import ConfigError
from experiments.launch import main

WORDS = "--train-size 160 --epochs 2 --threshold 0.08"


def test_a_second_run_in_the_same_folder_is_refused(trained_run, capsys):
    path = trained_run
    before = (path / "config.json").read_bytes()
    assert small(f"--dataset digits {WORDS} --out {path}") == 1
    assert "already holds a run" in capsys.readouterr().err
    assert (path / "config.json").read_bytes() == before


def test_mnist_without_data_lists_what_was_tried(tfds_root, tmp_path, capsys):
    words = f"--dataset mnist --data-dir {tmp_path / 'none'} --out {tmp_path / 'run'}"
    assert small(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: MNIST ")
    for way in ("original files", "prepared by TFDS", "downloaded with TFDS"):
        assert f"  - {way}: " in err
    assert "--dataset digits" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epochs -1", "--epochs is -1; expected a finite number, at least 0."),
        ("--optimizer adam --weights 1 1", "--weights has no meaning for --optimizer"),
        ("--dataset digits --train-size 64 --batch-size 65", "--batch-size is 65"),
        ("--dataset digits --train-size 9999", "train_size is 9999"),
        ("--no-prune --pruning saliency", "--pruning saliency and --no-prune contrad"),
        ("--sparsity 0.5 --threshold 0.1", "--sparsity and --threshold contradict"),
        ("--pruning evidence --threshold 0.1", "--threshold and --pruning evidence co"),
        ("--pruning evidence --prune-where all", "--pruning evidence and --prune-wher"),
        (
            "--pruning evidence --dataset digits --train-size 40",
            "prune_by_evidence got 32 examples for 864 entries; expected at least 216",
        ),
        # Several processes
        ("--coordinator h:1", "--coordinator is given without --distributed. Add it."),
        ("--process-id 0", "--process-id is given without --distributed. Add it."),
        (
            "--distributed --processes 2",
            "Only --processes is given; expected all of --coordinator, --processes, "
            "--process-id, or none if the cluster's environment holds them.",
        ),
        (
            "--distributed --coordinator h:1 --process-id 0",
            "Only --coordinator, --process-id is given; expected all of",
        ),
        # Devices
        ("--dataset digits --devices 99", "--devices is 99, but "),
        ("--dataset digits --devices 0", "--devices is 0, but "),
    ],
)
def test_options_that_do_not_fit(words, message, tmp_path, capsys):
    path = tmp_path / "run"
    assert small(f"{words} --out {path}") == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not path.exists()  # the same --out can be used again


def test_what_needs_no_data_is_judged_before(tmp_path, monkeypatch, copied_run, capsys):
    """An occupied --out, --init-from of nothing, too many devices."""
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("data are loaded"))
    for words, message in [
        (f"--out {copied_run}", f"{copied_run} already holds a run"),
        ("--init-from nowhere", "nowhere holds no trained network"),
        ("--devices 99", "--devices is 99"),
    ]:
        assert small(words) != 0
        assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_run_that_fails_before_its_training_leaves_no_folder(tmp_path, capsys):
    class Broken(Small):
        def __call__(self, *args, **kwargs):
            raise ConfigError("a network that cannot be made")

    out = tmp_path / "run"
    for seeds in (1, 2):
        words = f"--dataset digits --train-size 64 --seeds {seeds} --out {out}".split()
        assert main("small", Config, lambda *_: Broken(), words) == 2
        assert "a network that cannot be made" in capsys.readouterr().err
        assert not out.exists()


def test_processes_need_a_common_folder(capsys):
    assert small("--distributed") == 2
    assert capsys.readouterr().err.startswith(
        "error: --distributed is given without --out; expected a folder that all "
        "processes see"
    )
