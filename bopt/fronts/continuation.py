"""Continuation: a walk along the front from one trained network to the next."""

import math

import jax

from bopt.fronts import _weights
from bopt.fronts.front import Front
from bopt.fronts.searches import Batch, Search


def continuation(
    number: int = 20,
    start: float = 1.5e-4,
    smallest: float = 3e-5,
    largest: float = 3e-3,
) -> Search:
    """Walk along the front in both directions, each network started from the last.

    From the first network, one walk leads to ever larger weights of the second
    objective and one to ever smaller ones. Each training starts from the parameters of
    the previous one (`Batch.warm_starts`), so that a fraction of the epochs and smaller
    steps suffice.

    Args:
      number: number of trainings; w1 is spaced geometrically in each direction.
      start: w1 of the first training.
      smallest: w1 at the end of one walk.
      largest: w1 at the end of the other walk.

    Returns:
      A search whose batches are the next weights in each direction. A walk ends early
      where a training diverges.

    Raises:
      ValueError: `number` below 1, or not 0 < smallest < start < largest < 1.

    Example:
      >>> import jax
      >>> from bopt.fronts import Front, Point, continuation
      >>> search = continuation(3, start=0.1, smallest=0.05, largest=0.2)
      >>> first = Point((0.9, 0.1), (0.0, 1.0))
      >>> batch = search(Front([first]), jax.random.key(0))
      >>> batch.weights
      ((0.8, 0.2), (0.95, 0.05))
      >>> batch.warm_starts
      ((0.9, 0.1), (0.9, 0.1))

    Source: predictor-corrector method of C. Hillermeier, *Nonlinear multiobjective
    optimization* (2001).
    """
    if number < 1 or not 0 < smallest < start < largest < 1:
        raise ValueError(
            f"continuation got number={number}, start={start}, smallest={smallest}, "
            f"largest={largest}; expected number >= 1 and 0 < smallest < start < "
            "largest < 1."
        )
    walks = [
        _walk(start, end, steps)
        for end, steps in ((largest, number // 2), (smallest, (number - 1) // 2))
    ]

    def search(front: Front, key: jax.Array) -> Batch:
        del key
        points = _weights.means(front)
        # With several seeds, a walk needs all of them.
        bad = Front(p for p in points if not math.isfinite(sum(p.objectives)))
        if missing := _weights.untried(walks[0][:1], points):
            return Batch(missing)
        steps = []
        for walk in walks:
            left = _weights.untried(walk, points)
            last = walk[walk.index(left[0]) - 1] if left else walk[-1]
            if left and _weights.untried([last], bad):
                steps.append((left[0], last))
        if not steps:
            return Batch((), "both walks have come to their ends")
        weights, warm_starts = zip(*steps, strict=True)
        return Batch(weights, warm_starts=warm_starts)

    return search


def _walk(start: float, end: float, steps: int) -> list[tuple[float, float]]:
    w1 = [start * (end / start) ** (step / steps) for step in range(1, steps + 1)]
    return [(1 - w, w) for w in [start, *w1]]
