"""Figures of several runs: training and validation, dense layers."""

import numpy as np
import pytest
from drawing import LENET, legend, places, row, vgg_row

from experiments.plots.comparisons import comparisons
from experiments.plots.curves import curves
from experiments.plots.lines import draw_reference

ROWS = [row(epoch) for epoch in range(6)]
OTHER = [row(epoch, train_accuracy=0.5) for epoch in range(3)]
VGG = [vgg_row(epoch) for epoch in range(6)]
REFERENCES = {"accuracy": 98.9, "Dense_0": 20_000, "Dense_1": 3_000, "Dense_2": 9}


def drawn(*runs, references=None):
    return comparisons(runs, f"{len(runs)} runs on MNIST", references)


def grey(axes) -> list[float]:
    """Values of the reference lines."""
    return [line.get_ydata()[0] for line in axes.lines if line.get_color() == "0.45"]


def test_training_is_solid_and_validation_dotted():
    figure = drawn(("first", ROWS), ("second", OTHER))["train_validation"]
    assert figure.get_suptitle() == "Training and validation: 2 runs on MNIST"
    assert legend(figure) == ["first", "second", "Training", "Validation"]
    left, right = figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == (
        "Accuracy (%)",
        "Cross entropy (nats)",
    )
    for axes, metric, factor in ((left, "accuracy", 100), (right, "cross_entropy", 1)):
        first, dotted, second, _ = axes.lines[:4]
        for line, split, dashes in ((first, "train", "-"), (dotted, "validation", ":")):
            values = [[r["epoch"], factor * r[f"{split}_{metric}"]] for r in ROWS]
            np.testing.assert_allclose(places(line), values)
            assert line.get_linestyle() == dashes
        assert first.get_color() == dotted.get_color() != second.get_color()
        assert len(places(second)) == 3
    assert all(panel.get_xlabel() == "Epoch" for panel in figure.axes)


def test_runs_look_as_in_the_other_figures_and_differ():
    runs = [(f"run {number}", ROWS) for number in range(9)]
    figures = curves(runs, "9 runs") | drawn(*runs)
    (left, _), layers = (figures[x].axes for x in ("train_validation", "layers"))
    looks = [(x.get_color(), x.get_marker()) for x in left.lines[:18:2]]
    assert len(set(looks)) == 9
    for axes in (figures["accuracy"].axes[0], *layers):
        assert [(x.get_color(), x.get_marker()) for x in axes.lines] == looks


def test_each_shared_layer_has_a_panel():
    figure = drawn(("first", ROWS), ("second", OTHER))["layers"]
    assert figure.get_suptitle() == "Dense weights left per layer: 2 runs on MNIST"
    assert [axes.get_title() for axes in figure.axes] == list(LENET)
    assert legend(figure) == ["first", "second"]
    for axes, layer in zip(figure.axes, LENET, strict=True):
        for line, rows in zip(axes.lines, (ROWS, OTHER), strict=True):
            assert places(line) == [[r["epoch"], r["nonzeros"][layer]] for r in rows]
        assert axes.get_yscale() == "log"


def test_runs_that_share_no_second_layer_have_their_totals_only():
    assert list(drawn(("a", ROWS), ("b", VGG))) == ["train_validation"]
    assert list(drawn(("a", VGG), ("b", VGG))) == ["train_validation"]
    assert list(drawn(("a", ROWS), ("b", []))) == ["train_validation", "layers"]
    assert list(drawn(("a", []), ("b", []))) == ["train_validation"]


def test_at_most_nine_layers():
    many = [row(0, nonzeros={f"Dense_{number}": 9 for number in range(40)})]
    assert len(drawn(("a", many), ("b", many))["layers"].axes) == 9
    few = [row(0, nonzeros={f"Dense_{number}": 9 for number in range(4)})]
    assert len(drawn(("a", few), ("b", few))["layers"].axes) == 4  # and no empty panel


def test_a_dead_layer_is_visible():
    dead = [*ROWS, row(6, nonzeros=dict.fromkeys(LENET, 0))]
    for axes in drawn(("a", ROWS), ("b", dead))["layers"].axes:
        assert axes.get_yscale() == "symlog" and axes.get_ylim()[0] <= 0


def test_reference_lines_in_or_near_the_axes():
    """Their numbers are beside the panels; the third, far outside, is left out."""
    figures = drawn(("a", ROWS), ("b", OTHER), references=REFERENCES)
    panels = figures["layers"].axes
    assert [grey(axes) for axes in panels] == [[20_000], [3_000], []]
    assert [[x.get_text() for x in axes.texts] for axes in panels] == [
        ["20,000"],
        ["3,000"],
        [],
    ]
    left, right = figures["train_validation"].axes
    assert grey(left) == [98.9] and not grey(right)
    name = "Reference line of the paper's code"
    assert all(legend(figure)[-1] == name for figure in figures.values())
    plain = drawn(("a", ROWS), ("b", OTHER))
    for figure in plain.values():
        assert not any(grey(axes) for axes in figure.axes)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_reference_line_near_the_axes_widens_them(scale):
    axes = drawn(("a", ROWS), ("b", ROWS))["train_validation"].axes[0]
    axes.set_yscale(scale)
    axes.set_ylim(10, 100)
    near, far = {"linear": (-5, -20), "log": (7, 3)}[scale]
    for value, expected in ((far, []), (near, [near]), (50, [near, 50])):
        draw_reference(axes, value)
        assert grey(axes) == expected
    bottom, top = axes.get_ylim()
    assert bottom < near and top == pytest.approx(100)
    if scale == "log":
        draw_reference(axes, 0.0)  # no place on the axis
        assert grey(axes) == [near, 50]
