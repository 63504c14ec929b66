"""What a front is made of: trainings, alone or several seeds together."""

from typing import NamedTuple

Weights = tuple[float, float]  # (w0, w1) of two objectives, on the unit simplex


class Point(NamedTuple):
    """A training, and what came of it.

    Attributes:
      weights: (m,) weights of the objectives, on the unit simplex.
      objectives: (m,) values, on validation data, to be minimised; NaN if the training
        diverged.
      name: what it is called among the others.
      level: how many batches of its search were trained before it.
      seed: of the training.
      epochs: that it was trained for.
      seconds: that it took.
      nonzero_dense: nonzero weights left in the dense layers.
      nonzero_total: nonzero parameters left.
      validation_accuracy: 0 to 1.
      test_accuracy: 0 to 1; reported, never used to choose.
      test_cross_entropy: likewise, in nats.

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
    """Points of the same weights and epochs, but other seeds, taken together.

    Attributes:
      number: how many.
      mean: of each figure; `seed` is None, name and level are the first's.
      deviation: sample standard deviation of each figure; 0 for a single point.

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
