"""Tables of trainings, and selections from them."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from bopt.fronts import files, indicators, knees
from bopt.fronts.points import Point, Spread, spreads


@dataclasses.dataclass(frozen=True)
class Front:
    """An immutable table of points.

    Its columns are ``weight_0``, ``weight_1``, ..., ``objective_0``, ... and the
    metrics of the points by name.

    Args:
      points: an iterable of `Point`.

    Attributes:
      points: a tuple of `Point`.

    Raises:
      ValueError: something that is no `Point`, or points that differ in their number of
        weights or objectives.

    Example:
      >>> from bopt.fronts import Front, Point
      >>> front = Front([
      ...     Point((1.0, 0.0), (0.04, 5000.0), "accurate", accuracy=0.99),
      ...     Point((0.9, 0.1), (0.12, 50.0), "sparse", accuracy=0.96),
      ...     Point((0.99, 0.01), (0.13, 900.0), "neither", accuracy=0.95),
      ... ])
      >>> [point.name for point in front.nondominated()]
      ['accurate', 'sparse']
      >>> front.best(maximize="accuracy", at_most={"objective_1": 1000}).name
      'sparse'
      >>> round(front.hypervolume((0.14, 5000.0)), 6)
      99.0
      >>> Front.from_csv(front.to_csv()) == front
      True
    """

    points: tuple[Point, ...] = ()

    def __init__(self, points: Iterable[Point] = ()):
        object.__setattr__(self, "points", tuple(points))
        for point in self.points:
            if not isinstance(point, Point):
                raise ValueError(f"A front got {point!r}; expected a Point.")
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
        _, *known = files.columns(self.points)
        if name not in known:
            raise ValueError(
                f"A front has no column {name!r}; expected one of {', '.join(known)}."
            )
        values = [files.value(point, name) for point in self.points]
        return np.array([np.nan if v is None else v for v in values], np.float64)

    def nondominated(self, *columns: str, maximize: Sequence[str] = ()) -> "Front":
        """Return the non-dominated points.

        Args:
          *columns: one or more; all objectives by default.
          maximize: those of the columns that are to be maximised; the others are
            minimised.

        Returns:
          A front, sorted by the first column, best first. Points without a finite
          value are left out; the first of points equal in all columns is kept.

        Raises:
          ValueError: an unknown column, or one to maximise that is not among them.

        Example:
          >>> from bopt.fronts import Front, Point
          >>> sizes = [(0.9, 50), (0.8, 60), (0.7, 40)]
          >>> front = Front(Point(metrics={"acc": a, "size": n}) for a, n in sizes)
          >>> kept = front.nondominated("acc", "size", maximize=["acc"])
          >>> kept.column("size").tolist()
          [50.0, 40.0]
        """
        costs = self._costs(columns, maximize)
        kept = indicators.nondominated(costs)
        order = np.argsort(costs[kept, 0], kind="stable")
        return Front(self.points[i] for i in kept[order])

    def hull(self) -> "Front":
        """Return the points that minimise a weighted sum, sorted by objective_0.

        They are the vertices of the lower left convex hull of the two objectives.

        Raises:
          ValueError: another number of objectives than two.
        """
        front = self._of_two_objectives("hull").nondominated()
        vertices = indicators.lower_left_hull(front._costs())
        return Front(front[i] for i in vertices)

    def hypervolume(
        self,
        reference: Sequence[float],
        columns: Sequence[str] = (),
        *,
        maximize: Sequence[str] = (),
    ) -> float:
        """Compute the volume that the points dominate, up to a reference point.

        Args:
          reference: a bound per column, in its units; a lower one for a column to be
            maximised.
          columns: one or more; all objectives by default.
          maximize: those of the columns that are to be maximised; the others are
            minimised.

        Returns:
          A volume in the product of the columns' units; 0 for no points.

        Raises:
          ImportError: the extra `fronts` is not installed.
          ValueError: an unknown column, one to maximise that is not among them, another
            number of references than columns, or a reference that is not finite.

        Source: E. Zitzler, L. Thiele, *Multiobjective evolutionary algorithms* (IEEE
        Transactions on Evolutionary Computation 1999).
        """
        bounds = np.array([float(bound) for bound in reference])
        if not np.isfinite(bounds).all():
            raise ValueError(
                f"hypervolume got the reference {bounds.tolist()}; expected finite "
                "numbers."
            )
        costs, signs = self._costs(columns, maximize), self._signs(columns, maximize)
        if self.points and len(bounds) != len(signs):
            raise ValueError(
                f"hypervolume got a reference of {len(bounds)} numbers for "
                f"{len(signs)} columns; expected one for each."
            )
        return indicators.hypervolume(costs, bounds * signs) if self.points else 0.0

    def best(
        self,
        *,
        maximize: str | None = None,
        minimize: str | None = None,
        at_most: Mapping[str, float] | None = None,
        at_least: Mapping[str, float] | None = None,
    ) -> Point:
        """Return the best point in one column, within bounds on others.

        Args:
          maximize: the column whose largest value is wanted.
          minimize: the column whose smallest value is wanted, instead.
          at_most: column -> largest acceptable value.
          at_least: column -> smallest acceptable value.

        Returns:
          A point. Points without a finite value in one of the columns are left out; of
          points that are equally good, the one with the better bounded columns is
          returned.

        Raises:
          ValueError: no point is within the bounds (the message names the closest one),
            none has all values, an unknown column, a bound that is NaN, or not exactly
            one of `maximize` and `minimize`.

        Example:
          >>> from bopt.fronts import Front, Point
          >>> front = Front([
          ...     Point(name="large", accuracy=0.99, nonzeros=5000),
          ...     Point(name="small", accuracy=0.98, nonzeros=900),
          ... ])
          >>> front.best(maximize="accuracy", at_most={"nonzeros": 1000}).name
          'small'
          >>> front.best(minimize="nonzeros", at_least={"accuracy": 0.985}).name
          'large'
        """
        if (maximize is None) == (minimize is None):
            raise ValueError(
                f"best got maximize={maximize!r} and minimize={minimize!r}; expected "
                "the name of a column for one of them."
            )
        target = maximize if minimize is None else minimize
        # (column, bound, sign with which it is minimised)
        bounds = [(name, float(x), 1) for name, x in (at_most or {}).items()]
        bounds += [(name, float(x), -1) for name, x in (at_least or {}).items()]
        for name, bound, _ in bounds:
            if np.isnan(bound):
                raise ValueError(f"best got the bound {bound} on {name}; expected one.")
        names = [str(target), *(name for name, _, _ in bounds)]
        signs = [1 if maximize is None else -1, *(sign for _, _, sign in bounds)]
        columns = [self.column(name) for name in names]
        costs = np.stack(columns, axis=1) * signs
        known = np.isfinite(costs).all(1)
        if not known.any():
            raise ValueError(
                f"None of {len(self)} points has a finite value of "
                f"{' and of '.join(names)}; give the points these values."
            )
        costs, points = costs[known], np.flatnonzero(known)
        within = np.ones(len(points), bool)
        for (name, bound, sign), cost in zip(bounds, costs.T[1:], strict=True):
            fits = cost <= sign * bound
            if not fits.any():
                closest = int(np.argmin(cost))
                words = "at most" if sign > 0 else "at least"
                raise ValueError(
                    f"No point has {name} of {words} {bound:g}; the closest is "
                    f"{sign * cost[closest]:g}, of {self[points[closest]].name!r}. "
                    "Loosen the bound."
                )
            within &= fits
        if not within.any():
            raise ValueError(
                "No point is within all bounds, although some are within each: "
                f"at_most={at_most}, at_least={at_least}. Loosen one."
            )
        # The last key counts most; equal points keep their order.
        first = np.lexsort(costs[within].T[::-1])[0]
        return self[int(points[within][first])]

    def knees(
        self, *, examples: int | None = None, size: str | None = None
    ) -> dict[str, Point]:
        """Find the points of best compromise of two objectives, by five criteria.

        Args:
          examples: number of training examples, for ``description_length``.
          size: column with the number of weights, for ``description_length``.

        Returns:
          Criterion -> non-dominated point; see `bopt.fronts.knees` for the criteria.
          Points without weights have no knee by ``weight_jump``; without `examples` and
          `size` there is none by ``description_length``.

        Raises:
          ImportError: the extra `fronts` is not installed.
          ValueError: another number of objectives than two, only one of `examples` and
            `size`, fewer than 2 examples, or an unknown column.
        """
        if (examples is None) != (size is None) or (examples or 2) < 2:
            raise ValueError(
                f"knees got examples={examples} and size={size!r}; expected both, with "
                "at least 2 examples, or none."
            )
        front = self._of_two_objectives("knees").nondominated()
        weights = np.array([p.weights for p in front]) if len(front) else np.empty(0)
        costs = front._costs()
        rows = knees.knees(costs, weights)
        if size and examples and len(front):
            sizes = front.column(size)
            lengths = knees.description_lengths(costs[:, 0], sizes, examples)
            if np.isfinite(lengths).any():
                rows["description_length"] = int(np.nanargmin(lengths))
        return {criterion: front[row] for criterion, row in rows.items()}

    def merge(self, *others: "Front") -> "Front":
        """Join fronts, this one first; the first of exact duplicates is kept."""
        merged: dict[str, Point] = {}
        for point in (point for front in (self, *others) for point in front):
            own = point.weights, point.objectives, sorted(point.metrics.items())
            merged.setdefault(repr((point.name, own)), point)  # text: NaN != NaN
        return Front(merged.values())

    def over_seeds(self) -> list[Spread]:
        """Compute one `Spread` over the seeds per combination of weights and epochs."""
        return spreads(self.points)

    def means(self) -> "Front":
        """Return the mean over the random seeds, per weights and epochs."""
        return Front(spread.mean for spread in self.over_seeds())

    def by_seed(self) -> "list[Front]":
        """Return one front per value of the metric ``seed``, in order of appearance.

        Example:
          >>> from bopt.fronts import Front, Point
          >>> front = Front(Point(seed=seed, size=seed + 5) for seed in (0, 1, 0))
          >>> [own.column("size").tolist() for own in front.by_seed()]
          [[5.0, 5.0], [6.0]]
        """
        seeds = [point.metrics.get("seed") for point in self]
        pairs = [*zip(self, seeds, strict=True)]
        return [Front(p for p, own in pairs if own == s) for s in dict.fromkeys(seeds)]

    def to_csv(
        self, columns: Sequence[str] | None = None, *, header: bool = True
    ) -> str:
        """Write the table as CSV text, one line per point; floats are exact.

        Args:
          columns: names and order of the columns; by default name, weights, objectives
            and all metrics.
          header: whether the first line names the columns, if there are points.
        """
        return files.csv_text(self.points, columns, header)

    @classmethod
    def from_csv(
        cls, text: str, *, required: Sequence[str] = files.REQUIRED
    ) -> "Front":
        """Read a front from CSV text.

        Blank lines and lines that begin with ``#`` are ignored, and so are columns that
        hold text. Columns of numbers are metrics, where an empty field stands for a
        value that was not measured.

        Args:
          text: a header, and one line per point.
          required: columns that must be present and hold a number in each line.

        Returns:
          A front, empty for a text without points; without columns of their own,
          `weights` and `objectives` are empty tuples.

        Raises:
          ValueError: a missing column, or a value that is no number; both are named,
            with their line.

        Example:
          >>> from bopt.fronts import Front
          >>> text = "# figure 4b\\naccuracy,nonzeros\\n0.9902,25128\\n"
          >>> Front.from_csv(text, required=["accuracy"])[0].metrics["nonzeros"]
          25128
        """
        return cls(files.points_of_csv(text, required))

    def to_json(self) -> str:
        """Write the table as JSON text, ``{"points": [{...}, ...]}``; NaN is null.

        Each point has the keys ``weights``, ``objectives``, ``name``, and its metrics.
        """
        return files.json_text(self.points)

    @classmethod
    def from_json(cls, text: str) -> "Front":
        """Read a front from JSON text.

        Raises:
          ValueError: not JSON, or not a front; the message names the point.
        """
        return cls(files.points_of_json(text))

    def _of_two_objectives(self, query: str) -> "Front":
        for point in self.points[:1]:
            if len(point.objectives) != 2:
                raise ValueError(
                    f"{query} got points of {len(point.objectives)} objectives; "
                    "expected two. Make points of the two that matter."
                )
        return self

    def _costs(
        self, columns: Sequence[str] = (), maximize: Sequence[str] = ()
    ) -> np.ndarray:
        """Columns side by side, (n, number of columns), to be minimised."""
        signs = self._signs(columns, maximize)
        values = [self.column(name) for name in columns or self._objectives()]
        return np.stack(values, axis=1) * signs

    def _signs(self, columns: Sequence[str], maximize: Sequence[str]) -> np.ndarray:
        """Signs with which the columns are minimised."""
        columns = columns or self._objectives()
        maximize = [maximize] if isinstance(maximize, str) else maximize
        if wrong := [name for name in maximize if name not in columns]:
            raise ValueError(
                f"maximize names {wrong[0]!r}; expected some of the columns "
                f"{', '.join(columns)}."
            )
        return np.array([-1.0 if name in maximize else 1.0 for name in columns])

    def _objectives(self) -> list[str]:
        """Columns of all objectives; of an empty front, those of two."""
        number = len(self[0].objectives) if self.points else 2
        if not number:
            raise ValueError("The points have no objectives; name columns instead.")
        return [f"objective_{i}" for i in range(number)]
