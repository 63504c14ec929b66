"""Points of a front: single trainings, and averages over random seeds."""

from typing import NamedTuple

Weights = tuple[float, float]  # (w0, w1) of two objectives, on the unit simplex


class Point(NamedTuple):
    """A training and its results.

    Attributes:
      weights: (m,) weights of the objectives, on the unit simplex.
      objectives: (m,) values on validation data, to be minimised; NaN if the training
        diverged.
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
