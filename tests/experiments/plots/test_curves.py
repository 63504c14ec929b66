"""Curves of runs: whole, unfinished, dead, diverged, and several over each other."""

import numpy as np
import pytest
from drawing import LENET, VGG, labels, places, row, vgg_row

from experiments.plots.curves import curves

EPOCHS = range(6)
ROWS = [row(epoch) for epoch in EPOCHS]
DENSE, CONV = 20_480, sum(VGG.values())
SPLITS = {"Training": "train", "Validation": "validation", "Test": "test"}


def drawn(*runs, subject="adam on MNIST"):
    """Name -> panel; runs are rows, or pairs of a label and rows."""
    named = [run if isinstance(run, tuple) else ("run", run) for run in runs]
    return {name: figure.axes[0] for name, figure in curves(named, subject).items()}


def look(line) -> tuple:
    return line.get_color(), line.get_linestyle(), line.get_marker()


def test_one_run_shows_its_splits_and_layers():
    axes = drawn(ROWS)
    titles = {name: panel.get_title() for name, panel in axes.items()}
    assert titles == {
        "accuracy": "Accuracy: adam on MNIST",
        "loss": "Cross entropy: adam on MNIST",
        "weight": "Weight of objective 1: adam on MNIST",
        "nonzeros": "Dense weights left: adam on MNIST",
    }
    assert {panel.get_xlabel() for panel in axes.values()} == {"Epoch"}
    assert [panel.get_ylabel() for panel in axes.values()] == [
        *("Accuracy (%)", "Cross entropy (nats)"),
        "Weight of objective 1 (share of the sum)",
        "Dense weights left (nonzero entries)",
    ]
    for name, key, factor in (
        ("accuracy", "accuracy", 100),
        ("loss", "cross_entropy", 1),
    ):
        assert labels(axes[name]) == list(SPLITS)
        for line, split in zip(axes[name].lines, SPLITS.values(), strict=True):
            values = [[r["epoch"], factor * r[f"{split}_{key}"]] for r in ROWS]
            np.testing.assert_allclose(places(line), values)
    (line,) = axes["weight"].lines
    shares = [[r["epoch"], r["weights"][1]] for r in ROWS[1:]]
    np.testing.assert_allclose(places(line), shares)
    assert axes["weight"].get_yscale() == "log"
    assert labels(axes["nonzeros"]) == list(LENET)
    assert places(axes["nonzeros"].lines[0])[0] == [0, 48_000]


@pytest.mark.parametrize("epochs", [1, 2, 3, 30])
def test_epochs_have_integer_ticks(epochs):
    for panel in drawn([row(epoch) for epoch in range(epochs + 1)]).values():
        ticks = panel.get_xticks()
        assert (ticks == np.round(ticks)).all()


def test_accuracies_after_the_first_epoch_are_inside():
    rows = [row(0), *(row(e, validation_accuracy=0.2) for e in (1, 2))]
    bottom, top = drawn(rows)["accuracy"].get_ylim()
    assert bottom < 20 and top > 100


def test_nearly_constant_curves_have_ticks():
    """Cause: no 1, 2 or 5 of a decade lies between 2.2 and 2.3."""
    rows = [
        row(e, **{f"{s}_cross_entropy": 2.3 - e / 100 for s in SPLITS.values()})
        for e in (0, 1)
    ]
    axes = drawn(rows)["loss"]
    bottom, top = axes.get_ylim()
    assert sum(bottom <= tick <= top for tick in axes.get_yticks()) > 1


def test_lines_differ_by_more_than_colour():
    lines = drawn(ROWS)["accuracy"].lines
    assert all(len(set(looks)) == 3 for looks in zip(*map(look, lines), strict=True))


def test_several_runs_are_compared():
    other = [row(epoch, test_accuracy=0.5) for epoch in range(3)]
    axes = drawn(("first", ROWS), ("second", other), subject="2 runs on MNIST")
    for panel in axes.values():
        assert panel.get_title().endswith(": 2 runs on MNIST")
        assert labels(panel) == ["first", "second"]
    assert axes["accuracy"].get_ylabel() == "Test accuracy (%)"
    assert places(axes["accuracy"].lines[1]) == [[0, 50], [1, 50], [2, 50]]
    assert axes["loss"].get_ylabel() == "Test cross entropy (nats)"
    assert places(axes["nonzeros"].lines[0])[0] == [0, 58_920]


def test_means_over_seeds_have_a_band_of_their_deviation():
    rows = [row(e, deviation={"test_accuracy": 0.01}) for e in range(3)]
    axes = drawn(("seeds", rows), ("one", ROWS))["accuracy"]
    (band,) = axes.collections
    edges = np.asarray(band.get_paths()[0].vertices)[:, 1]
    means = np.array([100 * r["test_accuracy"] for r in rows])
    assert (edges.min(), edges.max()) == pytest.approx((means[0] - 1, means[-1] + 1))


def test_weights_are_shares_of_their_sum():
    """The weights of a baseline are (1, l1), with a sum above 1."""
    rows = [row(0), row(1, weights=[3.0, 1.0]), row(2, weights=[0.0, 0.0])]
    (line,) = drawn(rows)["weight"].lines
    assert places(line) == [[1, 0.25], [2, 0]]


def stationary(*values):
    """Rows of these stationarities from epoch 1 on."""
    return [row(e, stationarity=value) for e, value in enumerate((None, *values))]


def test_the_stationarity_is_drawn_where_a_row_has_it():
    assert "stationarity" not in drawn(ROWS)
    assert "stationarity" not in drawn(stationary(None, None))
    axes = drawn(stationary(0.5, None, 0.3))["stationarity"]
    assert axes.get_title() == "Pareto stationarity: adam on MNIST"
    assert axes.get_ylabel().startswith("Norm of the common direction")
    assert [places(line) for line in axes.lines] == [[[1, 0.5], [3, 0.3]]]
    assert labels(axes) == [] and axes.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((0.5, 0.1), "linear"),
        ((0.5, 0.01), "log"),
        ((0.5, 0.01, 0.0), "symlog"),
        ((0.0, 0.0), "linear"),
    ],
)
def test_small_stationarities_and_zeros_are_visible(values, scale):
    axes = drawn(stationary(*values))["stationarity"]
    bottom, top = axes.get_ylim()
    assert axes.get_yscale() == scale
    assert bottom < min(values) and max(values) < top


def test_stationarities_are_compared_in_the_colours_of_the_runs():
    """Runs without them are left out; deviations have bands."""
    rows = [r | {"deviation": {"stationarity": 0.05}} for r in stationary(0.5, 0.3)]
    axes = drawn(("old", ROWS), ("a", stationary(0.2)), ("b", rows))
    panel, others = axes["stationarity"], axes["accuracy"].lines[1:]
    assert labels(panel) == ["a", "b"]
    for line, other in zip(panel.lines, others, strict=True):
        assert line.get_color() == other.get_color()
    assert len(panel.collections) == 1
    assert panel.get_ylim()[1] > 0.55


def test_a_run_far_less_accurate_leaves_the_others_apart():
    bad = [row(epoch, test_accuracy=0.1) for epoch in range(3)]
    good = [row(epoch, test_accuracy=0.99) for epoch in range(3)]
    axes = drawn(("bad", bad), ("good", good))["accuracy"]
    assert axes.get_yscale() == "function"
    bottom, top = axes.get_ylim()
    assert bottom < 10 and top > 99


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_unfinished_runs(epochs):
    """Runs that were stopped while compiling, before and after epoch 1."""
    axes = drawn(ROWS[:epochs])
    assert len(places(axes["weight"].lines[0])) == max(epochs - 1, 0)
    rows = [vgg_row(epoch, pruned=True, split=True) for epoch in range(epochs)]
    axes = drawn(rows)
    assert len(axes["weight"].lines) == (2 if epochs == 2 else 1)
    assert len(axes["nonzeros"].lines) == (0, 1, 7)[epochs]


def test_a_dead_network_is_visible():
    """Cause: a logarithmic axis would not show 0 nonzeros."""
    rows = [*ROWS, row(6, nonzeros=dict.fromkeys(LENET, 0))]
    axes = drawn(rows)["nonzeros"]
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] <= 0 < 48_000 <= axes.get_ylim()[1]
    assert drawn(ROWS)["nonzeros"].get_yscale() == "log"


def test_null_metrics_are_left_out():
    """A loss that is not finite is null. Cause: null weights stopped the drawing."""
    null = dict.fromkeys(
        ("test_cross_entropy", "train_cross_entropy", "train_accuracy")
    )
    axes = drawn([*ROWS, row(6, **null), row(7, weights=[None, None])])
    assert [len(places(line)) for line in axes["loss"].lines] == [7, 8, 7]
    assert [len(places(line)) for line in axes["accuracy"].lines] == [7, 8, 8]
    assert places(axes["weight"].lines[0])[-1][0] == 6
    rows = [vgg_row(epoch, split=True) for epoch in EPOCHS]
    rows[-1]["weights"]["conv"] = [None, None]
    conv, dense = drawn(rows)["weight"].lines
    assert (len(places(conv)), len(places(dense))) == (4, 5)


def test_two_groups_of_layers():
    rows = [vgg_row(epoch, split=True) for epoch in EPOCHS]
    axes = drawn(rows)["weight"]
    assert labels(axes) == ["Convolutional layers", "Dense layers"]
    for line, group in zip(axes.lines, ("conv", "dense"), strict=True):
        shares = [[r["epoch"], r["weights"][group][1]] for r in rows[1:]]
        np.testing.assert_allclose(places(line), shares)
    assert all(a != b for a, b in zip(*map(look, axes.lines), strict=True))


@pytest.mark.parametrize("pruned", [True, False])
def test_convolutions_are_shown_where_they_are_pruned(pruned):
    rows = [vgg_row(epoch, pruned=pruned) for epoch in EPOCHS]
    axes = drawn(rows)["nonzeros"]
    layers = ["Dense_0", *VGG] if pruned else ["Dense_0"]
    assert labels(axes) == layers
    for line, layer in zip(axes.lines, layers, strict=True):
        left = [(r["nonzeros"] | r["nonzeros_conv"])[layer] for r in rows]
        assert places(line) == [[*pair] for pair in enumerate(left)]
    assert axes.get_title().startswith("Weights left" if pruned else "Dense weights")
    assert len({look(line) for line in axes.lines}) == len(layers)


def test_a_comparison_counts_the_same_layers_of_each_run():
    """If one run prunes its convolutions, those of the others count, too."""
    pruned, dense = ([vgg_row(e, pruned=p) for e in EPOCHS] for p in (True, False))
    both = drawn(("a", dense), ("b", pruned))["nonzeros"]
    assert [places(line)[0][1] for line in both.lines] == [DENSE + CONV] * 2
    last = dense[-1]["nonzeros"]["Dense_0"]
    ends = [places(line)[-1][1] for line in both.lines]
    assert ends[0] == last + CONV > ends[1] + 0.4 * CONV
    assert both.get_ylabel() == "Weights left (nonzero entries)"
    alone = drawn(("a", dense), ("a", dense))["nonzeros"]
    assert places(alone.lines[0])[0][1] == DENSE


def test_a_run_keeps_its_colour_in_all_figures_of_a_comparison():
    """Runs of both networks, one without convolution counts, one without rows.

    Cause: each line of the weights had the next colour, whether a run had none, one or
    two.
    """
    runs = [
        ("empty", []),
        ("old", ROWS),
        ("split", [vgg_row(epoch, pruned=True, split=True) for epoch in EPOCHS]),
        ("plain", [vgg_row(epoch) for epoch in EPOCHS]),
    ]
    axes = drawn(*runs)
    colors = {line.get_label(): line.get_color() for line in axes["accuracy"].lines}
    assert list(colors) == ["empty", "old", "split", "plain"]
    assert len(set(colors.values())) == 4
    found = {line.get_label(): line.get_color() for line in axes["weight"].lines}
    split = colors.pop("split")
    groups = ("convolutional layers", "dense layers")
    assert found == colors | {f"split, {group}": split for group in groups}
    assert len({look(line) for line in axes["weight"].lines}) == 5
    starts = [places(line)[0][1] for line in axes["nonzeros"].lines[1:]]
    assert starts == [sum(LENET.values()), DENSE + CONV, DENSE + CONV]


def test_a_run_without_a_second_objective():
    """Cause: a logarithmic axis cannot show the weights of --l1 0, all zero."""
    zero = [row(0), *(row(epoch, weights=[1.0, 0.0]) for epoch in (1, 2))]
    axes = drawn(zero)["weight"]
    assert axes.get_yscale() == "linear"
    assert places(axes.lines[0]) == [[1, 0], [2, 0]]
    assert axes.get_ylim()[0] <= 0 < axes.get_ylim()[1]
    assert drawn(("zero", zero), ("other", ROWS))["weight"].get_yscale() == "log"
