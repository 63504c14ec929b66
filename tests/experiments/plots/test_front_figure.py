"""The figure of a Pareto front, drawn from files alone: finished, unfinished, dead."""

import functools
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawing import NAMES, make, row
from front_drawing import (
    FRONT_NAMES,
    dead,
    diverged,
    draw,
    legend,
    make_front,
    note,
    parts,
    places,
    point,
    shows,
)
from matplotlib import colormaps

from experiments import figures
from experiments.plots.front import draw_front
from experiments.runs.directory import RunDirectory, RunDirectoryError

GRID = [point(w1) for w1 in (1e-4, 3e-4, 1e-3, 3e-3)]
DOMINATED = point(2e-4, objectives=(0.06, 900.0))
PLAIN = point(0.0, objectives=(0.035, 5_000.0))
FRONT = [PLAIN, DOMINATED, *GRID]
FINAL = {
    "objectives": [0.05, 150.0],
    "test_accuracy": 0.985,
    "validation_accuracy": 0.987,
    "nonzero_dense": 1_400,
}
STAR = "weight jump knee, trained in full"
COMPARE = "# A paper\ntest_accuracy,nonzero_dense\n0.98,700\n0.99,3000\n"


@pytest.fixture
def made(tmp_path):
    return functools.partial(make_front, tmp_path)


@pytest.fixture
def drawn(made, tmp_path):
    """What is drawn of points: the figure, its two panels."""

    def drawn(*args, **kwargs):
        figure = draw(tmp_path / "out", made(*args, **kwargs))["front"]
        return figure, *figure.axes[:2]

    return drawn


def objectives(points) -> list[list[float]]:
    return [[p.objectives[1], p.objectives[0]] for p in points]


def results(points) -> list[list[float]]:
    return [[p.nonzero_dense, 100 * p.test_accuracy] for p in points]


def test_every_point_is_in_both_panels(drawn):
    figure, left, right = drawn(FRONT)
    assert figure.get_suptitle() == "MNIST, LeNet-5, adam: grid search"
    assert left.get_xlabel() == "l1 norm of the dense weights"
    assert left.get_ylabel() == "validation cross entropy (nats)"
    assert right.get_xlabel() == "nonzero dense weights"
    assert right.get_ylabel() == "test accuracy (%)"
    assert right.get_xscale() == "log"
    groups = {
        "not dominated": GRID,
        "dominated": [DOMINATED],
        "weights (1, 0)": [PLAIN],
    }
    for label, points in groups.items():
        assert places(parts(left)[label]) == objectives(points)
        assert places(parts(right)[label]) == results(points)
    assert legend(figure) == list(groups)
    assert all(shows(left, *place) for place in objectives(FRONT))
    assert all(shows(right, *place) for place in results(FRONT))
    assert note(left) == note(right) == ""


def test_the_staircase_joins_what_is_not_dominated(drawn):
    _, left, right = drawn(FRONT)
    (line,) = left.lines
    assert line.get_drawstyle() == "steps-post"
    assert places(line) == objectives([PLAIN, *GRID])
    assert not right.lines


def test_colours_are_the_weights(drawn):
    """On a logarithmic scale; (1, 0), which has no place on it, is black."""
    figure, left, right = drawn(FRONT)
    bar = figure.axes[2]
    assert bar.get_ylabel() == "weight of objective 1, the l1 norm"
    assert bar.get_yscale() == "log"
    assert bar.get_ylim() == pytest.approx((1e-4, 3e-3))
    shares = np.log([1, 3, 10, 30]) / np.log(30)
    for axes in (left, right):
        colors = parts(axes)["not dominated"].get_facecolors()
        np.testing.assert_allclose(colors, colormaps["viridis"](shares))
        (plain,) = parts(axes)["weights (1, 0)"].get_facecolors()
        assert plain.tolist() == [0, 0, 0, 1]


def test_dominated_points_are_faint(drawn):
    behind = point(0.0, objectives=(0.045, 5_000.0))
    figure, left, right = drawn([behind, DOMINATED, *GRID])
    label = "weights (1, 0), dominated"
    assert legend(figure) == ["not dominated", "dominated", label]
    for axes in (left, right):
        alphas = {name: part.get_alpha() for name, part in parts(axes).items()}
        assert alphas["dominated"] == alphas[label] < alphas["not dominated"] == 1


def test_axes_are_logarithmic_beyond_a_decade(drawn):
    assert drawn(FRONT)[1].get_xscale() == "log"
    _, left, right = drawn([point(w1) for w1 in (1e-3, 2e-3)], name="narrow")
    assert (left.get_xscale(), left.get_yscale()) == ("linear", "linear")
    assert right.get_xscale() == "log"


def test_knees_of_one_point_share_a_marker(drawn):
    knees = {"weight_jump": "0.0003-0", "chord": "0.001-0", "angle": "0.001-0"}
    figure, left, right = drawn(FRONT, {"knees": knees, "knee": "angle"})
    found = {"knee: weight jump": GRID[1], "knee: chord, angle (chosen)": GRID[2]}
    assert legend(figure)[-2:] == list(found)
    for label, knee in found.items():
        assert places(parts(left)[label]) == objectives([knee])
        assert places(parts(right)[label]) == results([knee])
        assert len(parts(left)[label].get_facecolors()) == 0  # open
    assert len({str(parts(left)[name].get_paths()[0].vertices) for name in found}) == 2


def test_a_knee_outside_the_axes(drawn):
    knees = {"chord": "0.1-0", "angle": "0.001-0"}
    figure, *_ = drawn([*FRONT, dead(0.1)], {"knees": knees, "knee": "chord"})
    assert legend(figure)[-2:] == ["knee: chord (chosen) (outside)", "knee: angle"]


def test_the_final_training_is_a_star(drawn):
    summary = {"knees": {}, "knee": "weight_jump", "final": FINAL}
    figure, left, right = drawn(FRONT, summary)
    assert legend(figure)[-1] == STAR
    assert places(parts(left)[STAR]) == [[150, 0.05]]
    assert places(parts(right)[STAR]) == [[1_400, 98.5]]


def test_the_final_training_is_shown_wherever_it_is(drawn):
    final = FINAL | {"objectives": [0.01, 20.0], "nonzero_dense": 50}
    _, left, right = drawn(FRONT, {"knee": "chord", "final": final})
    assert shows(left, 20, 0.01)
    assert shows(right, 50, 98.5)


def test_published_points(drawn):
    figure, left, right = drawn(FRONT, compare=COMPARE)
    assert legend(figure)[-1] == "published"
    assert places(parts(right)["published"]) == [[700, 98], [3_000, 99]]
    assert "published" not in parts(left)


def test_published_points_far_off(drawn):
    """They are shown where they are as good as this front's or better."""
    _, _, right = drawn(FRONT, compare=f"{COMPARE}0.5,3\n0.992,99000\n")
    assert shows(right, 99_000, 99.2)
    assert note(right) == "not shown: 1 published outside"
    poor = [point(w1, test_accuracy=0.6) for w1 in (1e-3, 3e-3)]
    _, _, right = drawn(poor, compare=COMPARE, name="poor")
    assert shows(right, 3_000, 99)
    assert shows(right, *results(poor)[0])


@pytest.mark.parametrize("number", [1, 5])
def test_dead_networks_do_not_squash_the_picture(number, drawn):
    alive = drawn(FRONT)[1:]
    w1 = np.linspace(0.1, 0.9, number)
    _, *panels = drawn([*FRONT, *map(dead, w1), diverged(0.05)], name="dead")
    for before, after in zip(alive, panels, strict=True):
        assert before.get_xlim() == after.get_xlim()
        assert before.get_ylim() == after.get_ylim()
        assert note(after) == f"not shown: {number} outside, 1 diverged"


def test_dead_networks_do_not_squash_the_colours(drawn):
    figure, *_ = drawn([*FRONT, dead(0.9)])
    assert figure.axes[2].get_ylim() == pytest.approx((1e-4, 3e-3))


@pytest.mark.parametrize("number", [1, 3])
def test_dead_networks_alone(number, drawn):
    _, left, right = drawn(map(dead, (0.1, 0.2, 0.3)[:number]))
    assert shows(left, 0, 2.3)
    assert shows(right, 0, 11)
    assert (left.get_xscale(), right.get_xscale()) == ("linear", "linear")
    assert note(left) == ""


def test_diverged_networks_alone(drawn):
    _, left, right = drawn([diverged(0.1), diverged(0.2)])
    assert note(left) == note(right) == "not shown: 2 diverged"


@pytest.mark.parametrize("only", [PLAIN, GRID[0]], ids=["no weight", "a weight"])
def test_one_point(only, drawn):
    figure, left, right = drawn([only], {"knees": {}, "knee": "chord", "final": None})
    assert len(figure.axes) == (2 if only is PLAIN else 3)  # with its scale of colours
    assert shows(left, *objectives([only])[0])
    assert shows(right, *results([only])[0])
    assert left.get_ylim()[0] > 0
    assert right.get_ylim()[1] < 100


def test_before_the_first_point(drawn):
    figure, left, right = drawn([])
    assert note(left) == note(right) == "no point yet"
    assert legend(figure) == []


def test_all_seeds_are_shown(drawn):
    points = [point(w1, seed=seed) for w1 in (1e-4, 1e-3) for seed in range(3)]
    _, left, right = drawn(points, {"knees": {"chord": "0.001-1"}})
    assert places(parts(left)["knee: chord"]) == objectives([points[4]])
    for axes, expected in ((left, objectives(points)), (right, results(points))):
        groups = [parts(axes)[name] for name in ("not dominated", "dominated")]
        shown = [place for group in groups for place in places(group)]
        assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize("summary", [None, {}, {"knees": {"chord": "unknown"}}])
def test_unfinished_runs(summary, drawn):
    figure, *_ = drawn(FRONT, summary, model="vgg", dataset_title="CIFAR-10")
    assert figure.get_suptitle() == "CIFAR-10, VGG, adam: grid search"


def test_all_figures_of_a_front(made, tmp_path):
    path, out = made(FRONT), tmp_path / "out"
    assert [file.name for file in figures.draw([path], out)] == FRONT_NAMES
    run = RunDirectory(path)
    for epoch in range(3):
        run.append_metrics(row(epoch))
    files = figures.draw([path], out)
    assert [file.name for file in files] == [*FRONT_NAMES, *NAMES]
    assert all(file.is_file() for file in files)
    assert plt.get_fignums() == []


def test_a_front_among_others(made, tmp_path):
    """Its knee, trained in full, is compared."""
    other, path = make(tmp_path, [row(0), row(1)], "other"), made(FRONT)
    message = r"run cannot be compared: it holds a Pareto front whose knee is not yet"
    with pytest.raises(RunDirectoryError, match=message):
        figures.draw([other, path], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    RunDirectory(path).append_metrics(row(0))
    files = figures.draw([other, path], tmp_path / "out")
    assert [file.name for file in files] == NAMES


def test_the_program(made, tmp_path):
    made(FRONT)
    command = [sys.executable, "-m", "experiments.figures", "run"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == [f"run/figures/{name}" for name in FRONT_NAMES]


def test_what_cannot_be_drawn(made, tmp_path):
    out = tmp_path / "out"
    run = make(tmp_path, [row(0)], "other")
    with pytest.raises(
        RunDirectoryError, match=r"other holds no front: .* no front.cs"
    ):
        draw_front(run, out)
    for name, file in (("a", "config.json"), ("b", "summary.json")):
        path = made(FRONT, name=name)
        (path / file).write_text("{")
        with pytest.raises(RunDirectoryError, match=rf"^Cannot read .*{file}: "):
            draw_front(path, out)
    path = made(FRONT, name="c")
    (path / "front.csv").write_text(path.joinpath("front.csv").read_text() + "x,y\n")
    with pytest.raises(RunDirectoryError, match=r"^Cannot read .*front\.csv: .*"):
        draw_front(path, out)
    path = made(FRONT, compare=f"{COMPARE}one,2\n", name="d")
    with pytest.raises(RunDirectoryError, match=r"compare\.csv, line 5, test_accuracy"):
        draw_front(path, out)
    assert not out.exists()
    out.touch()
    with pytest.raises(RunDirectoryError, match=r"^Cannot write .*out.front\.png: "):
        draw_front(made(FRONT, name="e"), out)
    assert plt.get_fignums() == []
