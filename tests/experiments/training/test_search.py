"""Search: options of a front to a search of `bopt.fronts`."""

from typing import Any

import jax
import numpy as np
import pytest

from bopt import fronts
from bopt.fronts import Front, Point
from experiments.config import FrontConfig, VggFront, resolve_front, updated
from experiments.training.search import make_search


def first_weights(front: Any = FrontConfig, **options: Any) -> list[Any]:
    """Return the weights that a search proposes before there is any point."""
    config = resolve_front(updated(front(), **options), "digits")
    batch = make_search(config)(Front(), jax.random.key(0))
    return [tuple(map(float, weights)) for weights in batch.weights]


@pytest.mark.parametrize("front", [FrontConfig, VggFront])
def test_a_grid_is_geometric_by_default(front):
    found = np.array(first_weights(front, budget=5))
    np.testing.assert_allclose(found.sum(1), 1)
    positive = np.sort(found[:, 1][found[:, 1] > 0])
    assert (positive[0], positive[-1]) == pytest.approx(front.RANGE)
    ratios = positive[1:] / positive[:-1]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-3)


def test_the_original_grid():
    assert len(fronts.ORIGINAL_WEIGHTS) == 26
    for options in ({"grid": "original"}, {"optimizer": "madam"}):
        np.testing.assert_allclose(first_weights(**options), fronts.ORIGINAL_WEIGHTS)


@pytest.mark.parametrize(
    ("options", "largest"),
    [
        ({"front": VggFront}, 0.1),
        ({"largest": 0.02}, 0.02),
        ({"optimizer": "madam", "largest": 0.02}, 0.1),  # the original's
        ({"front": VggFront, "optimizer": "mrmsprop"}, 0.1),
    ],
    ids=str,
)
def test_a_bisection_starts_from_its_ends(options, largest):
    found = np.array(first_weights(search="bisection", **options))
    np.testing.assert_allclose(found, [(1, 0), (1 - largest, largest)], rtol=1e-6)


def test_a_continuation_starts_between_the_ends():
    ((_, weight),) = first_weights(search="continuation")[:1]
    assert weight == pytest.approx(1.5e-4, rel=0.05)


ENDS = ((1.0, 0.0), (0.9, 0.1))


@pytest.mark.parametrize("optimizer", ["adam", "madam"])
@pytest.mark.parametrize("search", ["dichotomic", "stochastic", "bisection_dichotomic"])
def test_segments_start_from_ends(search, optimizer):
    assert first_weights(search=search, optimizer=optimizer) == [*ENDS]


@pytest.mark.parametrize("search", ["bisection", "dichotomic", "stochastic"])
@pytest.mark.parametrize("optimizer", ["adam", "madam"])
def test_searches_of_the_released_code(search, optimizer):
    options: Any = {"search": search, "optimizer": optimizer, "budget": 5, "seed": 3}
    config = resolve_front(updated(FrontConfig(), released=True, **options), "digits")
    found, expected = make_search(config), fronts.released(search, 5, seed=3)
    points = [
        Point(own, rest) for own, rest in zip(ENDS, [(0, 9), (1, 0)], strict=True)
    ]
    # Twice the same normal, then a random weight.
    dead = [
        Point((0.9, 0.1), (1, 0)),
        Point(ENDS[0], (0, 9)),
        Point((0.95, 0.05), (2, 9)),
    ]
    for front in (Front(), Front(points), Front(dead)):
        batch = found(front, jax.random.key(0))
        assert batch == expected(front, jax.random.key(1))
    assert first_weights(search=search, released=True) == [*ENDS]


def test_the_list_of_the_released_code():
    found = first_weights(search="grid", released=True)
    assert found == [*fronts.ORIGINAL_WEIGHTS]
