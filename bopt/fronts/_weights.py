"""Checks, comparisons and proposals of weights (w0, w1)."""

import math
from collections.abc import Iterable, Sequence

from bopt.fronts.front import Front
from bopt.fronts.points import Point, Weights

_SAME = 1e-6  # relative: weights may have been rounded for printing
_NEAR = 1e-2  # in log(w1 / w0): closer trainings differ by noise


def checked(caller: str, weights: Iterable[Weights]) -> tuple[Weights, ...]:
    """Convert weights to floats; raise if they leave the unit simplex or repeat."""
    pairs: list[Weights] = []
    for given in weights:
        pair = tuple(float(w) for w in given)
        if len(pair) != 2 or not min(pair) >= 0 or not abs(sum(pair) - 1) <= _SAME:
            raise ValueError(
                f"{caller} got the weights {pair}; expected (w0, w1), neither "
                "negative, with sum 1."
            )
        if any(_same(pair, other) for other in pairs):
            raise ValueError(f"{caller} got the weights {pair} twice; leave one out.")
        pairs.append(pair)
    return tuple(pairs)


def two_starts(caller: str, starts: Iterable[Weights]) -> tuple[Weights, ...]:
    """Check the two starts of a search."""
    pairs = checked(caller, starts)
    if len(pairs) != 2:
        raise ValueError(
            f"{caller} got {len(pairs)} starts; expected two, between which it "
            "searches, such as ((1.0, 0.0), (0.9, 0.1))."
        )
    return pairs


def check_smallest(caller: str, smallest: float, starts: Iterable[Weights]) -> None:
    """Raise unless some weights between the starts are above the smallest."""
    bound = min(0.5, max(w1 for _, w1 in starts))
    if not 0 < smallest < bound:
        raise ValueError(
            f"{caller} got smallest={smallest}; expected 0 < smallest < {bound}, so "
            "that there are weights between it and the starts."
        )


def means(front: Front) -> Front:
    """Average points of equal weights and sort them by w1, whatever their order."""
    for point in front:
        if len(point.weights) != 2 or len(point.objectives) != 2:
            raise ValueError(
                f"A search got the point {point.name!r}, of {len(point.weights)} "
                f"weights and {len(point.objectives)} objectives; expected two of each."
            )
    return Front(sorted(front.means(), key=lambda point: point.weights[1]))


def untried(weights: Iterable[Weights], points: Front) -> tuple[Weights, ...]:
    """The weights that no point has."""
    return tuple(
        pair for pair in weights if not any(_same(pair, p.weights) for p in points)
    )


def found(weights: Weights, points: Front) -> Point:
    """The point of weights that are not untried: the exact one, if there is one."""
    same = [point for point in points if _same(weights, point.weights)]
    return next((point for point in same if point.weights == weights), same[0])


def different(weights: Iterable[Weights]) -> tuple[Weights, ...]:
    """The first of each weights that are the same."""
    pairs: list[Weights] = []
    for pair in weights:
        if not any(_same(pair, other) for other in pairs):
            pairs.append(pair)
    return tuple(pairs)


def propose(
    intervals: Iterable[Iterable[float]], points: Front, starts: tuple[Weights, ...]
) -> tuple[Weights, ...]:
    """New weights: per interval of candidates for w1, the first that lies between the
    starts and is not near to weights tried or proposed so far, if there is one."""
    tried = [log_ratio(point.weights) for point in points]
    proposed = []
    for candidates in intervals:
        for w1 in candidates:
            # False for NaN, the normal of a segment to infinity.
            if not between(w1, starts[0], starts[1]):
                continue
            weights = (1 - w1, w1)
            ratio = log_ratio(weights)
            if all(abs(ratio - other) > _NEAR for other in tried):
                tried.append(ratio)
                proposed.append(weights)
                break
    return tuple(proposed)


def widest(
    weights: Sequence[Weights], number: int, tried: Sequence[tuple[float, ...]]
) -> list[int]:
    """Indices of weights, one after the other in the widest gap; see `Batch.widest`."""
    floor = min(w for pair in (*weights, *tried) for w in pair if w > 0) / 2
    ratios = [log_ratio(pair, floor) for pair in weights]
    known = [log_ratio(pair, floor) for pair in tried]
    chosen: list[int] = []

    def room(n: int) -> tuple[float, ...]:
        below = min((ratios[n] - x for x in known if x <= ratios[n]), default=math.inf)
        above = min((x - ratios[n] for x in known if x >= ratios[n]), default=math.inf)
        apart = min((abs(ratios[n] - ratios[c]) for c in chosen), default=math.inf)
        # Rounded, so that gaps of the same width are equal.
        return tuple(round(x, 9) for x in (below + above, min(below, above), apart))

    while len(chosen) < number:
        left = (n for n in range(len(weights)) if n not in chosen)
        chosen.append(max(left, key=room))
        known.append(ratios[chosen[-1]])
    return chosen


def normal(p: Point, q: Point) -> float:
    """w1 of the weights with which two points have the same weighted sum."""
    a, b = (abs(x - y) for x, y in zip(p.objectives, q.objectives, strict=True))
    return a / (a + b)


def between(w1: float, p: tuple[float, ...], q: tuple[float, ...]) -> bool:
    """True if w1 lies strictly between those of two weights."""
    low, high = sorted((p[1], q[1]))
    return low < w1 < high


def log_ratio(weights: tuple[float, ...], smallest: float = 0.0) -> float:
    """log(w1 / w0), weights below `smallest` counting as it; infinite for a 0."""
    w0, w1 = weights
    if w1 < smallest:
        w0, w1 = 1 - smallest, smallest
    elif w0 < smallest:
        w0, w1 = smallest, 1 - smallest
    if w0 == 0 or w1 == 0:
        return math.inf if w0 == 0 else -math.inf
    return math.log(w1) - math.log(w0)


def from_log_ratio(ratio: float) -> float:
    """w1 with a given log(w1 / w0)."""
    return 1 / (1 + math.exp(-ratio))


def _same(p: tuple[float, ...], q: tuple[float, ...]) -> bool:
    return all(
        math.isclose(a, b, rel_tol=_SAME, abs_tol=1e-12)
        for a, b in zip(p, q, strict=True)
    )
