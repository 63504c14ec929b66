"""Limits, ticks and legends that all figures share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from bopt.fronts import indicators
from experiments.errors import RunDirectoryError
from experiments.plots.axes import inside, must_show, not_shown, save, set_limits

# Whole numbers, so that ties occur, and zeros.
counts = st.integers(0, 60_000).map(float)
accuracies = st.integers(0, 1000).map(lambda x: x / 10)
networks = st.lists(st.tuples(counts, accuracies), min_size=1, max_size=12)


def fitted(points, **options):
    axes = Figure().subplots()
    set_limits(axes, np.array(points, float).reshape(-1, 2), **options)
    return axes


def ticks(axis) -> list[str]:
    """Labels of the major ticks."""
    axis.figure.draw_without_rendering()
    return [text.get_text() for text in axis.get_ticklabels()]


@settings(max_examples=30, deadline=None)
@given(networks, st.booleans())
def test_limits_contain_all_points_on_any_scale(points, accuracy):
    axes = fitted(points, log_x=True, accuracy=accuracy)
    assert inside(axes, np.array(points)).all()
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        assert limits[0] < limits[1]
        assert len(axis.get_majorticklocs()) > 0


@given(networks)
def test_every_non_dominated_point_must_be_shown(points):
    left, accuracy = np.array(points).T
    costs = np.stack([left, -accuracy], 1)
    shown = must_show(accuracy / 100, costs)
    assert shown[indicators.nondominated(costs)].all()
    assert shown[accuracy >= accuracy.max() - 4.9].all()


def test_unknown_accuracies_are_shown():
    costs = np.array([[1.0, 2.0], [2.0, 3.0]])
    assert must_show(np.array([np.nan, np.nan]), costs).all()
    assert must_show(np.empty(0), np.empty((0, 2))).tolist() == []


@pytest.mark.parametrize(
    ("points", "options", "scales"),
    [
        ([(10, 97), (99, 99)], {}, ("linear", "linear")),
        ([(10, 97), (99, 99)], {"log_x": True}, ("log", "linear")),
        ([(10, 0.1), (101, 2)], {}, ("log", "log")),
        ([(0, 50), (10, 80), (101, 90)], {}, ("symlog", "linear")),
        ([(0, 0), (0, 11)], {"log_x": True}, ("linear", "linear")),
        ([(10, 11), (101, 99)], {"accuracy": True}, ("log", "function")),
        ([(10, 60), (101, 95)], {"accuracy": True}, ("log", "linear")),
    ],
)
def test_scales(points, options, scales):
    axes = fitted(points, **options)
    assert (axes.get_xscale(), axes.get_yscale()) == scales


def test_accuracies_by_their_error_have_plain_labels():
    axes = fitted([(10, 11), (101, 99)], accuracy=True)
    assert ticks(axes.yaxis) == [
        "0",
        "20",
        "50",
        "80",
        "90",
        "95",
        "98",
        "99",
        "99.5",
        "99.8",
        "100",
    ]
    steps = np.diff([axes.transData.transform((10, y))[1] for y in (0, 50, 90, 99)])
    assert (steps > 0).all() and steps[2] > steps[0]


def test_counts_have_thousands_and_zero():
    axes = fitted([(0, 1), (300, 2), (50_000, 3)], log_x=True)
    assert ticks(axes.xaxis) == ["0", "300", "1,000", "3,000", "10,000", "30,000"]


def test_points_that_are_not_shown_are_counted():
    axes = Figure().subplots()  # from 0 to 1
    points = np.array([[0.5, 0.5], [2, 1], [3, 1], [np.nan, np.nan]])
    assert not_shown(axes, points) == "Not shown: 2 outside, 1 diverged"
    published = not_shown(axes, points[:1], points[1:3])
    assert published == "Not shown: 2 published outside"
    assert not_shown(axes, points[:1]) == ""
    assert not_shown(axes, points[:0]) == "No point yet"


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    message = r"^Cannot write .*file.a\.png: .* Expected a writable folder"
    with pytest.raises(RunDirectoryError, match=message):
        save(Figure(), tmp_path / "file", "a.png")
