"""Points of a front: single trainings, and averages over random seeds."""

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

# (w0, w1) of two objectives, on the unit simplex.
Weights = tuple[float, float]

# Figures of a point, in the order of their columns.
FIGURES = (
    "validation_accuracy",
    "test_accuracy",
    "test_cross_entropy",
    "nonzero_dense",
    "nonzero_total",
    "seconds",
)


class Point(NamedTuple):
    """A training and its results.

    Attributes:
      weights: (m,) weights of the objectives, on the unit simplex.
      objectives: (m,) values on validation data; NaN if the training diverged.
      name: name of the training.
      level: number of batches that its search trained before it.
      seed: random seed.
      epochs: number of epochs.
      seconds: duration of the training.
      nonzero_dense: nonzero entries of the dense kernels.
      nonzero_total: nonzero parameters.
      validation_accuracy: 0 to 1.
      test_accuracy: 0 to 1; reported, never used to choose.
      test_cross_entropy: in nats; reported, never used to choose.

    Example:
      >>> from bopt.fronts import Point
      >>> Point((0.9, 0.1), (0.05, 300.0), nonzero_dense=1_200).nonzero_dense
      1200
    """

    weights: tuple[float, ...]
    objectives: tuple[float, ...]
    name: str = ""
    level: int = 0
    seed: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    nonzero_dense: float | None = None
    nonzero_total: float | None = None
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    test_cross_entropy: float | None = None


class Spread(NamedTuple):
    """Mean and deviation of points that differ in their random seeds only.

    Attributes:
      number: number of points.
      mean: means of the figures; `seed` is None, name and level are the first point's.
      deviation: sample standard deviations of the figures; 0 for a single point.

    Example:
      >>> from bopt.fronts import Front, Point
      >>> points = Point((1, 0), (1.0, 4.0), seed=0), Point((1, 0), (3.0, 4.0), seed=1)
      >>> spread, = Front(points).over_seeds()
      >>> spread.number, spread.mean.objectives, spread.deviation.objectives
      (2, (2.0, 4.0), (1.4142135623730951, 0.0))
    """

    number: int
    mean: Point
    deviation: Point


def spreads(points: Iterable[Point]) -> list[Spread]:
    """One `Spread` per combination of weights and epochs, in order of appearance."""
    groups: dict[tuple, list[Point]] = {}
    for point in points:
        groups.setdefault((point.weights, point.epochs), []).append(point)
    return [
        Spread(len(group), _apply(group, statistics.fmean), _apply(group, _deviation))
        for group in groups.values()
    ]


def _deviation(values: list[float]) -> float:
    """Sample standard deviation; NaN if a seed diverged."""
    if len(values) == 1:
        return 0.0
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def _apply(points: list[Point], function) -> Point:
    """Apply a function to each figure of several points; None where one lacks it."""

    def apply(values: list):
        return None if None in values else function(values)

    figures = {name: apply([getattr(p, name) for p in points]) for name in FIGURES}
    columns = zip(*(p.objectives for p in points), strict=True)
    objectives = tuple(apply(list(column)) for column in columns)
    return points[0]._replace(objectives=objectives, seed=None, **figures)
