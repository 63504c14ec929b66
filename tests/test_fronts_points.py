"""Points of all kinds of numbers, walks between them, and means over seeds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bopt.fronts import Front, Point, bisection, continuation, dichotomic, grid

# Numbers of other kinds

KINDS = {
    "float": lambda values: tuple(map(float, values)),
    "NumPy scalars": lambda values: tuple(map(np.float32, values)),
    "bfloat16": lambda values: [jnp.bfloat16(v) for v in values],
    "JAX scalars": lambda values: tuple(jnp.float32(v) for v in values),
    "a JAX vector": jnp.float32,
    "a list": list,
    "a NumPy vector": np.float16,
}


@pytest.mark.parametrize("kind", KINDS)
def test_points_of_all_kinds_of_numbers_are_the_same(kind):
    rows = [((1, 0), (0, 16)), ((0.75, 0.25), (1, 4)), ((0.5, 0.5), (4, 0))]
    make = KINDS[kind]
    made = Front(
        Point(
            make(w), make(o), accuracy=make((0.75,))[0], seed=make((1,))[0], lost=None
        )
        for w, o in rows
    )
    assert made == Front(Point(w, o, accuracy=0.75, seed=1) for w, o in rows)
    assert Front.from_json(made.to_json()) == Front.from_csv(made.to_csv()) == made
    for point in made:
        numbers = (*point.weights, *point.objectives)
        assert {type(number) for number in numbers} == {float}
        assert {type(x) for x in point.metrics.values()} <= {int, float}
    key = jax.random.key(0)
    for search in (grid, bisection, dichotomic, continuation):
        assert search()(made, key).weights
    assert made.knees() and made.means() and made.hypervolume((5, 17)) > 0


def test_a_walk_goes_on_from_float32():
    """Cause: the rounded weights of the first training were never found again."""
    search, weights = continuation(), []
    for _ in range(3):
        made = Front(Point(np.float32(own), (1.0, 2.0)) for own in weights)
        weights += search(made, jax.random.key(0)).weights
    assert len(weights) == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": (math.nan, 1)}, r"weights=\(nan, 1.0\); expected finite numbers"),
        ({"weights": 0.5}, "weights=0.5; expected a sequence of numbers"),
        ({"objectives": (1, "2")}, "got '2' in objectives; expected a number"),
        ({"objectives": [[1, 2]]}, r"got \[1, 2\] in objectives"),
        ({"objectives": [None]}, "got None in objectives"),
        ({"accuracy": np.ones(2)}, r"got array\(\[1., 1.\]\) in accuracy"),
        ({"seed": jax.random.key(0)}, "in seed; expected a number"),
        ({"size": 10**400}, "in size; expected a number"),
        ({"name": 7}, "name=7; expected text"),
        ({"metrics": {"weight_0": 1}}, "a metric named 'weight_0'; expected print"),
        ({"metrics": {" a": 1}}, "a metric named ' a'"),
        ({"metrics": {3: 1}}, "a metric named 3"),
    ],
)
def test_anything_else_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Point(**fields)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_means_and_deviations_over_seeds(values):
    seeds = [Point((1, 0), (v, 1.0), "a", seed=n, size=n) for n, v in enumerate(values)]
    other = Point((0.9, 0.1), (0.5, 0.5), "b", seed=0, size=3)
    first, second = Front([*seeds, other]).over_seeds()
    assert (first.number, second.number) == (len(values), 1)
    assert first.mean.objectives == pytest.approx((np.mean(values), 1.0))
    deviation = np.std(values, ddof=1)
    assert first.deviation.objectives == pytest.approx((deviation, 0.0), abs=1e-12)
    assert (first.mean.name, first.mean.weights) == ("a", (1, 0))
    assert first.mean.metrics == {"size": len(values) / 2 - 0.5}  # no mean seed
    assert second.deviation.objectives == (0.0, 0.0)
    assert second.mean.metrics == {"size": 3}


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
