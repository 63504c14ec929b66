"""The searches of the code that was released with arXiv 2008.13590."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from bopt.fronts import _weights
from bopt.fronts.front import Front
from bopt.fronts.points import Weights
from bopt.fronts.searches import Batch, Search

_STARTS: tuple[Weights, ...] = ((1.0, 0.0), (0.9, 0.1))
_LEVELS = {"bisection": 5, "dichotomic": 15, "stochastic": 15}
_ROUNDING = 1e-13  # relative, so that points on the edge of a hull are in it

Pair = tuple[float, float]


class _Candidate(NamedTuple):
    weights: Weights
    objectives: Pair


def released(
    rule: Literal["bisection", "dichotomic", "stochastic"],
    most: int = 20,
    seed: int = 0,
) -> Search:
    """Replay a search of the released code, level by level.

    The search keeps a list of candidates. Each level sorts it by the second objective
    and inserts a training between each two neighbours. Dominated candidates then leave
    the list, and so do those above the line between the first and the last, as far as
    the code's hull extends. There are at most 5 levels of bisections, else 15.

    The search differs where the code would fail, or repeat a training:

    - Weights that were trained before are not trained again from another
      initialization; they count with the same objectives.
    - Two starts with equal objectives have no normal, and if one of them is better in
      both, a weight of the normal is negative: nothing is proposed between them.
    - Trainings that diverged leave the list.

    Args:
      rule: weights of a training between two neighbours. ``"bisection"``: the mean of
        theirs. ``"dichotomic"``: the normal of their segment. ``"stochastic"``: the
        normal as well, but if they are equal, or the last three w1 agree to four
        decimals, w0 is uniform within 10 per cent below that of the neighbour with the
        larger second objective.
      most: number of trainings, repeated ones included, after which no level begins.
      seed: random seed of the stochastic rule. The key is not used, because each call
        repeats the random weights of earlier levels.

    Returns:
      A search that proposes (1, 0) and (0.9, 0.1), then the new weights of each level.

    Raises:
      ValueError: an unknown `rule`, or `most` below 2.

    Example:
      >>> import jax
      >>> from bopt.fronts import Front, Point, released
      >>> points = Point((1.0, 0.0), (0.0, 99.0)), Point((0.9, 0.1), (1.0, 0.0))
      >>> released("bisection")(Front(points), jax.random.key(0)).weights
      ((0.95, 0.05),)
      >>> released("dichotomic")(Front(points), jax.random.key(0)).weights
      ((0.99, 0.01),)

    Source: code of arXiv 2008.13590. For searches on the convex hull, see `bisection`,
    `dichotomic` and `stochastic_dichotomic`.
    """
    if rule not in _LEVELS:
        raise ValueError(
            f"released got rule={rule!r}; expected 'bisection', 'dichotomic' or "
            "'stochastic'."
        )
    if most < len(_STARTS):
        raise ValueError(f"released got most={most}; expected at least 2, the starts.")

    def search(front: Front, key: jax.Array) -> Batch:
        del key
        points = _weights.means(front)
        if missing := _weights.untried(_STARTS, points):
            return Batch(missing)
        weigh = _rule(rule, seed)
        listed, trained = [_candidate(start, points) for start in _STARTS], 2
        for _ in range(_LEVELS[rule]):
            listed = [c for c in listed if all(map(math.isfinite, c.objectives))]
            listed.sort(key=lambda candidate: candidate.objectives[1])
            if not listed:
                return Batch((), "all trainings diverged")
            if len(listed) == 1:
                single = f"a single candidate, of weights {listed[0].weights}, is left"
                return Batch((), f"{single}: the others diverged or are worse")
            between = [weigh(p, q) for p, q in itertools.pairwise(listed)]
            new = [weights for weights in between if weights is not None]
            if missing := _weights.untried(new, points):
                return Batch(_weights.different(missing))
            trained += len(new)
            if trained >= most:
                return Batch((), f"no level begins after {most} trainings")
            inserted = [w and _candidate(w, points) for w in between]
            rows = itertools.zip_longest(listed, inserted)
            listed = [c for row in rows for c in row if c is not None]
            kept = _efficient([candidate.objectives for candidate in listed])
            listed = list(itertools.compress(listed, kept))
        return Batch((), f"all {_LEVELS[rule]} levels are done")

    return search


def _rule(name: str, seed: int) -> Callable[[_Candidate, _Candidate], Weights | None]:
    """Weights between two neighbours, in the order of the code's proposals."""
    w1 = [np.round(start[1], 4) for start in _STARTS]
    draws = itertools.count()

    def weigh(p: _Candidate, q: _Candidate) -> Weights | None:
        if name == "bisection":
            a, b = zip(p.weights, q.weights, strict=True)
            return sum(a) / 2, sum(b) / 2
        d0, d1 = (b - a for a, b in zip(p.objectives, q.objectives, strict=True))
        norm = abs(d0) + abs(d1)
        if name == "stochastic" and (norm == 0 or len(set(w1[-3:])) == 1):
            key = jax.random.fold_in(jax.random.key(seed), next(draws))
            # float32, so that the draw does not depend on whether x64 is enabled.
            share = float(jax.random.uniform(key, (), jnp.float32))
            high, low = q.weights[0], 0.9 * q.weights[0]
            drawn = low + (high - low) * share
            weights = drawn, 1 - drawn
        elif norm == 0 or d1 < 0 or d0 > 0:
            return None
        else:
            weights = d1 / norm, abs(d0) / norm
        w1.append(np.round(weights[1], 4))
        return weights

    return weigh


def _candidate(weights: Weights, points: Front) -> _Candidate:
    point = _weights.found(weights, points)
    return _Candidate(weights, cast(Pair, point.objectives))


def _efficient(costs: Sequence[Pair]) -> list[bool]:
    """Mask of the candidates that the code keeps, in the order of its comparisons."""
    kept = [True] * len(costs)
    (a0, a1), (b0, b1) = costs[0], costs[-1]
    corners = (a0, 100 * a1), (100 * b0, b1), (100 * a0, 100 * a1)
    polygon = _hull([costs[0], costs[-1], *corners])
    for i, cost in enumerate(costs):
        if kept[i]:
            for j, other in enumerate(costs):
                better = any(x < y for x, y in zip(other, cost, strict=True))
                kept[j] = kept[j] and (better or j == i)
        if 0 < i < len(costs) - 1 and _inside(cost, polygon):
            kept[i] = False
    return kept


def _hull(points: Sequence[Pair]) -> list[Pair]:
    """Vertices of the convex hull, counterclockwise."""
    chains = []
    for ordered in (sorted(set(points)), sorted(set(points), reverse=True)):
        chain: list[Pair] = []
        for point in ordered:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point)[0] <= 0:
                chain.pop()
            chain.append(point)
        chains += chain[:-1]
    return chains


def _inside(point: Pair, polygon: Sequence[Pair]) -> bool:
    """True within a convex polygon and on its edges."""
    edges = zip(polygon, [*polygon[1:], *polygon[:1]], strict=True)
    turns = [_turn(p, q, point) for p, q in edges]
    return len(polygon) > 2 and all(turn >= -_ROUNDING * size for turn, size in turns)


def _turn(p: Pair, q: Pair, r: Pair) -> Pair:
    """Positive where the way from p by q to r turns left; size of its rounding."""
    a, b = (q[0] - p[0]) * (r[1] - p[1]), (q[1] - p[1]) * (r[0] - p[0])
    return a - b, abs(a) + abs(b)
