"""Options of the benchmark: help, defaults, and mistakes found before any training."""

import re

import jax
import pytest
from contracts import WEIGHTINGS

from experiments.benchmark import weightings
from experiments.benchmark.__main__ import main
from experiments.benchmark.models import MODELS


def test_help_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for word in ("step", "front", "checkpoint", "devices", "inference", "weightings"):
        assert f"{word}: " in text or f"{word} (default): " in text


def test_every_weighting_is_measured():
    assert sorted(weightings.NAMES) == sorted(WEIGHTINGS)
    assert weightings.NAMES[0] == "min_norm"  # the reference of the ratios


def test_batches_and_epochs_are_those_of_the_programs():
    sizes = {
        name: (model.batch_size, model.train_size // model.batch_size)
        for name, model in MODELS.items()
    }
    assert sizes == {"lenet5": (32, 1_718), "vgg": (64, 703)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--repeats 0", "--repeats is 0; expected at least 1"),
        ("--model vgg --steps 0", "--steps is 0; expected at least 1"),
        ("--batch-size 1798", "--batch-size is 1798; expected 1 to 1797, the number"),
        ("--model vgg --batch-size 0", "--batch-size is 0; expected 1 to 1797"),
        # The trainer has a part of the images, unlike the loop of `step`.
        ("front --batch-size 1295", "--batch-size is 1295; expected 1 to 1294"),
        ("front --networks 4 -1 2", "--networks is -1; expected at least 1"),
        ("checkpoint --batch-size 55001", "is 55001; expected 1 to 55000"),
        ("devices --batch-size 20", "is 20, which is not a multiple of 8 devices"),
        ("inference", "RUN is missing; expected the run directory"),
        ("inference nowhere", "nowhere holds no run"),
    ],
)
def test_mistakes(words, message, monkeypatch, capsys):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert main(words.split()) == (1 if "nowhere" in words else 2)
    assert re.search(message, capsys.readouterr().err)
