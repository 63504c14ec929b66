"""Search: options of a front to a search of `bopt.fronts`."""

from typing import Any

import jax
import numpy as np
import pytest

from bopt import fronts
from bopt.fronts import Front
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


@pytest.mark.parametrize("search", ["dichotomic", "stochastic"])
def test_segments_start_from_ends(search):
    weights = first_weights(search=search)
    assert len(weights) >= 2
    np.testing.assert_allclose(np.sum(weights, axis=1), 1, rtol=1e-6)
