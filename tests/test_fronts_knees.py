"""The four knees, against fronts whose knees are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bopt.fronts import Front, Point


def front(objectives, w1=None) -> Front:
    """Points named by their number; w1 falls along objective 0, unless given."""
    w1 = np.linspace(0.0, 0.9, len(objectives)) if w1 is None else w1
    return Front(
        Point((1 - w, w), tuple(map(float, own)), str(n))
        for n, (w, own) in enumerate(zip(w1, objectives, strict=True))
    )


def names(made: Front) -> dict[str, str]:
    return {criterion: point.name for criterion, point in made.knees().items()}


def test_a_corner_is_the_knee_of_all_that_look_at_the_shape():
    corner = front([(0, 10), (0.5, 6), (1, 1), (6, 0.5), (10, 0)])
    assert names(corner)["chord"] == "2"
    assert names(corner)["angle"] == "2"
    assert names(corner)["hypervolume"] == "2"


def test_without_two_weights_there_is_no_jump():
    corner = [(0.0, 10.0), (1.0, 1.0), (10.0, 0.0)]
    made = Front(Point((1.0, 0.0, 0.0), own, str(n)) for n, own in enumerate(corner))
    found = names(made)
    assert "weight_jump" not in found and found["chord"] == "1"


def test_a_quarter_circle_s_knee_is_its_middle():
    angles = np.linspace(0, np.pi / 2, 21)
    circle = front(np.stack([1 - np.cos(angles), 1 - np.sin(angles)], 1))
    assert names(circle)["chord"] == "10"


def test_where_they_differ():
    """A round front with a sharp but small corner near one end, a wide gap near the
    other, and the largest jump of w0 / w1 elsewhere."""
    f0 = [0, 0.1, 0.6, 2, 3, 7.5, 10]
    f1 = [10, 8, 7.6, 3.2, 2.4, 0.8, 0]
    objectives = list(zip(f0, f1, strict=True))
    w1 = [0.0, 0.001, 0.002, 0.0021, 0.3, 0.4, 0.5]
    assert names(front(objectives, w1)) == {
        "weight_jump": "2",  # 1/0.002 against 1/0.001: its neighbour has more of l1
        "chord": "3",
        "angle": "1",
        "hypervolume": "3",
    }


def test_the_weight_jump_by_hand():
    """Sorted by objective 1, w0 / w1 are 1, 4, 9, 99 and infinite: the largest finite
    jump is from the third to the fourth. The original's difference wraps around."""
    w1 = [0.0, 0.01, 0.1, 0.2, 0.5]
    objectives = [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)]
    assert names(front(objectives, w1))["weight_jump"] == "2"


def test_no_weight_jump_where_only_the_end_has_no_complexity_weight():
    w1 = [0.0, 0.1, 0.5]
    assert "weight_jump" not in names(front([(0, 2), (0.5, 0.5), (2, 0)], w1))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_fewer_than_three_points_have_no_knee(number):
    objectives = [(0, 1), (1, 0)][:number] + [(5, 5)] * 3  # equal, or dominated
    assert front(objectives).knees() == {}


def test_diverged_points_are_no_knees():
    assert names(front([(math.nan, 0), (0, 1), (1, 0)])) == {}


def test_a_concave_front_has_no_chord_or_angle():
    """All inner points lie above the line between the ends."""
    concave = front([(0, 10), (4, 9), (8, 7), (10, 0)])
    assert "chord" not in names(concave)
    assert "angle" not in names(concave)


@given(
    st.lists(st.integers(0, 1000), min_size=3, max_size=9, unique=True),
    st.floats(0.01, 100),
)
def test_points_on_a_line_have_no_knee(places, slope):
    """Cause: the rounding of a line's points was taken for chords and bends."""
    line = front([(x / 7, 500 * slope - slope * x / 7) for x in sorted(places)])
    assert not {"chord", "angle"} & line.knees().keys()


@given(st.floats(0.01, 0.99))
def test_the_knee_of_a_parabola_is_where_it_is_parallel_to_the_chord(share):
    """f1 = (1 - sqrt(f0))^2 touches its chord's direction at f0 = 1/4."""
    f0 = np.sort(np.append(np.linspace(0, 1, 9), share**2))
    parabola = front(np.stack([f0, (1 - np.sqrt(f0)) ** 2], 1))
    assert parabola.knees()["chord"].objectives == pytest.approx((0.25, 0.25), abs=0.01)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=3, max_size=9),
    st.integers(-3, 3),
    st.integers(-3, 3),
)
def test_the_units_of_the_objectives_make_no_difference(pairs, i, j):
    """Powers of two scale exactly."""
    scaled = [(x * 2.0**i, y * 2.0**j) for x, y in pairs]
    assert names(front(pairs)) == names(front(scaled))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=12)
)
def test_knees_are_inner_nondominated_points(pairs):
    made = front(pairs)
    inner = made.nondominated().points[1:-1]
    assert set(made.knees().values()) <= set(inner)


def test_the_description_length_weighs_weights_by_the_examples():
    """n * loss + k / 2 * log(n): 1,000 more weights pay for less loss as n grows."""
    made = Front(
        Point((), (loss, l1), str(size), left=size)
        for loss, l1, size in [(0.10, 3, 2_000), (0.14, 2, 1_000), (0.9, 1, 100)]
    )

    def knee(examples):
        return made.knees(examples=examples, size="left")["description_length"].name

    assert [knee(n) for n in (100, 10_000, 10**7)] == ["100", "1000", "2000"]
    assert "description_length" not in made.knees()
    assert Front().knees(examples=10, size="left") == {}


def test_points_without_a_size_have_no_description_length():
    made = Front([Point((), (0.1, 3), "a"), Point((), (0.2, 2), "b", left=10)])
    assert made.knees(examples=10, size="left")["description_length"].name == "b"
    unknown = Front([Point((), (0.1, 3), left=np.nan)])
    assert unknown.knees(examples=10, size="left") == {}


@pytest.mark.parametrize("given", [{"examples": 9}, {"size": "left"}])
def test_half_of_a_description_is_refused(given):
    with pytest.raises(ValueError, match="expected both, with at least 2 examples"):
        Front().knees(**given)
    with pytest.raises(ValueError, match="at least 2 examples"):
        Front().knees(examples=1, size="left")
