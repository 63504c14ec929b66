"""Searches of a Pareto front, which propose the weights to train next.

A search is a function ``(front, key) -> Batch`` without state: its proposal depends on
the points, in any order, and on the key alone, so that a stopped search resumes from
its points. Points that differ in their random seeds only count as one, their mean. No
search proposes weights within 1 per cent (in w1 / w0) of others, which would only show
noise, so that each one ends.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from bopt.fronts import _weights
from bopt.fronts.front import Front
from bopt.fronts.grids import geometric
from bopt.fronts.points import Point, Weights

_STARTS = ((1.0, 0.0), (0.9, 0.1))
_CANDIDATES = 16  # random weights, of which the first new one is proposed


class Batch(NamedTuple):
    """Trainings that a search proposes.

    Attributes:
      weights: (w0, w1) of each training, on the unit simplex; empty once the search
        has ended.
      reason: reason why the search has ended; empty as long as there are weights.
      warm_starts: for each training, the weights of the training whose parameters it
        starts from; empty if all start from scratch.

    Example:
      >>> from bopt.fronts import Batch
      >>> Batch(((1.0, 0.0), (0.9, 0.1))).reason
      ''
    """

    weights: tuple[Weights, ...]
    reason: str = ""
    warm_starts: tuple[Weights, ...] = ()


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


def dichotomic(starts: Iterable[Weights] = _STARTS) -> Search:
    """Propose the normals of the segments between neighbours on the hull.

    The weighted sum with a segment's normal is equal at both ends, so a training finds
    a point below the segment, or there is none. The weights suit a weighted sum of
    objectives, not of directions.

    Args:
      starts: two weights (w0, w1), which are trained first and enclose all others.

    Returns:
      A search that proposes the starts, then the normal of each unfinished segment.

    Raises:
      ValueError: starts off the unit simplex, or not two different ones.

    Example:
      >>> import jax
      >>> from bopt.fronts import Front, Point, dichotomic
      >>> points = Point((1.0, 0.0), (0.0, 99.0)), Point((0.9, 0.1), (1.0, 0.0))
      >>> dichotomic()(Front(points), jax.random.key(0))
      Batch(weights=((0.99, 0.01),), reason='', warm_starts=())

    Source: Y. P. Aneja, K. P. K. Nair, *Bicriteria transportation problem*, Management
    Science 25 (1979); arXiv 2008.13590, section 5.
    """
    first = _weights.two_starts("dichotomic", starts)

    def search(front: Front, key: jax.Array) -> Batch:
        del key
        points = _weights.means(front)
        if stop := _no_segments(first, points):
            return stop
        intervals = ([_weights.normal(p, q)] for p, q in pairwise(points.hull()))
        return _batch(
            _weights.propose(intervals, points, first),
            "no segment between neighbours has a new normal",
        )

    return search


def stochastic_dichotomic(
    starts: Iterable[Weights] = _STARTS, smallest: float = 3e-5, draws: int = 2
) -> Search:
    """Dichotomic search that continues with random weights where normals fail.

    No training is exact, so there may be points below a segment whose normal found
    none. Random weights between its ends, uniform in log(w1 / w0), are then tried,
    until `draws` of its trainings, the normal included, are no vertices of the hull.

    Args:
      starts: two weights (w0, w1), which are trained first and enclose all others.
      smallest: the smallest random weight; normals may be smaller.
      draws: number of failures after which a segment is given up.

    Returns:
      A search that proposes the starts, then for each segment its normal, else random
      weights, which depend on the key.

    Raises:
      ValueError: starts off the unit simplex, or not two different ones; `smallest`
        not between 0 and the weights of the starts; `draws` below 1.

    Example:
      >>> import jax
      >>> from bopt.fronts import Front, Point, stochastic_dichotomic
      >>> points = Point((1.0, 0.0), (0.0, 99.0)), Point((0.9, 0.1), (1.0, 0.0))
      >>> failed = Point((0.99, 0.01), (2.0, 99.0))
      >>> search, key = stochastic_dichotomic(), jax.random.key(0)
      >>> ((w0, w1),) = search(Front([*points, failed]), key).weights
      >>> 3e-5 < w1 < 0.1
      True

    Source: arXiv 2008.13590, section 5. The draws are this project's: the paper's code
    draws w0 uniformly, up to 10 % below that of the neighbour.
    """
    first = _weights.two_starts("stochastic_dichotomic", starts)
    _weights.check_smallest("stochastic_dichotomic", smallest, first)
    if draws < 1:
        raise ValueError(
            f"stochastic_dichotomic got draws={draws}; expected at least 1. "
            "Without random weights, this is dichotomic."
        )

    def search(front: Front, key: jax.Array) -> Batch:
        points = _weights.means(front)
        if stop := _no_segments(first, points):
            return stop
        hull = points.hull()
        failed = {point.weights for point in points} - {v.weights for v in hull}

        def candidates(number: int, p: Point, q: Point) -> Iterator[float]:
            yield _weights.normal(p, q)
            ends = p.weights, q.weights
            if sum(_weights.between(w1, *ends) for _, w1 in failed) < draws:
                yield from draw(jax.random.fold_in(key, number), *ends)

        segments = enumerate(pairwise(hull))
        intervals = (candidates(number, p, q) for number, (p, q) in segments)
        return _batch(
            _weights.propose(intervals, points, first),
            "no segment between neighbours has a new normal, and random weights "
            "between them find nothing better",
        )

    def draw(key: jax.Array, p: tuple[float, ...], q: tuple[float, ...]) -> list[float]:
        a, b = (_weights.log_ratio(pair, smallest) for pair in (p, q))
        # float32, so that the draw does not depend on whether x64 is enabled.
        shares = jax.random.uniform(key, (_CANDIDATES,), jnp.float32).tolist()
        drawn = (_weights.from_log_ratio(a + share * (b - a)) for share in shares)
        return [w1 for w1 in drawn if _weights.between(w1, p, q)]

    return search


def _batch(weights: tuple[Weights, ...], reason: str) -> Batch:
    return Batch(weights, "" if weights else reason)


def _no_segments(starts: tuple[Weights, ...], points: Front) -> Batch | None:
    """The batch before the hull has two vertices; None as soon as it has."""
    if missing := _weights.untried(starts, points):
        return Batch(missing)
    hull = points.hull()
    if not hull:
        return Batch((), "all trainings diverged")
    if len(hull) > 1:
        return None
    single = f"a single point, of weights {hull[0].weights}, is left: the others"
    return Batch((), f"{single} diverged, or are better in no objective")
