"""The figures, drawn from files alone: whole, unfinished, dead and empty runs."""

import functools
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawing import NAMES, draw, labels, make, points, row

from experiments import figures
from experiments.runs.directory import RunDirectoryError


@pytest.fixture
def made(tmp_path):
    return functools.partial(make, tmp_path)


@pytest.fixture
def drawn(tmp_path):
    return functools.partial(draw, tmp_path / "out")


ROWS = [row(epoch) for epoch in range(6)]


def test_one_run(made, drawn):
    axes = drawn(made(ROWS))
    for panel in axes.values():
        assert panel.get_title() == "MNIST: madam"
        assert panel.get_xlabel() == "epoch"
    splits = ["train", "validation", "test"]
    assert labels(axes["accuracy"]) == labels(axes["loss"]) == splits
    assert axes["accuracy"].get_ylabel() == "accuracy (%)"
    for line, split in zip(axes["accuracy"].lines, splits, strict=True):
        values = [[r["epoch"], 100 * r[f"{split}_accuracy"]] for r in ROWS]
        np.testing.assert_allclose(points(line), values)
    for line, split in zip(axes["loss"].lines, splits, strict=True):
        values = [[r["epoch"], r[f"{split}_cross_entropy"]] for r in ROWS]
        np.testing.assert_allclose(points(line), values)
    assert axes["loss"].get_ylabel() == "cross entropy (nats)"
    assert axes["weight"].get_yscale() == "log"
    (line,) = axes["weight"].lines
    np.testing.assert_allclose(
        points(line), [[r["epoch"], r["weights"][1]] for r in ROWS[1:]]
    )
    assert labels(axes["nonzeros"]) == ["Dense_0", "Dense_1", "Dense_2"]
    assert points(axes["nonzeros"].lines[0])[0].tolist() == [0, 48_000]


def test_lines_differ_by_more_than_colour(made, drawn):
    lines = drawn(made(ROWS))["accuracy"].lines
    assert len({line.get_color() for line in lines}) == 3
    assert len({line.get_linestyle() for line in lines}) == 3
    assert len({line.get_marker() for line in lines}) == 3


def test_several_runs_over_each_other(made, drawn):
    other = [row(epoch, test_accuracy=0.5) for epoch in range(3)]
    axes = drawn(made(ROWS, "first"), made(other, "second", "digits", optimizer="adam"))
    for panel in axes.values():
        assert panel.get_title() == "MNIST / digits: comparison"
        assert labels(panel) == ["first (madam)", "second (adam)"]
        assert len(panel.lines) == 2
    assert axes["accuracy"].get_ylabel() == "test accuracy (%)"
    assert points(axes["accuracy"].lines[1]).tolist() == [[0, 50], [1, 50], [2, 50]]
    assert axes["loss"].get_ylabel() == "test cross entropy (nats)"
    left = points(axes["nonzeros"].lines[0])
    assert left[0].tolist() == [0, 58_920]


def test_weights_are_shares_of_their_sum(made, drawn):
    """The baselines' weights are (1, l1), which sum to more than 1."""
    rows = [row(0), row(1, weights=[3.0, 1.0]), row(2, weights=[0.0, 0.0])]
    (line,) = drawn(made(rows))["weight"].lines
    assert points(line).tolist() == [[1, 0.25], [2, 0]]


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_unfinished_runs(epochs, made, drawn):
    """After 0, 1 and 2 lines: stopped while compiling, before and after epoch 1."""
    axes = drawn(made(ROWS[:epochs]))
    assert len(axes["weight"].get_lines()[0].get_xdata()) == max(epochs - 1, 0)


def test_a_dead_network(made, drawn):
    """0 nonzeros must be seen, which a logarithmic axis would not show."""
    dead = [*ROWS, row(6, nonzeros={"Dense_0": 0, "Dense_1": 0, "Dense_2": 0})]
    axes = drawn(made(dead))["nonzeros"]
    assert axes.get_yscale() == "symlog"
    bottom, top = axes.get_ylim()
    assert bottom <= 0 < 48_000 <= top
    assert drawn(made(ROWS, "alive"))["nonzeros"].get_yscale() == "log"


def test_null_in_the_metrics(made, drawn):
    """A loss that was not finite is null. Cause: null weights stopped the drawing."""
    rows = [
        *ROWS,
        row(6, test_cross_entropy=None, train_cross_entropy=None, train_accuracy=None),
        row(7, weights=[None, None]),
    ]
    axes = drawn(made(rows))
    assert [len(points(line)) for line in axes["loss"].lines] == [7, 8, 7]
    assert [len(points(line)) for line in axes["accuracy"].lines] == [7, 8, 8]
    assert points(axes["weight"].lines[0])[-1][0] == 6


def test_what_cannot_be_drawn(tmp_path, made):
    with pytest.raises(RunDirectoryError, match=r"nowhere holds no run: it has no con"):
        figures.draw([made(ROWS), tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(RunDirectoryError, match=r"^No run directory to draw\.$"):
        figures.draw([], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match=r"Cannot write .*file.accuracy\.png: "):
        figures.draw([tmp_path / "run"], tmp_path / "file")
    assert plt.get_fignums() == []


def program(*words, cwd) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "experiments.figures", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=cwd,
    )


def test_the_program(made, tmp_path):
    first = made(ROWS, "first")
    made(ROWS, "second")
    alone = program("first", cwd=tmp_path)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert alone.stdout.split() == [f"first/figures/{name}" for name in NAMES]
    assert {path.name for path in (first / "figures").iterdir()} == set(NAMES)
    together = program("first", "second", "--out", "both", cwd=tmp_path)
    assert together.stdout.split() == [f"both/{name}" for name in NAMES]


def test_main_says_what_is_wrong(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["figures", str(tmp_path)])
    assert figures.main() == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} holds no run: ")
    monkeypatch.setattr(sys, "argv", ["figures"])
    assert figures.main() == 1
    assert capsys.readouterr().err == "error: No run directory to draw.\n"
    monkeypatch.chdir(tmp_path)
    paths = [str(made(ROWS, name)) for name in ("a", "b")]
    monkeypatch.setattr(sys, "argv", ["figures", *paths])
    assert figures.main() == 0
    assert capsys.readouterr().out.split() == [f"figures/{name}" for name in NAMES]
