"""Fronts: dominated points, queries, means over seeds."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from bopt.fronts import Front, Point

GRID = st.integers(0, 6).map(float)  # few values: ties and duplicates come unasked
PAIRS = st.lists(st.tuples(GRID, GRID), min_size=1, max_size=12)


def front(*objectives, **columns) -> Front:
    """Points of these objectives, the other columns one value a point."""
    values = zip(*columns.values(), strict=True)
    rows = [dict(zip(columns, own, strict=True)) for own in values]
    rows = rows or [{}] * len(objectives)
    return Front(
        Point((0.5, 0.5), own, f"p{n}", **row)
        for n, (own, row) in enumerate(zip(objectives, rows, strict=True))
    )


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


@given(PAIRS)
def test_nondominated_is_what_no_point_dominates(pairs):
    kept = [point.objectives for point in front(*pairs).nondominated()]
    expected = {a for a in pairs if not any(dominates(b, a) for b in pairs)}
    assert sorted(kept) == sorted(expected)  # each once
    assert kept == sorted(kept)


def test_many_points():
    """Comparing all pairs would take 40 GB."""
    number = 100_000
    made = Front(Point((1.0, 0.0), (i, number - i)) for i in range(number))
    assert len(made.nondominated()) == number


@given(PAIRS)
def test_of_equal_points_the_first_is_kept(pairs):
    made = front(*pairs)
    for point in made.nondominated():
        equal = [p.name for p in made if p.objectives == point.objectives]
        assert point.name == equal[0]


@given(PAIRS)
def test_accuracies_are_maximised(pairs):
    accuracies, left = zip(*pairs, strict=True)
    made = front(*pairs, test_accuracy=accuracies, nonzero_dense=left)
    kept = made.nondominated("test_accuracy", "nonzero_dense")
    mirrored = front(*((-a, n) for a, n in pairs)).nondominated()
    assert [p.name for p in kept] == [p.name for p in mirrored]


def test_three_columns():
    made = front((0.0, 1.0), (0.0, 1.0), (1.0, 2.0), nonzero_dense=(5, 4, 3))
    kept = made.nondominated("objective_0", "objective_1", "nonzero_dense")
    assert [point.name for point in kept] == ["p1", "p2"]


def test_diverged_and_unmeasured_points_dominate_nothing_and_are_no_front():
    made = front((math.nan, 0.0), (1.0, 2.0), test_accuracy=(0.9, None))
    assert [p.name for p in made.nondominated()] == ["p1"]
    assert len(made.nondominated("test_accuracy", "objective_1")) == 1
    assert made.hypervolume((2.0, 3.0)) == 1.0


@given(
    st.lists(st.tuples(*[GRID | st.sampled_from([math.nan, math.inf, -math.inf])] * 2))
)
def test_points_that_are_not_finite_change_nothing(pairs):
    """Infinite is diverged, too: JSON has no infinity, and must not change a front."""
    finite = front(*(own for own in pairs if all(map(math.isfinite, own))))
    made = front(*pairs)
    for query in (Front.nondominated, Front.hull):
        expected = [p.objectives for p in query(finite)]
        assert [p.objectives for p in query(made)] == expected
    assert made.hypervolume((4.0, 4.0)) == finite.hypervolume((4.0, 4.0))
    assert made.knees().keys() == finite.knees().keys()


def test_ties_in_the_first_of_three_columns_keep_their_order():
    numbers = range(60)  # many: short arrays are sorted stably in any case
    made = front(*((n % 2, n) for n in numbers), seconds=[-n for n in numbers])
    kept = made.nondominated("objective_0", "objective_1", "seconds")
    expected = [f"p{n}" for n in (*numbers[::2], *numbers[1::2])]
    assert [point.name for point in kept] == expected


@given(PAIRS)
def test_the_hull_is_the_convex_hull_s_lower_left_part(pairs):
    """Scipy's hull of the points and all that they dominate, far away."""
    vertices = [point.objectives for point in front(*pairs).hull()]
    kept = np.array([p.objectives for p in front(*pairs).nondominated()])
    far = [[kept[0, 0], 99.0], [99.0, kept[-1, 1]], [99.0, 99.0]]
    everything = np.concatenate([kept, far])
    chosen = everything[ConvexHull(everything).vertices]
    expected = sorted(tuple(row) for row in chosen.tolist() if 99.0 not in row)
    assert vertices == expected


def staircase(points, reference):
    """The area by rectangles, one for each step."""
    area, height = 0.0, reference[1]
    for x, y in sorted(points):
        if x < reference[0] and y < height:
            area += (reference[0] - x) * (height - y)
            height = y
    return area


@given(PAIRS, GRID, GRID)
def test_the_hypervolume_is_the_staircase_s_area(pairs, x, y):
    assert front(*pairs).hypervolume((x, y)) == pytest.approx(staircase(pairs, (x, y)))


def test_the_hypervolume_in_accuracy_and_nonzeros():
    """The reference is in the columns' units: an accuracy's is a lower bound."""
    made = front((0, 0), (0, 0), test_accuracy=(0.99, 0.98), nonzero_dense=(4000, 1000))
    columns = ("test_accuracy", "nonzero_dense")
    area = 0.01 * (4000 - 1000) + 0.02 * (5892 - 4000)
    assert made.hypervolume((0.97, 5892), columns) == pytest.approx(area)
    assert made.hypervolume((0.97, 500), columns) == 0


def test_an_empty_front():
    empty = Front()
    assert len(empty) == len(empty.nondominated()) == len(empty.hull()) == 0
    assert empty.hypervolume((1.0, 1.0)) == 0
    assert empty.knees() == {} and empty.over_seeds() == []
    assert empty.merge(empty) == empty == Front.from_csv(empty.to_csv())


ASKED = front(
    *[(0, 0)] * 4,
    validation_accuracy=(0.99, 0.985, 0.985, None),
    nonzero_dense=(5000, 1200, 900, 3),
)


def test_queries():
    assert ASKED.cheapest(accuracy=0.985).name == "p2"
    assert ASKED.cheapest(accuracy=0.986).name == "p0"
    assert ASKED.best(nonzeros=4999).name == "p2"  # of equals the sparser
    assert ASKED.best(nonzeros=5000).name == "p0"


@pytest.mark.parametrize("field", ["validation_accuracy", "nonzero_dense"])
def test_a_point_without_a_figure_is_no_answer_and_not_the_closest(field):
    for value in (None, math.nan):
        made = Front([ASKED[0]._replace(**{field: value}), ASKED[1]])
        assert made.cheapest(accuracy=0) == made.best(nonzeros=9999) == ASKED[1]
        with pytest.raises(ValueError, match=r"0.985, of 'p1'"):
            made.cheapest(accuracy=1)
        with pytest.raises(ValueError, match="1200, of 'p1'"):
            made.best(nonzeros=1)


@given(PAIRS, GRID)
def test_a_query_answers_or_names_what_is_closest(pairs, bound):
    """Asked for the figure that its refusal names, it answers with that point."""
    left, accuracies = zip(*pairs, strict=True)
    made = front(*pairs, nonzero_dense=left, validation_accuracy=accuracies)
    if fitting := [own for own in pairs if own[1] >= bound]:
        found = made.cheapest(accuracy=bound)
        least = min(n for n, _ in fitting)
        assert found.objectives == (least, max(a for n, a in fitting if n == least))
    else:
        closest = made.cheapest(accuracy=max(accuracies))
        with pytest.raises(ValueError, match=str(closest.validation_accuracy)):
            made.cheapest(accuracy=bound)
    if fitting := [own for own in pairs if own[0] <= bound]:
        found = made.best(nonzeros=bound)
        most = max(a for _, a in fitting)
        assert found.objectives == (min(n for n, a in fitting if a == most), most)
    else:
        closest = made.best(nonzeros=min(left))
        with pytest.raises(ValueError, match=str(closest.nonzero_dense)):
            made.best(nonzeros=bound)


# Cause: of p3, which has no accuracy, it was once said that 3 was the lowest number.
@pytest.mark.parametrize(
    ("question", "message"),
    [
        (lambda: ASKED.cheapest(accuracy=0.995), "0.995 or .* is 0.99, of 'p0'"),
        (lambda: ASKED.best(nonzeros=3), "3 nonzero .* or fewer.* is 900, of 'p2'"),
        (lambda: Front().best(nonzeros=3), "None of 0 points has both nonzero_dense"),
        (
            lambda: Front(ASKED.points[3:]).cheapest(accuracy=0),
            "None of 1 points has both",
        ),
        (lambda: ASKED.column("loss"), "no column 'loss'; expected one of level"),
        (lambda: ASKED.nondominated("objective_2", "seed"), "no column 'objective_2'"),
        (lambda: ASKED.hypervolume((1.0,)), "1 numbers for 2 columns"),
        (lambda: Front([*ASKED, Point((1.0,), (0, 0), "x")]), "'x' has 1 weights"),
        (lambda: Front([*ASKED, Point((1, 0), (0,), "x")]), "'x' has 1 objectives"),
    ],
)
def test_what_cannot_be_answered_is_said(question, message):
    with pytest.raises(ValueError, match=message):
        question()


def test_columns():
    made = Front([Point((0.9, 0.1), (1.0, 2.0), seed=3, seconds=None)])
    assert made.column("weight_1").tolist() == [0.1]
    assert made.column("seed").tolist() == [3.0]
    assert np.isnan(made.column("seconds")).all()


def test_merging_keeps_the_order_and_drops_duplicates():
    """Diverged points, too, whose NaN equals nothing."""
    made = front((1.0, 2.0), (math.nan, 1.0))
    copy = Front.from_csv(made.to_csv())
    other = front((3.0, 0.0))
    merged = other.merge(made, copy, made)
    assert [p.objectives[1] for p in merged] == [0.0, 2.0, 1.0]
    assert len(made.merge()) == 2


def test_a_front_cannot_be_changed():
    with pytest.raises(AttributeError):
        ASKED.points = ()  # pyright: ignore
    assert hash(front((1.0, 2.0))) == hash(front((1.0, 2.0)))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_means_and_deviations_over_seeds(values):
    seeds = [Point((1, 0), (v, 1.0), "a", seed=n) for n, v in enumerate(values)]
    other = Point((0.9, 0.1), (0.5, 0.5), "b", seed=0)
    first, second = Front([*seeds, other]).over_seeds()
    assert (first.number, second.number) == (len(values), 1)
    assert first.mean.objectives == pytest.approx((np.mean(values), 1.0))
    deviation = np.std(values, ddof=1)
    assert first.deviation.objectives == pytest.approx((deviation, 0.0), abs=1e-12)
    assert (first.mean.seed, first.mean.name, first.mean.weights) == (None, "a", (1, 0))
    assert second.deviation.objectives == (0.0, 0.0)
    assert second.mean.nonzero_dense is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("other", [1.0, math.nan, math.inf])
def test_a_diverged_seed_is_a_diverged_mean(value, other):
    """Cause: statistics.stdev fails on NaN, and every search asks for the means."""
    seeds = [Point((1, 0), (v, 1.0), seed=n) for n, v in enumerate((value, other))]
    (spread,) = Front(seeds).over_seeds()
    assert not math.isfinite(spread.mean.objectives[0])
    assert math.isnan(spread.deviation.objectives[0])
    assert (spread.mean.objectives[1], spread.deviation.objectives[1]) == (1.0, 0.0)
    assert len(Front(seeds).means().nondominated()) == 0


def test_other_epochs_are_other_points():
    points = [Point((1, 0), (0.0, 0.0), epochs=epochs) for epochs in (10, 30)]
    assert len(Front(points).means()) == 2


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "moocore", None)
    made = front((0.0, 1.0))
    assert len(made.nondominated()) == len(made.hull()) == 1  # needs no extra
    with pytest.raises(ImportError, match=r'pip install "bopt-jax\[fronts\]"'):
        made.hypervolume((1.0, 2.0))
