"""The figure of the levels of a search."""

import functools

import jax
import numpy as np
import pytest
from drawing import dead, legend, note, parts, places, point, shows

from bopt import fronts
from bopt.fronts import Front
from experiments.plots.front import levels_figure

WORDS = ["Segments", "Earlier points", "Current points", "New points"]


def drawn(points):
    figure = levels_figure(Front(points), "LeNet-5 on MNIST")
    return figure, figure.axes


@functools.cache
def searched(seeds=1, number=4) -> Front:
    """Points that a search finds on a known front."""
    search, front = fronts.bisection(), Front()
    for level in range(number):
        batch = search(front, jax.random.key(level))
        new = [
            point(w1, level, seed, objectives=(0.04 + 9 * w1 + 1e-3 * seed, w1**-0.6))
            if w1
            else point(w1, level, seed)
            for _, w1 in batch.weights
            for seed in range(seeds)
        ]
        front = Front([*front, *new])
    return front


def objectives(points) -> list[list[float]]:
    return [list(point.objectives) for point in points]


@pytest.mark.parametrize("seeds", [1, 3])
def test_each_level_shows_what_it_started_from_and_found(seeds):
    front = searched(seeds)
    figure, panels = drawn(front)
    assert len(panels) == 4
    assert figure.subfigs[0].get_suptitle() == "Levels of the search: LeNet-5 on MNIST"
    segments, earlier, current, new = WORDS
    current += " (means over seeds)" * (seeds > 1)
    assert legend(figure) == [segments, earlier, current, new]
    assert list(parts(panels[0])) == [new]
    for level, axes in enumerate(panels):
        assert axes.get_title(loc="left") == f"Level {level}"
        own = parts(axes)
        assert places(own[new]) == objectives(
            p for p in front if p.metrics["level"] == level
        )
        if level:
            before = Front(p for p in front if p.metrics["level"] < level)
            hull = objectives(before.means().hull())
            assert places(own[earlier]) == objectives(before)
            assert places(own[current]) == places(own[segments]) == hull
            assert len(hull) > 1


def test_shapes_tell_what_colours_do():
    own = parts(drawn(searched())[1][-1])
    sizes = [own[name].get_sizes()[0] for name in ("Earlier points", "Current points")]
    assert sizes[1] > 2 * sizes[0]
    shapes = [str(own[name].get_paths()[0].vertices) for name in WORDS[1:]]
    assert shapes[0] == shapes[1] != shapes[2]
    assert len(own["New points"].get_facecolors()) == 0  # open


def test_axes_are_shared_and_labelled_once():
    figure, panels = drawn(searched())
    assert {axes.get_xlim() for axes in panels} == {panels[0].get_xlim()}
    assert {axes.get_ylim() for axes in panels} == {panels[0].get_ylim()}
    assert {axes.get_yscale() for axes in panels} == {"log"}
    whole = figure.subfigs[0]
    assert whole.get_supxlabel() == "Validation cross entropy (nats)"
    assert whole.get_supylabel() == "l1 norm of the dense weights"
    assert not any(axes.get_xlabel() or axes.get_ylabel() for axes in panels)


def test_a_search_of_one_level():
    points = [point(w1) for w1 in (1e-4, 1e-3)]
    figure, (axes,) = drawn(points)
    assert places(parts(axes)["New points"]) == objectives(points)
    assert legend(figure) == ["New points"]


def test_before_the_first_point():
    figure, (axes,) = drawn([])
    assert note(axes) == "No point yet"
    assert legend(figure) == []


@pytest.mark.parametrize(
    "number, shape",
    [(1, (1, 1)), (2, (1, 2)), (4, (1, 4)), (5, (2, 3)), (7, (2, 4)), (10, (3, 4))],
)
def test_the_grid_of_panels(number, shape):
    """Only the last row has gaps; ticks above a gap are labelled, too."""
    points = [point(w1, level) for level, w1 in enumerate(np.geomspace(1e-4, 1e-2, 10))]
    _, panels = drawn(points[:number])
    assert len(panels) == number
    spec = panels[0].get_subplotspec()
    assert spec is not None and spec.get_geometry()[:2] == shape
    labelled = [axes.xaxis.get_tick_params()["labelbottom"] for axes in panels]
    assert labelled == [False] * (number - shape[1]) + [True] * shape[1]


def test_the_last_twelve_levels():
    points = map(point, np.geomspace(1e-4, 1e-2, 14), range(14))
    figure, panels = drawn(points)
    assert figure.subfigs[0].get_suptitle() == (
        "Levels of the search (last 12 of 14): LeNet-5 on MNIST"
    )
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [f"Level {level}" for level in range(2, 14)]
    assert len(places(parts(panels[0])["Earlier points"])) == 2


def test_non_dominated_dead_networks_are_inside():
    """Searches start from the hull, and the sparse end belongs to it."""
    _, panels = drawn([*searched(), dead(0.5)])
    assert all(shows(axes, 2.3, 0) for axes in panels)
    assert [note(axes) for axes in panels] == [""] * 4
    assert places(parts(panels[1])["Segments"])[-1] == [2.3, 0]


def test_dominated_dead_networks_do_not_change_the_axes():
    """A level counts those of its time only."""
    alive = drawn(searched())[1]
    _, panels = drawn([*searched(), dead(0.5, l1=9_000.0, level=2)])
    for before, after in zip(alive, panels, strict=True):
        assert before.get_xlim() == after.get_xlim()
        assert before.get_ylim() == after.get_ylim()
    assert [note(axes) for axes in panels] == ["", "", *["Not shown: 1 outside"] * 2]
