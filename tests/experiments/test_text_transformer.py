"""Runs of text_transformer, on the manual that Python carries."""

import contextlib
import io

import numpy as np
import pytest

from experiments import data
from experiments.config import TextConfig
from experiments.launch import main
from experiments.runs.reading import read
from experiments.text_transformer import network


def test_labels_are_the_next_characters():
    found = data.load("python_docs")
    assert (found.images.shape, found.images.dtype) == ((7_000, 64), np.int32)
    text = np.append(found.images.ravel(), found.labels[-1, -1])
    np.testing.assert_array_equal(text[1:], found.labels.ravel())
    assert text.max() < 128
    assert (len(found.train), len(found.validation), len(found.test)) == (
        5_600,
        600,
        800,
    )


def test_evidence_is_refused(capsys, tmp_path):
    """Its characters are many, but not independent."""
    words = ["--pruning", "evidence", "--out", str(tmp_path / "run")]
    assert main("text_transformer", TextConfig, network, words) == 2
    told = capsys.readouterr().err
    assert "5,600 examples for 118,784 entries" in told and "--pruning sal" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run(tmp_path):
    words = f"--train-size 640 --epochs 2 --out {tmp_path / 'run'}".split()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main("text_transformer", TextConfig, network, words) == 0
    assert "Python's manual, 2 epochs" in out.getvalue()
    run = read(tmp_path / "run")
    assert run.summary["entries_dense"] == 118_784
    assert run.summary["nonzero_dense"] == round(0.1 * 118_784)
    assert run.summary["conv_sparsity"] is None
    # Characters are not equally frequent: more is learnt than that each is possible.
    assert run.summary["test_cross_entropy"] < 0.8 * np.log(128)
    assert 0.1 < run.summary["test_accuracy"] < 1
    assert (tmp_path / "run/figures/accuracy.png").is_file()
