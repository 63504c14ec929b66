"""Figures of two groups of layers, of pruned convolutions, and of both experiments."""

import functools

import numpy as np
import pytest
from drawing import LENET, VGG, draw, labels, make, points, row, vgg_row

from experiments.runs.directory import read

EPOCHS = range(6)
DENSE, CONV = 20_480, sum(VGG.values())


@pytest.fixture
def made(tmp_path):
    return functools.partial(make, tmp_path, title="CIFAR-10", optimizer="smgd")


@pytest.fixture
def drawn(tmp_path):
    return functools.partial(draw, tmp_path / "out")


def look(line) -> tuple:
    return line.get_color(), line.get_linestyle(), line.get_marker()


def looks(axes) -> dict[str, tuple]:
    return {line.get_label(): look(line) for line in axes.lines}


def test_a_run_with_two_groups(made, drawn):
    rows = [vgg_row(epoch, split=True) for epoch in EPOCHS]
    axes = drawn(made(rows))["weight"]
    assert labels(axes) == ["conv layers", "dense layers"]
    for line, group in zip(axes.lines, ("conv", "dense"), strict=True):
        shares = [[r["epoch"], r["weights"][group][1]] for r in rows[1:]]
        np.testing.assert_allclose(points(line), shares)
    assert all(a != b for a, b in zip(*map(look, axes.lines), strict=True))


def test_null_weights_of_a_group(made, drawn):
    """They were not finite; those of the other group are drawn."""
    rows = [vgg_row(epoch, split=True) for epoch in EPOCHS]
    rows[-1]["weights"]["conv"] = [None, None]
    conv, dense = drawn(made(rows))["weight"].lines
    assert (len(points(conv)), len(points(dense))) == (4, 5)


@pytest.mark.parametrize("pruned", [True, False])
def test_convolutions_are_shown_where_they_are_pruned(pruned, made, drawn):
    rows = [vgg_row(epoch, pruned=pruned) for epoch in EPOCHS]
    axes = drawn(made(rows))["nonzeros"]
    layers = ["Dense_0", *VGG] if pruned else ["Dense_0"]
    assert labels(axes) == layers
    for line, layer in zip(axes.lines, layers, strict=True):
        left = [(r["nonzeros"] | r["nonzeros_conv"])[layer] for r in rows]
        assert points(line).tolist() == [[*pair] for pair in enumerate(left)]
    text = "nonzero weights" if pruned else "nonzero dense weights"
    assert axes.get_ylabel() == text
    assert len({look(line) for line in axes.lines}) == len(layers)


def test_a_comparison_counts_the_same_of_each_run(made, drawn):
    """If one run prunes its convolutions, those of the others count, too."""
    paths = [
        made([vgg_row(epoch, pruned=pruned) for epoch in EPOCHS], name)
        for name, pruned in (("a", False), ("b", True))
    ]
    both = drawn(*paths)["nonzeros"]
    assert [points(line)[0, 1] for line in both.lines] == [DENSE + CONV] * 2
    last = [sum(read(path).metrics[-1]["nonzeros"].values()) for path in paths]
    assert points(both.lines[0])[-1, 1] == last[0] + CONV
    assert points(both.lines[1])[-1, 1] < last[1] + 0.6 * CONV
    assert both.get_ylabel() == "nonzero weights"
    alone = drawn(paths[0], paths[0])["nonzeros"]
    assert points(alone.lines[0])[0, 1] == DENSE
    assert alone.get_ylabel() == "nonzero dense weights"


def test_runs_of_both_experiments(made, drawn):
    """One of them written before convolutions were counted."""
    rows = [row(epoch) for epoch in EPOCHS]
    old = made(rows, "old", title="MNIST", optimizer="madam")
    split = made([vgg_row(epoch, pruned=True, split=True) for epoch in EPOCHS], "split")
    plain = made([vgg_row(epoch) for epoch in EPOCHS], "plain")
    axes = drawn(old, split, plain)
    names = ["old (madam)", "split (smgd)", "plain (smgd)"]
    groups = [f"split (smgd), {group} layers" for group in ("conv", "dense")]
    for name, panel in axes.items():
        assert panel.get_title() == "MNIST / CIFAR-10: comparison"
        weight = name == "weight"
        assert labels(panel) == ([names[0], *groups, names[2]] if weight else names)
        assert len(set(looks(panel).values())) == len(panel.lines)
    starts = [points(line)[0, 1] for line in axes["nonzeros"].lines]
    assert starts == [sum(LENET.values()), DENSE + CONV, DENSE + CONV]


def test_a_run_has_one_colour_in_all_figures_of_a_comparison(made, drawn):
    """Cause: each line of the weights had the next colour, whether a run had none, one
    or two."""
    paths = [
        made([], "empty"),
        made([vgg_row(epoch, split=True) for epoch in EPOCHS], "split"),
        made([vgg_row(epoch) for epoch in EPOCHS], "plain"),
    ]
    axes = drawn(*paths)
    colors = {label: color for label, (color, *_) in looks(axes["accuracy"]).items()}
    assert len(set(colors.values())) == 3
    found = {label: color for label, (color, *_) in looks(axes["weight"]).items()}
    split = colors.pop("split (smgd)")
    assert found == colors | {
        f"split (smgd), {group} layers": split for group in ("conv", "dense")
    }
    styles = [style for _, *style in looks(axes["weight"]).values()]
    assert len({*map(tuple, styles)}) == 4


def test_a_run_without_a_second_objective(made, drawn):
    """--l1 0. Cause: no weight could be shown on a logarithmic axis, and Matplotlib's
    warning was all that a user saw."""
    zeros = [vgg_row(0), *(vgg_row(epoch, weights=[1.0, 0.0]) for epoch in (1, 2))]
    zero = made(zeros, "zero")
    axes = drawn(zero)["weight"]
    assert axes.get_yscale() == "linear"
    assert points(axes.lines[0]).tolist() == [[1, 0], [2, 0]]
    bottom, top = axes.get_ylim()
    assert bottom <= 0 < top
    both = drawn(zero, made([vgg_row(epoch) for epoch in EPOCHS], "other"))["weight"]
    assert both.get_yscale() == "log"


@pytest.mark.parametrize("epochs", [1, 2])
def test_unfinished_runs(epochs, made, drawn):
    rows = [vgg_row(epoch, pruned=True, split=True) for epoch in range(epochs)]
    axes = drawn(made(rows))
    assert len(axes["weight"].lines) == (2 if epochs == 2 else 1)
    assert len(axes["nonzeros"].lines) == {1: 1, 2: 7}[epochs]
