"""Points of a front: single trainings, and averages over random seeds."""

import dataclasses
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

# (w0, w1) of two objectives, on the unit simplex.
Weights = tuple[float, float]

NUMBERED = re.compile(r"(weight|objective)_(\d{1,9})", re.ASCII)
_RESERVED = {"name", "weights", "objectives", "metrics"}


@dataclasses.dataclass(frozen=True)
class Point:
    """A training and its results.

    Numbers may be those of Python, NumPy and JAX, and sequences may be lists and
    arrays; they are kept as Python's.

    Args:
      weights: (m,) weights of the objectives, if the training had any.
      objectives: (m,) values, to be minimised; NaN if the training diverged.
      name: name of the training.
      metrics: further numbers by any name, such as an accuracy on validation data, the
        number of nonzeros, or the random seed; None for one that was not measured. As
        for `dict`, a mapping, keywords, or both.

    Attributes:
      weights: a tuple of floats.
      objectives: a tuple of floats.
      name: a text.
      metrics: name -> int or float, without those that were not measured.

    Raises:
      ValueError: anything that is no number, a weight that is not finite, or a metric
        with the name of another column, such as ``weight_0``.

    Example:
      >>> from bopt.fronts import Point
      >>> point = Point((0.9, 0.1), (0.05, 300.0), accuracy=0.98, nonzeros=1_200)
      >>> point.metrics["nonzeros"]
      1200
      >>> Point(objectives=[0.05, 300.0], metrics={"top-5 error": 0.01}).weights
      ()
    """

    weights: tuple[float, ...] = ()
    objectives: tuple[float, ...] = ()
    name: str = ""
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)

    def __init__(
        self,
        /,
        weights: Any = (),
        objectives: Any = (),
        name: str = "",
        metrics: Mapping[str, Any] | None = None,
        **more: Any,
    ):
        if not isinstance(name, str):
            raise ValueError(f"A point got name={name!r}; expected text.")
        known = {**(metrics or {}), **more}
        if wrong := [own for own in known if not is_metric(own)]:
            raise ValueError(
                f"A point got a metric named {wrong[0]!r}; expected printable text "
                "without spaces around it that is no other column of a front. Rename "
                "it."
            )
        numbers = {
            own: _number(own, value)
            for own, value in known.items()
            if value is not None
        }
        object.__setattr__(self, "weights", _floats("weights", weights))
        object.__setattr__(self, "objectives", _floats("objectives", objectives))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "metrics", numbers)
        if not all(map(math.isfinite, self.weights)):
            raise ValueError(
                f"A point got weights={self.weights}; expected finite numbers. Leave "
                "unknown weights out."
            )


def is_metric(name: Any) -> bool:
    """True for a text that can name a metric."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and name == name.strip() != ""
        and name not in _RESERVED
        and not NUMBERED.fullmatch(name)
    )


def _floats(name: str, values: Any) -> tuple[float, ...]:
    try:
        return tuple(float(_number(name, value)) for value in values)
    except TypeError:
        raise ValueError(
            f"A point got {name}={values!r}; expected a sequence of numbers."
        ) from None


def _number(name: str, value: Any) -> int | float:
    """An int or a float from a scalar of Python, NumPy or JAX."""
    if type(value) is float:
        return value
    try:
        array = np.asarray(value)
        if not array.shape:
            if jnp.issubdtype(array.dtype, np.floating):
                return float(array)
            if array.dtype == bool or jnp.issubdtype(array.dtype, np.integer):
                return int(array)
    except (TypeError, ValueError):  # PRNG keys, ragged lists
        pass
    raise ValueError(f"A point got {value!r} in {name}; expected a number.")


class Spread(NamedTuple):
    """Mean and deviation of points that differ in their random seeds only.

    Attributes:
      number: number of points.
      mean: means of the objectives and of the metrics that all points have, but not of
        ``seed``; the name is the first point's.
      deviation: sample standard deviations likewise; 0 for a single point.

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
        if not point.weights:
            raise ValueError(
                f"Point {point.name!r} has no weights; expected them in all points: "
                "those of equal weights are averaged."
            )
        key = point.weights, point.metrics.get("epochs")
        groups.setdefault(key, []).append(point)
    return [
        Spread(len(group), _apply(group, statistics.fmean), _apply(group, _deviation))
        for group in groups.values()
    ]


def _deviation(values: list[float]) -> float:
    """Sample standard deviation; NaN if a seed diverged."""
    if len(values) == 1:
        return 0.0
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def _apply(points: list[Point], function: Callable[[list[float]], float]) -> Point:
    """Apply a function to the values of several points, column by column."""
    first = points[0]
    shared = [
        name
        for name in first.metrics
        if name != "seed" and all(name in point.metrics for point in points)
    ]
    columns = zip(*(p.objectives for p in points), strict=True)
    return Point(
        first.weights,
        [function(list(own)) for own in columns],
        first.name,
        {name: function([p.metrics[name] for p in points]) for name in shared},
    )
