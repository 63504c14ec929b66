"""Searches of a Pareto front, which propose the weights to train next.

A search is a function ``(front, key) -> Batch`` without state: its proposal depends on
the points, in any order, and on the key alone, so that a stopped search resumes from
its points. Points that differ in their random seeds only count as one, their mean. No
search but `grid`, `continuation` and `released` proposes weights within 1 per cent (in
w1 / w0) of others, which would only show noise, so that each one ends.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import jax

from bopt.fronts import _weights
from bopt.fronts.front import Front
from bopt.fronts.grids import geometric
from bopt.fronts.points import Weights


class Batch(NamedTuple):
    """Trainings that a search proposes.

    Attributes:
      weights: (w0, w1) of each training, on the unit simplex; empty once the search
        has ended.
      reason: reason why the search has ended; empty as long as there are weights.
      warm_starts: for each training, the weights of the training whose parameters it
        starts from; empty if all start from scratch.

    Example:
      >>> from bopt.fronts import Batch, Front
      >>> batch = Batch(((1.0, 0.0), (0.99, 0.01), (0.9, 0.1)))
      >>> batch.reason
      ''
      >>> batch.widest(2, Front()).weights
      ((1.0, 0.0), (0.9, 0.1))
    """

    weights: tuple[Weights, ...]
    reason: str = ""
    warm_starts: tuple[Weights, ...] = ()

    def widest(self, number: int, front: Front) -> "Batch":
        """Keep the weights in the widest gaps, for a budget that a batch exceeds.

        Weights are chosen one by one. The gap of each is the distance in log(w1 / w0)
        between its neighbours among the weights of the front and those chosen before;
        without a neighbour on each side, it is infinite. Among equally wide gaps, the
        weights farthest from their neighbours, then those farthest from the ones chosen
        before are taken, then the first. A weight of 0 counts as half of the smallest
        other one.

        Args:
          number: number of weights to keep.
          front: points that the batch was proposed for.

        Returns:
          A batch of at most `number` of the weights, in their order.
        """
        if number >= len(self.weights):
            return self
        tried = [point.weights for point in front]
        kept = sorted(_weights.widest(self.weights, number, tried))
        weights = tuple(self.weights[n] for n in kept)
        return self._replace(
            weights=weights,
            warm_starts=tuple(self.warm_starts[n] for n in kept if self.warm_starts),
        )


Search = Callable[[Front, jax.Array], Batch]


def grid(weights: Iterable[Weights] = geometric()) -> Search:
    """Propose a list of weights, in one batch.

    Args:
      weights: different points (w0, w1) of the unit simplex, for example
        `geometric()` or `ORIGINAL_WEIGHTS`.

    Returns:
      A search that proposes the weights which have not been tried.

    Raises:
      ValueError: no weights, weights off the unit simplex, or repeated ones.

    Example:
      >>> import jax
      >>> from bopt.fronts import Front, Point, grid
      >>> front = Front([Point((1.0, 0.0), (0.04, 5000.0))])
      >>> grid([(1.0, 0.0), (0.9, 0.1)])(front, jax.random.key(0))
      Batch(weights=((0.9, 0.1),), reason='', warm_starts=())
    """
    listed = _weights.checked("grid", weights)
    if not listed:
        raise ValueError("grid got no weights; expected at least one pair (w0, w1).")

    def search(front: Front, key: jax.Array) -> Batch:
        del key
        missing = _weights.untried(listed, _weights.means(front))
        return _batch(missing, "all weights of the list have been tried")

    return search


def bisection(
    starts: Iterable[Weights] = ((1.0, 0.0), (0.997, 0.003)),
    spacing: Literal["geometric", "arithmetic"] = "geometric",
    smallest: float = 3e-5,
) -> Search:
    """Propose weights halfway between those of neighbours on the hull of the front.

    If the point halfway is no vertex of the hull, a quarter and three quarters of the
    way are tried, too. The starts stay neighbours of the hull's ends even if they are
    dominated, because the most accurate networks often have weights close to theirs.

    Args:
      starts: two weights (w0, w1), which are trained first and enclose all others.
      spacing: ``"geometric"``: halfway in log(w1 / w0), where weights below
        `smallest`, such as the 0 of (1, 0), count as `smallest`. ``"arithmetic"``:
        halfway in w1, as in the paper's code, whose weights combine directions.
      smallest: the smallest weight that is proposed, apart from the starts.

    Returns:
      A search that proposes the starts, then batches of one training per interval.

    Raises:
      ValueError: starts off the unit simplex, or not two different ones; an unknown
        `spacing`; a `smallest` beyond the starts.

    Example:
      >>> import jax
      >>> from bopt.fronts import Front, Point, bisection
      >>> points = Point((1.0, 0.0), (0.04, 5e3)), Point((0.997, 0.003), (0.12, 50.0))
      >>> batch = bisection()(Front(points), jax.random.key(0))
      >>> [round(w1, 5) for _, w1 in batch.weights]
      [0.0003]

    Source: arXiv 2008.13590, section 5; geometric spacing, quarters and lasting starts
    are additions.
    """
    first = _weights.two_starts("bisection", starts)
    low, high = sorted(first, key=lambda pair: pair[1])
    if spacing not in ("geometric", "arithmetic"):
        raise ValueError(
            f"bisection got spacing={spacing!r}; expected 'geometric' or 'arithmetic'."
        )
    _weights.check_smallest("bisection", smallest, first)

    def candidates(p: tuple[float, ...], q: tuple[float, ...]) -> Iterator[float]:
        for share in (0.5, 0.25, 0.75):
            if spacing == "arithmetic":
                w1 = p[1] + share * (q[1] - p[1])
            else:
                a, b = (_weights.log_ratio(pair, smallest) for pair in (p, q))
                w1 = _weights.from_log_ratio(a + share * (b - a))
            if smallest < w1 < 1 - smallest and _weights.between(w1, p, q):
                yield w1

    def search(front: Front, key: jax.Array) -> Batch:
        del key
        points = _weights.means(front)
        if missing := _weights.untried(first, points):
            return Batch(missing)
        hull = [point.weights for point in points.hull()]
        if not hull:
            return Batch((), "all trainings diverged")
        intervals = (candidates(p, q) for p, q in pairwise([low, *hull, high]))
        return _batch(
            _weights.propose(intervals, points, first),
            "nothing new lies half way between neighbours, or at a quarter",
        )

    return search


def _batch(weights: tuple[Weights, ...], reason: str) -> Batch:
    return Batch(weights, "" if weights else reason)
