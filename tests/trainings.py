"""Trainings with known results, which drive the searches of `bopt.fronts` to an end.

A training is a function: weights (w0, w1) -> (objective 0, objective 1). Most solve
``min w0 f0 + w1 f1`` exactly; what is not exact depends on the weights alone, not on
the order of trainings.
"""

import functools
import math

import jax
import numpy as np

from bopt.fronts import (
    ORIGINAL_WEIGHTS,
    Front,
    Point,
    bisection,
    bisection_dichotomic,
    dichotomic,
    grid,
    stochastic_dichotomic,
)

KEY = jax.random.key(0)
EDGES = ((0.0, 6e4), (1.0, 3e4), (3.0, 1e4), (8.0, 4e3), (14.0, 0.0))
CONCAVE = ((0.0, 9e3), (2.0, 8.9e3), (4.0, 7e3), (9.0, 0.0))  # both inner ones above
DEAD = (2.3, 0.0)


def parabola(weights):
    """f0 = x^2, f1 = (1 - x)^2, x at least 0.001: the weighted sum is least at w1."""
    x = max(weights[1], 1e-3)
    return x**2, (1 - x) ** 2


def hyperbola(weights):
    """f0 = 0.04 + 4 / f1, f1 in [30, 5000]: cross entropy and l1 norm of MNIST."""
    w0, w1 = weights
    f1 = 5000.0 if w1 == 0 else min(max(math.sqrt(4 * w0 / w1), 30.0), 5000.0)
    return 0.04 + 4 / f1, f1


def of_points(*points):
    """The best of a list; of equals, the first."""

    def train(weights):
        return min(points, key=lambda point: np.dot(weights, point))

    return train


def dying(weights):
    """`hyperbola`, but from w1 = 0.07 on the network of zeros is better."""
    return of_points(hyperbola(weights), DEAD)(weights)


def undertrained(weights):
    """A smooth front, but its points do not minimise the weighted sum: those of MNIST
    after few epochs. From w1 = 0.01 on the networks are dead."""
    w0, w1 = weights
    ratio = max(w1 / w0, 4.3e-6) if w0 else math.inf
    return DEAD if w1 > 0.01 else (0.04 + 3 * ratio**0.65, 0.7 * ratio**-0.73)


def overfitting(weights):
    """`hyperbola`, but the smallest weights are dominated on validation data."""
    f0, f1 = hyperbola(weights)
    return f0 + 0.02 * max(0.0, f1 - 3000) / 1000, f1


def diverging(weights):
    """`hyperbola`, but NaN at a fifth of the weights other than starts."""
    start = any(weights in starts for starts in STARTS.values())
    bad = not start and random(weights, 0).uniform() < 0.2
    return (math.nan, math.nan) if bad else hyperbola(weights)


def diverging_start(weights):
    """`hyperbola`, but NaN from w1 = 0.003 on."""
    return (math.nan, math.nan) if weights[1] >= 0.003 else hyperbola(weights)


def noisy(seed, size=0.02):
    """`hyperbola` with relative noise on both objectives."""

    def train(weights):
        factors = np.exp(size * random(weights, seed).standard_normal(2))
        return tuple((factors * hyperbola(weights)).tolist())

    return train


def random(weights, seed):
    """A generator that depends on the weights."""
    return np.random.default_rng([seed, int(weights[1] * 2**60)])


TRAININGS = {
    "parabola": parabola,
    "hyperbola": hyperbola,
    "edges": of_points(*EDGES),
    "concave": of_points(*CONCAVE),
    "one point": of_points((1.0, 1.0)),
    "two points": of_points((1.0, 2e3), (2.0, 0.0)),
    "dying": dying,
    "undertrained": undertrained,
    "overfitting": overfitting,
    "diverging": diverging,
    "diverging start": diverging_start,
    "all diverged": lambda weights: (math.nan, math.nan),
    "infinite": lambda weights: (math.inf, 0.0) if weights[1] > 2e-3 else (1.0, 9.0),
    "noise, seed 0": noisy(0),
    "noise, seed 1": noisy(1),
    "much noise": noisy(2, 1.0),
}
STARTS = {
    "bisection": ((1.0, 0.0), (0.997, 0.003)),
    "arithmetic": ((1.0, 0.0), (0.9, 0.1)),
    "dichotomic": ((1.0, 0.0), (0.9, 0.1)),
    "stochastic": ((1.0, 0.0), (0.9, 0.1)),
    "bisecting": ((1.0, 0.0), (0.9, 0.1)),
    "wide": ((1.0, 0.0), (0.0, 1.0)),
}
BUILT = {  # functions and their arguments
    "grid": (grid,),
    "original": (grid, ORIGINAL_WEIGHTS),
    "bisection": (bisection,),
    "arithmetic": (bisection, STARTS["arithmetic"], "arithmetic"),
    "dichotomic": (dichotomic,),
    "stochastic": (stochastic_dichotomic,),
    "bisecting": (bisection_dichotomic,),
    "wide": (bisection, STARTS["wide"]),
}
SEARCHES = {name: build(*given) for name, (build, *given) in BUILT.items()}


def points_of(train, batch, level=0):
    """The points of a batch."""
    return [Point(weights, train(weights), level=level) for weights in batch.weights]


def front_of(*rows):
    """A front of points (w1, objective 0, objective 1)."""
    return Front(Point((1 - w1, w1), (f0, f1)) for w1, f0, f1 in rows)


def w1_of(batch):
    return [w1 for _, w1 in batch.weights]


def key_of(level):
    return jax.random.fold_in(jax.random.key(0), level)


def drive(search, train, most=5000):
    """Trains until the search ends.

    Returns:
      The front; the batches, of which the last is empty.
    """
    points, batches = [], []
    while len(points) <= most:
        batches.append(search(Front(points), key_of(len(batches))))
        if not batches[-1].weights:
            return Front(points), batches
        points += points_of(train, batches[-1], len(batches) - 1)
    raise AssertionError(f"The search does not end after {most} trainings.")


def within(search, train, budget):
    """The front of a number of trainings, of which the last batch may be a part."""
    points = []
    for level in range(budget):
        batch = search(Front(points), key_of(level))
        cut = batch.widest(budget - len(points), Front(points))
        points += points_of(train, cut, level)
    return Front(points)


@functools.cache
def driven(search, training):
    """`drive`, by names."""
    return drive(SEARCHES[search], TRAININGS[training])
