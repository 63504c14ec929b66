"""The figure of final accuracies against the dense weights left."""

import numpy as np
from drawing import dead, legend, note, parts, places, point, shows

from bopt.fronts import Front, Point
from experiments.plots.tradeoff import Trained, tradeoff

OWN = [
    Trained("adam", 1_000, 0.98, 10, 0.001),
    Trained("madam", 2_000, 0.985),
    Trained("adam-unpruned", 58_920, 0.99, pruned=False),
]
FRONTS = {"grid": Front(point(w1) for w1 in (1e-4, 1e-3, 3e-3))}


def drawn(trainings=OWN, fronts=FRONTS, published=()):
    others = (Point((), (), test_accuracy=a, nonzero_dense=n) for a, n in published)
    figure = tradeoff(trainings, fronts, Front(others), "LeNet-5 on MNIST")
    return figure, figure.axes[0]


def test_trainings_fronts_and_published_networks():
    figure, axes = drawn(published=[(0.97, 700)])
    title = "Accuracy against dense weights left: LeNet-5 on MNIST"
    assert figure.get_suptitle() == title
    names = [own.label for own in OWN]
    assert legend(figure) == ["grid", "Published networks", *names]
    assert axes.get_xlabel() == "Dense weights left (nonzero entries)"
    assert axes.get_ylabel() == "Test accuracy (%)"
    assert axes.get_xscale() == "log"
    assert places(parts(axes)["Published networks"]) == [[700, 97]]
    assert all(shows(axes, own.nonzeros, 100 * own.accuracy) for own in OWN)
    assert note(axes) == ""


def test_unpruned_trainings_are_open_and_deviations_are_bars():
    _, axes = drawn()
    bars = {bar.get_label(): bar for bar in axes.containers}
    faces = {name: bar[0].get_markerfacecolor() for name, bar in bars.items()}
    assert faces["adam-unpruned"] == "white" != faces["adam"]
    assert [len(bars[name][2]) for name in ("adam", "madam")] == [2, 0]


def test_fronts_are_stairs_of_their_non_dominated_points():
    front = Front([*FRONTS["grid"], point(2e-4, objectives=(0.06, 900.0))])
    line = parts(drawn(fronts={"grid": front})[1])["grid"]
    assert line.get_drawstyle() == "steps-post"
    left, accuracy = map(FRONTS["grid"].column, ("nonzero_dense", "test_accuracy"))
    expected = np.stack([left, 100 * accuracy], 1)
    assert places(line) == expected[np.argsort(left)].tolist()


def test_several_seeds_have_a_line_of_half_of_them_and_a_band():
    """The one who is less accurate everywhere is the worst, and one of two is half."""
    weights = (1e-4, 1e-3, 3e-3)
    front = Front(point(w1, seed=seed) for w1 in weights for seed in (0, 1))
    axes = drawn([], {"grid": front})[1]
    best, worst = (
        [
            [own.metrics["nonzero_dense"], 100 * own.metrics["test_accuracy"]]
            for own in x
        ]
        for x in front.by_seed()
    )
    assert places(parts(axes)["grid"]) == sorted(best)
    (band,) = axes.collections
    corners = np.asarray(band.get_paths()[0].vertices).tolist()
    assert all(own in corners for own in best + worst)
    assert not drawn([])[1].collections


def test_non_dominated_networks_are_inside_and_others_are_counted():
    """Networks without a weight, and an unpruned one at chance."""
    fronts = {"grid": Front([*FRONTS["grid"], dead(0.9)])}
    _, axes = drawn(fronts=fronts)
    assert shows(axes, 0, 11) and note(axes) == ""
    # Non-dominated on validation data, but not here.
    fronts = {"grid": Front([*FRONTS["grid"], point(0.1, nonzero_dense=50_000)])}
    assert shows(drawn(fronts=fronts)[1], 50_000, 78.9)
    dead_end = Trained("loss+", 0, 0.1135)
    _, axes = drawn([*OWN, dead_end])
    assert shows(axes, 0, 11.35) and note(axes) == ""
    lost = Trained("unpruned", 58_920, 0.1135, pruned=False)
    figure, axes = drawn([*OWN, lost])
    assert note(axes) == "Not shown: 1 outside"
    assert "unpruned" not in legend(figure)
    assert axes.get_ylim()[0] > 90


def test_a_diverged_training_is_counted():
    _, axes = drawn([*OWN, Trained("lost", 9, np.nan)])
    assert note(axes) == "Not shown: 1 diverged"


def test_deviations_beyond_zero_have_no_place_on_the_axis():
    _, axes = drawn([*OWN, Trained("few", 5, 0.9, 9.0, 0.01)])
    assert axes.get_xscale() == "log" and axes.get_xlim()[0] > 0
