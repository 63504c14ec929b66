"""Fronts: tables of trainings between which objectives trade, and what to ask them."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bopt.fronts import files, indicators, knees
from bopt.fronts.points import Point, Spread

_OBJECTIVES = ("objective_0", "objective_1")


@dataclasses.dataclass(frozen=True)
class Front:
    """An immutable table of points.

    Columns go by the names of `Point`'s attributes, and ``weight_0``, ``weight_1`` and
    so on, ``objective_0`` and so on. Accuracies are maximised, all else is minimised.

    Args:
      points: an iterable of `Point`.

    Attributes:
      points: a tuple of them.

    Raises:
      ValueError: a point with another number of weights or objectives than the first.

    Example:
      >>> from bopt.fronts import Front, Point
      >>> front = Front([
      ...     Point((1.0, 0.0), (0.04, 5000.0), "accurate", validation_accuracy=0.99),
      ...     Point((0.9, 0.1), (0.12, 50.0), "sparse", validation_accuracy=0.96),
      ...     Point((0.99, 0.01), (0.13, 900.0), "neither", validation_accuracy=0.95),
      ... ])
      >>> [point.name for point in front.nondominated()]
      ['accurate', 'sparse']
      >>> round(front.hypervolume((0.14, 5000.0)), 6)
      99.0
      >>> Front.from_csv(front.to_csv()) == front
      True
    """

    points: tuple[Point, ...] = ()

    def __init__(self, points: Iterable[Point] = ()):
        object.__setattr__(self, "points", tuple(points))
        for point in self.points:
            first = self.points[0]
            for name in ("weights", "objectives"):
                own, expected = len(getattr(point, name)), len(getattr(first, name))
                if own != expected:
                    raise ValueError(
                        f"Point {point.name!r} has {own} {name}; expected {expected}, "
                        f"as the first point, {first.name!r}."
                    )

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def __getitem__(self, index: int) -> Point:
        return self.points[index]

    def column(self, name: str) -> np.ndarray:
        """A column as floats, (n,); NaN where a point lacks the value.

        Raises:
          ValueError: no such column.
        """
        rows = [files.row(point) for point in self.points]
        known = [key for key in (rows[0] if rows else ()) if key != "name"]
        if rows and name not in known:
            raise ValueError(
                f"A front has no column {name!r}; expected one of {', '.join(known)}."
            )
        values = [row[name] for row in rows]
        return np.array([np.nan if v is None else v for v in values], np.float64)

    def nondominated(self, *columns: str) -> "Front":
        """The points that no other is as good as in all columns and better in one.

        Args:
          *columns: two or more; objective_0 and objective_1 by default.

        Returns:
          A front, sorted by the first column, best first. Points without a finite
          value are left out; of points equal in all columns, the first is kept.

        Raises:
          ValueError: no such column.
        """
        costs = self._costs(columns or _OBJECTIVES)
        kept = indicators.nondominated(costs)
        order = np.argsort(costs[kept, 0], kind="stable")
        return Front(self.points[i] for i in kept[order])

    def hull(self) -> "Front":
        """The vertices of the lower left convex hull of (objective_0, objective_1),
        which are what weighted sums can find; sorted by objective_0."""
        front = self.nondominated()
        vertices = indicators.lower_left_hull(front._costs(_OBJECTIVES))
        return Front(front[i] for i in vertices)

    def hypervolume(
        self, reference: Sequence[float], columns: Sequence[str] = _OBJECTIVES
    ) -> float:
        """The volume that the points dominate, up to a reference point; by moocore.

        Args:
          reference: in the columns' own units; of an accuracy, it is a lower bound.
          columns: two or more.

        Returns:
          A volume in the product of the columns' units; 0 for no points.

        Raises:
          ImportError: the extra `fronts` is not installed.
          ValueError: no such column, or not one number of the reference for each.

        Source: E. Zitzler, L. Thiele, *Multiobjective evolutionary algorithms: a
        comparative case study and the strength Pareto approach* (IEEE Transactions on
        Evolutionary Computation 1999).
        """
        if len(reference) != len(columns):
            raise ValueError(
                f"hypervolume got a reference of {len(reference)} numbers for "
                f"{len(columns)} columns; expected one for each."
            )
        costs = self._costs(columns)
        signs = [-1.0 if _maximised(name) else 1.0 for name in columns]
        return indicators.hypervolume(costs, np.asarray(reference) * signs)

    def cheapest(self, *, accuracy: float) -> Point:
        """The point with the fewest nonzero dense weights that is accurate enough.

        Args:
          accuracy: least validation accuracy, 0 to 1.

        Raises:
          ValueError: there is none; the message names the most accurate point.
        """
        figures = self._nonzeros_and_accuracies()
        fitting = [own for own in figures if own[1] >= accuracy]
        if not fitting:
            _, most, point = max(figures, key=lambda own: own[1])
            raise ValueError(
                f"No point has a validation accuracy of {accuracy} or more; the "
                f"highest is {most}, of {point.name!r}. Ask for less."
            )
        return min(fitting, key=lambda own: (own[0], -own[1]))[2]

    def best(self, *, nonzeros: float) -> Point:
        """The point with the highest validation accuracy that is sparse enough.

        Args:
          nonzeros: most nonzero dense weights.

        Raises:
          ValueError: there is none; the message names the sparsest point.
        """
        figures = self._nonzeros_and_accuracies()
        fitting = [own for own in figures if own[0] <= nonzeros]
        if not fitting:
            least, _, point = min(figures, key=lambda own: own[0])
            raise ValueError(
                f"No point has {nonzeros} nonzero dense weights or fewer; the lowest "
                f"number is {least}, of {point.name!r}. Allow more."
            )
        return min(fitting, key=lambda own: (-own[1], own[0]))[2]

    def knees(self) -> dict[str, Point]:
        """The points of best compromise, by criterion; see `bopt.fronts.knees`.

        Returns:
          Criterion -> point of the non-dominated ones in objective_0 and objective_1.

        Raises:
          ImportError: the extra `fronts` is not installed.

        Example:
          >>> from bopt.fronts import Front, Point
          >>> values = [(0.0, 9.0), (1.0, 2.0), (5.0, 1.0), (9.0, 0.0)]
          >>> weights = [(1.0, 0.0), (0.9, 0.1), (0.6, 0.4), (0.5, 0.5)]
          >>> Front(map(Point, weights, values)).knees()["chord"].objectives
          (1.0, 2.0)
        """
        front = self.nondominated()
        weights = np.stack([front.column("weight_0"), front.column("weight_1")], 1)
        rows = knees.knees(front._costs(_OBJECTIVES), weights)
        return {criterion: front[row] for criterion, row in rows.items()}

    def merge(self, *others: "Front") -> "Front":
        """All points, these first; of exact duplicates, the first is kept."""
        merged: dict[str, Point] = {}
        for point in (point for front in (self, *others) for point in front):
            merged.setdefault(repr(point), point)  # by text: NaN equals nothing
        return Front(merged.values())

    def over_seeds(self) -> list[Spread]:
        """Means and deviations over the seeds.

        Returns:
          A `Spread` for each weights and epochs, in order of appearance.
        """
        groups: dict[tuple, list[Point]] = {}
        for point in self.points:
            groups.setdefault((point.weights, point.epochs), []).append(point)
        return [
            Spread(
                len(group),
                _apply(group, statistics.fmean),
                _apply(group, _deviation),
            )
            for group in groups.values()
        ]

    def means(self) -> "Front":
        """A front of one point for each weights and epochs, the mean over the seeds."""
        return Front(spread.mean for spread in self.over_seeds())

    def to_csv(self, header: bool = True) -> str:
        """The table as CSV text, a line a point; floats are exact."""
        return files.csv_text(self.points, header)

    @classmethod
    def from_csv(
        cls, text: str, *, required: Sequence[str] = files.REQUIRED
    ) -> "Front":
        """Read a front from CSV text.

        Blank lines, lines that begin with ``#``, a byte-order mark and columns that
        `Point` does not have are ignored.

        Args:
          text: a header, and one line per point.
          required: columns that must be present. Of these, the ones that `Point` lets
            be None must hold a finite number in each line.

        Returns:
          A front, whose points have no weights or no objectives where there are no
          such columns; an empty one for a text without points.

        Raises:
          ValueError: a required column is missing, or a value is not a number; the
            message names line and column.

        Example:
          >>> from bopt.fronts import Front
          >>> columns = "test_accuracy", "nonzero_dense"
          >>> text = "# figure 4b\\ntest_accuracy,nonzero_dense\\n0.9902,25128\\n"
          >>> Front.from_csv(text, required=columns)[0].test_accuracy
          0.9902
        """
        return cls(files.points_of_csv(text, required))

    def to_json(self) -> str:
        """The table as JSON text, ``{"points": [{...}, ...]}``, with null for NaN."""
        return files.json_text(self.points)

    @classmethod
    def from_json(cls, text: str) -> "Front":
        """The front of a JSON text.

        Raises:
          ValueError: not JSON, or not a front's; the point and key are named.
        """
        return cls(files.points_of_json(text))

    def _nonzeros_and_accuracies(self) -> list[tuple[float, float, Point]]:
        """Of the points that have both figures, at least one."""
        figures = [
            (point.nonzero_dense, point.validation_accuracy, point)
            for point in self.points
            if point.nonzero_dense is not None and point.validation_accuracy is not None
        ]
        figures = [own for own in figures if math.isfinite(own[0] + own[1])]
        if not figures:
            raise ValueError(
                f"None of {len(self)} points has both nonzero_dense and "
                "validation_accuracy; give the points these figures."
            )
        return figures

    def _costs(self, columns: Sequence[str]) -> np.ndarray:
        """(n, len(columns)), to be minimised."""
        return np.stack(
            [
                -self.column(name) if _maximised(name) else self.column(name)
                for name in columns
            ],
            axis=1,
        )


def _maximised(column: str) -> bool:
    return column.endswith("_accuracy")


def _deviation(values: list[float]) -> float:
    if len(values) == 1:
        return 0.0
    # Of a diverged seed: statistics.stdev cannot take NaN or infinity.
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def _apply(points: list[Point], function) -> Point:
    """A point whose every figure is a function of those of the points."""
    first = points[0]

    def of(values: list):
        return None if None in values else function(values)

    figures = {
        name: of([getattr(point, name) for point in points]) for name in files.FIGURES
    }
    objectives = tuple(
        map(of, map(list, zip(*(p.objectives for p in points), strict=True)))
    )
    return first._replace(objectives=objectives, seed=None, **figures)
