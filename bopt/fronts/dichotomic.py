"""Searches that propose the normals of the segments between neighbours on the hull."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import jax
import jax.numpy as jnp

from bopt.fronts import _weights
from bopt.fronts.front import Front
from bopt.fronts.points import Point, Weights
from bopt.fronts.searches import Batch, Search

_STARTS = ((1.0, 0.0), (0.9, 0.1))
_CANDIDATES = 16  # random weights, of which the first new one is proposed
_SHARES = (0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875)  # of the way between two ends

# (key, weights of two neighbours) -> values of w1 to try after their normal
After = Callable[[jax.Array, tuple[float, ...], tuple[float, ...]], Iterable[float]]


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
    return _search(first, "no segment between neighbours has a new normal")


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
    draws w0 uniformly, up to 10 % below that of the neighbour, see `released`.
    """
    first = _weights.two_starts("stochastic_dichotomic", starts)
    _weights.check_smallest("stochastic_dichotomic", smallest, first)
    if draws < 1:
        raise ValueError(
            f"stochastic_dichotomic got draws={draws}; expected at least 1. "
            "Without random weights, this is dichotomic."
        )

    def draw(
        key: jax.Array, p: tuple[float, ...], q: tuple[float, ...]
    ) -> Iterator[float]:
        # float32, so that the draw does not depend on whether x64 is enabled.
        shares = jax.random.uniform(key, (_CANDIDATES,), jnp.float32).tolist()
        return _at(shares, p, q, smallest)

    reason = "random weights between them find nothing better"
    return _search(
        first,
        f"no segment between neighbours has a new normal, and {reason}",
        draw,
        draws,
    )


def bisection_dichotomic(
    starts: Iterable[Weights] = _STARTS, smallest: float = 3e-5, failures: int = 3
) -> Search:
    """Dichotomic search that bisects the weights where normals fail.

    A segment's normal fails if it repeats weights that were tried, or if its training
    is no vertex of the hull, as no training is exact. Weights half way between those of
    the segment's ends in log(w1 / w0) are then tried, next those at the quarters and at
    the eighths, until `failures` of its trainings, the normal included, are no vertices
    of the hull.

    Args:
      starts: two weights (w0, w1), which are trained first and enclose all others.
      smallest: the smallest weight of a bisection, and what smaller ones, such as the 0
        of (1, 0), count as; normals may be smaller.
      failures: number of failures after which a segment is given up.

    Returns:
      A search that proposes the starts, then for each segment its normal, else weights
      between its ends.

    Raises:
      ValueError: starts off the unit simplex, or not two different ones; `smallest`
        not between 0 and the weights of the starts; `failures` below 1.

    Example:
      >>> import jax
      >>> from bopt.fronts import Front, Point, bisection_dichotomic
      >>> points = Point((1.0, 0.0), (0.0, 99.0)), Point((0.9, 0.1), (1.0, 0.0))
      >>> search, key = bisection_dichotomic(smallest=1e-4), jax.random.key(0)
      >>> search(Front(points), key).weights
      ((0.99, 0.01),)
      >>> failed = Point((0.99, 0.01), (2.0, 99.0))
      >>> ((w0, w1),) = search(Front([*points, failed]), key).weights
      >>> round(w1, 5)
      0.00332

    Source: arXiv 2008.13590, section 5, for both searches; the authors described their
    combination, bisection-enhanced dichotomic search (BEDS), in 2021. The quarters,
    the eighths and `failures` are additions.
    """
    first = _weights.two_starts("bisection_dichotomic", starts)
    _weights.check_smallest("bisection_dichotomic", smallest, first)
    if failures < 1:
        raise ValueError(
            f"bisection_dichotomic got failures={failures}; expected at least 1. "
            "Without bisections, this is dichotomic."
        )

    def bisect(
        key: jax.Array, p: tuple[float, ...], q: tuple[float, ...]
    ) -> Iterator[float]:
        del key
        return _at(_SHARES, p, q, smallest)

    reason = "nothing better lies between them"
    return _search(
        first,
        f"no segment between neighbours has a new normal, and {reason}",
        bisect,
        failures,
    )


def _search(
    starts: tuple[Weights, ...],
    reason: str,
    after: After | None = None,
    failures: int = 0,
) -> Search:
    """Search along normals; `after` gives further weights of a segment.

    They are tried until a number of trainings between the segment's ends have failed.
    """

    def search(front: Front, key: jax.Array) -> Batch:
        points = _weights.means(front)
        if missing := _weights.untried(starts, points):
            return Batch(missing)
        hull = points.hull()
        if not hull:
            return Batch((), "all trainings diverged")
        if len(hull) == 1:
            single = f"a single point, of weights {hull[0].weights}, is left: the"
            return Batch((), f"{single} others diverged, or are better in no objective")
        failed = {point.weights for point in points} - {v.weights for v in hull}

        def candidates(number: int, p: Point, q: Point) -> Iterator[float]:
            yield _weights.normal(p, q)
            ends = p.weights, q.weights
            if after is None:
                return
            if sum(_weights.between(w1, *ends) for _, w1 in failed) < failures:
                yield from after(jax.random.fold_in(key, number), *ends)

        intervals = (candidates(n, *ends) for n, ends in enumerate(pairwise(hull)))
        weights = _weights.propose(intervals, points, starts)
        return Batch(weights, "" if weights else reason)

    return search


def _at(
    shares: Iterable[float],
    p: tuple[float, ...],
    q: tuple[float, ...],
    smallest: float,
) -> Iterator[float]:
    """w1 at shares of the way between two weights in log(w1 / w0)."""
    a, b = (_weights.log_ratio(pair, smallest) for pair in (p, q))
    for share in shares:
        w1 = _weights.from_log_ratio(a + share * (b - a))
        if _weights.between(w1, p, q):
            yield w1
