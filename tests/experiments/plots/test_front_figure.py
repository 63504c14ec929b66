"""The figure of a Pareto front: finished, unfinished, dead."""

import numpy as np
import pytest
from drawing import changed, dead, diverged, legend, note, parts, places, point, shows
from matplotlib import colormaps

from bopt.fronts import Front, Point
from experiments.plots.front import front_figure

GRID = [point(w1) for w1 in (1e-4, 3e-4, 1e-3, 3e-3)]
DOMINATED = point(2e-4, objectives=(0.06, 900.0))
PLAIN = point(0.0, objectives=(0.035, 5_000.0))
FRONT = [PLAIN, DOMINATED, *GRID]
FINAL = point(1e-3, objectives=(0.05, 150.0), nonzero_dense=1_400, test_accuracy=0.985)
STAR = "Weight jump knee, trained in full"


def published(*networks) -> Front:
    return Front(Point((), (), test_accuracy=a, nonzero_dense=n) for a, n in networks)


def drawn(points, title="LeNet-5 on MNIST", **options):
    figure = front_figure(Front(points), title, **options)
    return figure, *figure.axes[:2]


def objectives(points) -> list[list[float]]:
    return [[p.objectives[1], p.objectives[0]] for p in points]


def results(points) -> list[list[float]]:
    return [
        [p.metrics["nonzero_dense"], 100 * p.metrics["test_accuracy"]] for p in points
    ]


def assert_shown(points, left, right):
    assert all(shows(left, *place) for place in objectives(points))
    assert all(shows(right, *place) for place in results(points))


def test_every_point_is_in_both_panels():
    figure, left, right = drawn(FRONT)
    assert figure.get_suptitle() == "Pareto front: LeNet-5 on MNIST"
    assert left.get_xlabel() == "l1 norm of the dense weights"
    assert left.get_ylabel() == "Validation cross entropy (nats)"
    assert right.get_xlabel() == "Dense weights left (nonzero entries)"
    assert right.get_ylabel() == "Test accuracy (%)"
    assert (left.get_xscale(), right.get_xscale()) == ("log", "log")
    groups = {
        "Non-dominated": GRID,
        "Dominated": [DOMINATED],
        "Non-dominated, cross entropy alone": [PLAIN],
    }
    for label, points in groups.items():
        assert places(parts(left)[label]) == objectives(points)
        assert places(parts(right)[label]) == results(points)
    assert legend(figure) == list(groups)
    assert_shown(FRONT, left, right)
    assert note(left) == note(right) == ""


@pytest.mark.parametrize("number", [1, 5])
def test_dead_networks_that_are_not_dominated_are_inside(number):
    """Cause: the axes were fitted to the accurate networks, and hid the sparse end."""
    points = [*FRONT, *map(dead, np.linspace(0.1, 0.9, number))]
    _, left, right = drawn(points)
    assert_shown(points, left, right)
    assert (left.get_xscale(), right.get_xscale()) == ("symlog", "symlog")
    assert right.get_yscale() == "function"
    assert note(left) == note(right) == ""


def test_the_sparse_end_is_inside():
    """Points far less accurate than the best, and not dominated."""
    sparse = [point(w1) for w1 in (0.02, 0.06, 0.1)]
    assert_shown(sparse, *drawn([*FRONT, *sparse])[1:])


@pytest.mark.parametrize("number", [1, 5])
def test_dominated_dead_networks_do_not_change_the_axes(number):
    alive = drawn(FRONT)[1:]
    weights = np.linspace(0.1, 0.9, number)
    behind = [dead(w1, l1=9_000.0, left=58_000) for w1 in weights]
    figure, *panels = drawn([*FRONT, *behind, diverged(0.05)])
    for before, after in zip(alive, panels, strict=True):
        assert before.get_xlim() == after.get_xlim()
        assert before.get_ylim() == after.get_ylim()
        assert note(after) == f"Not shown: {number} outside, 1 diverged"
    assert figure.axes[2].get_ylim() == pytest.approx((1e-4, 3e-3))  # the colour bar


def test_stairs_join_the_non_dominated_points():
    _, left, right = drawn(FRONT)
    (line,) = left.lines
    assert line.get_drawstyle() == "steps-post"
    assert places(line) == objectives([PLAIN, *GRID])
    assert not right.lines


def test_colours_are_the_weights():
    """The scale is logarithmic; (1, 0), which has no place on it, is black."""
    figure, left, right = drawn(FRONT)
    bar = figure.axes[2]
    assert bar.get_ylabel() == "Weight of objective 1 (l1 norm)"
    assert bar.get_yscale() == "log"
    shares = np.log([1, 3, 10, 30]) / np.log(30)
    for axes in (left, right):
        colors = parts(axes)["Non-dominated"].get_facecolors()
        np.testing.assert_allclose(colors, colormaps["viridis"](shares))
        (plain,) = parts(axes)["Non-dominated, cross entropy alone"].get_facecolors()
        assert plain.tolist() == [0, 0, 0, 1]


def test_dominated_points_are_faint():
    behind = point(0.0, objectives=(0.045, 5_000.0))
    figure, left, right = drawn([behind, DOMINATED, *GRID])
    faint = ["Dominated", "Dominated, cross entropy alone"]
    assert legend(figure) == ["Non-dominated", *faint]
    for axes in (left, right):
        alphas = {name: part.get_alpha() for name, part in parts(axes).items()}
        assert alphas[faint[0]] == alphas[faint[1]] < alphas["Non-dominated"] == 1


def test_knees_of_one_point_share_a_marker():
    knees = {"weight_jump": "0-30.0", "chord": "0-100.0", "angle": "0-100.0"}
    figure, left, right = drawn(FRONT, knees=knees, chosen="angle")
    found = {"Knee: weight jump": GRID[1], "Knee: chord, angle (chosen)": GRID[2]}
    assert legend(figure)[-2:] == list(found)
    for label, knee in found.items():
        assert places(parts(left)[label]) == objectives([knee])
        assert places(parts(right)[label]) == results([knee])
        assert len(parts(left)[label].get_facecolors()) == 0  # open
    assert len({str(parts(left)[name].get_paths()[0].vertices) for name in found}) == 2


def test_the_final_training_is_a_star_wherever_it_is():
    lower = changed(FINAL, objectives=(0.01, 20.0), nonzero_dense=50)
    for final in (FINAL, lower):
        figure, left, right = drawn(FRONT, chosen="weight_jump", final=final)
        assert legend(figure)[-1] == STAR
        assert places(parts(left)[STAR]) == objectives([final])
        assert places(parts(right)[STAR]) == results([final])
        assert_shown([final], left, right)


def test_published_networks_are_in_the_right_panel():
    figure, left, right = drawn(FRONT, published=published((0.98, 700), (0.99, 3_000)))
    assert legend(figure)[-1] == "Published networks"
    found = parts(right)["Published networks"]
    assert places(found) == [[700, 98], [3_000, 99]]
    assert "Published networks" not in parts(left)


def test_published_networks_far_off():
    """Dominated and far less accurate ones may lie outside."""
    others = published((0.98, 700), (0.992, 99_000), (0.5, 200_000), (0.7, 3))
    _, _, right = drawn(FRONT, published=others)
    assert shows(right, 99_000, 99.2) and shows(right, 3, 70)
    assert note(right) == "Not shown: 1 published outside"
    poor = [point(w1, test_accuracy=0.6) for w1 in (1e-3, 3e-3)]
    assert_shown(poor, *drawn(poor, published=others)[1:])


@pytest.mark.parametrize("number", [1, 3])
def test_dead_networks_alone(number):
    _, left, right = drawn(map(dead, (0.1, 0.2, 0.3)[:number]))
    assert shows(left, 0, 2.3) and shows(right, 0, 11)
    assert (left.get_xscale(), right.get_xscale()) == ("linear", "linear")
    assert note(left) == ""


def test_diverged_networks_alone():
    _, left, right = drawn([diverged(0.1), diverged(0.2)])
    assert note(left) == note(right) == "Not shown: 2 diverged"


@pytest.mark.parametrize("only", [PLAIN, GRID[0]], ids=["no weight", "a weight"])
def test_one_point(only):
    figure, left, right = drawn([only], knees={}, chosen="chord")
    assert len(figure.axes) == (2 if only is PLAIN else 3)  # with its colour bar
    assert_shown([only], left, right)
    assert left.get_ylim()[0] > 0 and right.get_ylim()[1] < 100


def test_before_the_first_point():
    figure, left, right = drawn([])
    assert note(left) == note(right) == "No point yet"
    assert legend(figure) == []


def test_all_seeds_are_shown():
    points = [point(w1, seed=seed) for w1 in (1e-4, 1e-3) for seed in range(3)]
    _, left, right = drawn(points, knees={"chord": "0-100.1", "angle": "unknown"})
    assert places(parts(left)["Knee: chord"]) == objectives([points[4]])
    for axes, expected in ((left, objectives(points)), (right, results(points))):
        groups = [parts(axes)[name] for name in ("Non-dominated", "Dominated")]
        shown = [place for group in groups for place in places(group)]
        assert sorted(shown) == sorted(expected)
