"""Tables of trainings, and selections from them."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bopt.fronts import files, indicators, knees
from bopt.fronts.points import Point, Spread, spreads

_OBJECTIVES = ("objective_0", "objective_1")


@dataclasses.dataclass(frozen=True)
class Front:
    """An immutable table of points.

    Columns have the names of `Point`'s attributes, but ``weight_0``, ``weight_1``, ...
    and ``objective_0``, ...; accuracies are maximised, all else is minimised.

    Args:
      points: an iterable of `Point`.

    Attributes:
      points: a tuple of `Point`.

    Raises:
      ValueError: the points differ in their number of weights or objectives.

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
        """Return a column as floats, (n,); NaN where a point lacks the value."""
        if not self.points:
            return np.empty(0)
        known = [key for key in files.row(self.points[0]) if key != "name"]
        if name not in known:
            raise ValueError(
                f"A front has no column {name!r}; expected one of {', '.join(known)}."
            )
        values = [files.value(point, name) for point in self.points]
        return np.array([np.nan if v is None else v for v in values], np.float64)

    def nondominated(self, *columns: str) -> "Front":
        """Return the non-dominated points.

        Args:
          *columns: two or more; objective_0 and objective_1 by default.

        Returns:
          A front, sorted by the first column, best first. Points without a finite
          value are left out; the first of points equal in all columns is kept.
        """
        costs = self._costs(columns or _OBJECTIVES)
        kept = indicators.nondominated(costs)
        order = np.argsort(costs[kept, 0], kind="stable")
        return Front(self.points[i] for i in kept[order])

    def hull(self) -> "Front":
        """Return the points that minimise a weighted sum, sorted by objective_0.

        They are the vertices of the lower left convex hull of the first two objectives.
        """
        front = self.nondominated()
        vertices = indicators.lower_left_hull(front._costs(_OBJECTIVES))
        return Front(front[i] for i in vertices)

    def hypervolume(
        self, reference: Sequence[float], columns: Sequence[str] = _OBJECTIVES
    ) -> float:
        """Compute the volume that the points dominate, up to a reference point.

        Args:
          reference: a bound per column, in its units; for an accuracy a lower one.
          columns: two or more.

        Returns:
          A volume in the product of the columns' units; 0 for no points.

        Raises:
          ImportError: the extra `fronts` is not installed.
          ValueError: unknown column, or another number of references than columns.

        Source: E. Zitzler, L. Thiele, *Multiobjective evolutionary algorithms* (IEEE
        Transactions on Evolutionary Computation 1999).
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
        """Return the point with the fewest nonzero dense weights at an accuracy.

        Args:
          accuracy: the lowest acceptable validation accuracy, 0 to 1.

        Raises:
          ValueError: no point is accurate enough; the message names the best one.
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
        """Return the point with the highest validation accuracy at a sparsity.

        Args:
          nonzeros: the largest acceptable number of nonzero dense weights.

        Raises:
          ValueError: no point is sparse enough; the message names the sparsest one.
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
        """Find the points of best compromise, by four criteria.

        Returns:
          Criterion -> non-dominated point; see `bopt.fronts.knees` for the criteria.

        Raises:
          ImportError: the extra `fronts` is not installed.
        """
        front = self.nondominated()
        weights = np.stack([front.column("weight_0"), front.column("weight_1")], 1)
        rows = knees.knees(front._costs(_OBJECTIVES), weights)
        return {criterion: front[row] for criterion, row in rows.items()}

    def merge(self, *others: "Front") -> "Front":
        """Join fronts, this one first; the first of exact duplicates is kept."""
        merged: dict[str, Point] = {}
        for point in (point for front in (self, *others) for point in front):
            merged.setdefault(repr(point), point)  # as text, because NaN != NaN
        return Front(merged.values())

    def over_seeds(self) -> list[Spread]:
        """Compute one `Spread` over the seeds per combination of weights and epochs."""
        return spreads(self.points)

    def means(self) -> "Front":
        """Return the mean over the random seeds, per weights and epochs."""
        return Front(spread.mean for spread in self.over_seeds())

    def to_csv(self, header: bool = True) -> str:
        """Write the table as CSV text, one line per point; floats are exact."""
        return files.csv_text(self.points, header)

    @classmethod
    def from_csv(
        cls, text: str, *, required: Sequence[str] = files.REQUIRED
    ) -> "Front":
        """Read a front from CSV text.

        Blank lines, lines that begin with ``#`` and columns that `Point` does not have
        are ignored.

        Args:
          text: a header, and one line per point.
          required: columns that must be present. Those that are optional in `Point`
            must then hold a finite number in each line.

        Returns:
          A front, empty for a text without points; without columns of their own,
          `weights` and `objectives` are empty tuples.

        Raises:
          ValueError: a missing column, or a value that is no number; both are named,
            with their line.

        Example:
          >>> from bopt.fronts import Front
          >>> columns = "test_accuracy", "nonzero_dense"
          >>> text = "# figure 4b\\ntest_accuracy,nonzero_dense\\n0.9902,25128\\n"
          >>> Front.from_csv(text, required=columns)[0].test_accuracy
          0.9902
        """
        return cls(files.points_of_csv(text, required))

    def to_json(self) -> str:
        """Write the table as JSON text, ``{"points": [{...}, ...]}``; NaN is null."""
        return files.json_text(self.points)

    @classmethod
    def from_json(cls, text: str) -> "Front":
        """Read a front from JSON text.

        Raises:
          ValueError: not JSON, or not a front; the message names the point and the key.
        """
        return cls(files.points_of_json(text))

    def _nonzeros_and_accuracies(self) -> list[tuple[float, float, Point]]:
        """Both figures of each point that has them; raise if there is none."""
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
        """Columns side by side, (n, len(columns)), to be minimised."""
        signs = [-1.0 if _maximised(name) else 1.0 for name in columns]
        values = [self.column(name) for name in columns]
        return np.stack(values, axis=1) * np.array(signs)


def _maximised(column: str) -> bool:
    return column.endswith("_accuracy")
