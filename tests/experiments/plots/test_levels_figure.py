"""The figure of a search, level by level."""

import functools

import jax
import numpy as np
import pytest
from front_drawing import dead, draw, legend, make_front, note, parts, places, point

from bopt import fronts
from bopt.fronts import Front

WORDS = ["segments", "earlier points", "current points", "new points"]


@pytest.fixture
def drawn(tmp_path):
    """What is drawn of points: the figure, its panels."""

    def drawn(points, *args, **kwargs):
        path = make_front(tmp_path, points, *args, **kwargs)
        figure = draw(tmp_path / "out", path)["levels"]
        return figure, figure.axes

    return drawn


@functools.cache
def searched(seeds=1, number=4) -> Front:
    """What a search finds on a front that is known."""
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
def test_what_each_level_knew_went_on_from_and_found(seeds, drawn):
    front = searched(seeds)
    figure, panels = drawn(front, search="bisection")
    assert len(panels) == 4
    assert figure.subfigs[0].get_suptitle() == (
        "MNIST, LeNet-5, adam: bisection search, level by level"
    )
    segments, earlier, current, new = WORDS
    current += " (means over seeds)" * (seeds > 1)
    assert legend(figure) == [segments, earlier, current, new]
    assert list(parts(panels[0])) == [new]
    for level, axes in enumerate(panels):
        assert axes.get_title(loc="left") == f"level {level}"
        own = parts(axes)
        assert places(own[new]) == objectives(p for p in front if p.level == level)
        if level:
            before = Front(p for p in front if p.level < level)
            hull = objectives(before.means().hull())
            assert places(own[earlier]) == objectives(before)
            assert places(own[current]) == places(own[segments]) == hull
            assert len(hull) > 1


def test_shapes_tell_what_colours_do(drawn):
    own = parts(drawn(searched())[1][-1])
    sizes = [own[name].get_sizes()[0] for name in ("earlier points", "current points")]
    assert sizes[1] > 2 * sizes[0]
    shapes = [str(own[name].get_paths()[0].vertices) for name in WORDS[1:]]
    assert shapes[0] == shapes[1] != shapes[2]
    assert len(own["new points"].get_facecolors()) == 0  # open


def test_axes_are_shared_and_labelled_once(drawn):
    figure, panels = drawn(searched())
    assert {axes.get_xlim() for axes in panels} == {panels[0].get_xlim()}
    assert {axes.get_ylim() for axes in panels} == {panels[0].get_ylim()}
    assert {axes.get_yscale() for axes in panels} == {"log"}
    whole = figure.subfigs[0]
    assert whole.get_supxlabel() == "validation cross entropy (nats)"
    assert whole.get_supylabel() == "l1 norm of the dense weights"
    assert not any(axes.get_xlabel() or axes.get_ylabel() for axes in panels)


def test_a_search_of_one_level(drawn):
    points = [point(w1) for w1 in (1e-4, 1e-3)]
    figure, (axes,) = drawn(points)
    assert places(parts(axes)["new points"]) == objectives(points)
    assert legend(figure) == ["new points"]


def test_before_the_first_point(drawn):
    figure, (axes,) = drawn([])
    assert note(axes) == "no point yet"
    assert legend(figure) == []


@pytest.mark.parametrize(
    "number, shape",
    [(1, (1, 1)), (2, (1, 2)), (4, (1, 4)), (5, (2, 3)), (7, (2, 4)), (10, (3, 4))],
)
def test_the_grid_of_panels(number, shape, drawn):
    """Without gaps but in the last row; above a gap, the ticks are labelled, too."""
    points = [point(w1, level) for level, w1 in enumerate(np.geomspace(1e-4, 1e-2, 10))]
    _, panels = drawn(points[:number])
    assert len(panels) == number
    grid = panels[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == shape
    labelled = [axes.xaxis.get_tick_params()["labelbottom"] for axes in panels]
    assert labelled == [False] * (number - shape[1]) + [True] * shape[1]


def test_the_last_twelve_levels(drawn):
    points = map(point, np.geomspace(1e-4, 1e-2, 14), range(14))
    figure, panels = drawn(points)
    assert figure.subfigs[0].get_suptitle() == (
        "MNIST, LeNet-5, adam: grid search, level by level (the last 12 of 14 levels)"
    )
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [f"level {level}" for level in range(2, 14)]
    assert len(places(parts(panels[0])["earlier points"])) == 2


def test_dead_networks_do_not_squash_the_picture(drawn):
    """They may be what the search went on from: lines to them leave the axes."""
    alive = drawn(searched())[1]
    front = Front([*searched(), dead(0.5)])
    _, panels = drawn(front, name="dead")
    for before, after in zip(alive, panels, strict=True):
        assert before.get_xlim() == after.get_xlim()
        assert before.get_ylim() == after.get_ylim()
        assert note(after) == "not shown: 1 outside"
    assert places(parts(panels[1])["segments"])[-1] == [2.3, 0]


def test_what_a_level_does_not_show_is_of_its_time(drawn):
    front = [*searched(), dead(0.5, level=2)]
    _, panels = drawn(front)
    assert [note(axes) for axes in panels] == ["", "", *["not shown: 1 outside"] * 2]
