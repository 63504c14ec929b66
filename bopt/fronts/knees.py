"""Knees, the points of best compromise of a front, by five criteria.

``weight_jump``: the point from which w0 / w1 jumps most to the next one with more
  complexity. It depends on the weights alone; with weights spaced geometrically it is
  the neighbour of the accurate end.
``chord``: the point farthest below the straight line between the ends. It depends on
  the whole shape and is in the middle of a round front.
``angle``: the point where the front bends most. It depends on neighbours and is a
  corner, which may be due to noise.
``hypervolume``: the point that alone dominates most, up to (1.1, 1.1). It prefers
  points beside wide gaps.
``description_length``: the point that describes n examples in the fewest nats,
  ``n * loss + k / 2 * log(n)`` for a mean loss in nats and k weights (Schwarz'
  criterion). It needs no scale and may be an end, but both numbers of each point.

On a front with one pronounced corner chord, angle and hypervolume agree.

Source: arXiv 2008.13590 (weight_jump; its code takes the difference with a wrap-around
and so picks an end, which is not reproduced); I. Das, *On characterizing the "knee" of
the Pareto curve based on normal-boundary intersection* (Structural Optimization 1999,
chord); J. Branke, K. Deb, H. Dierolf, M. Osswald, *Finding knees in multi-objective
optimization* (PPSN 2004, angle); G. Schwarz, *Estimating the dimension of a model*
(Annals of Statistics 1978, description_length).
"""

import numpy as np

from bopt.fronts import indicators

_ROUNDING = 1e-9  # scores of points on a straight line, which has no knee


def knees(objectives: np.ndarray, weights: np.ndarray) -> dict[str, int]:
    """Criterion -> row of the knee; a criterion without a knee is left out.

    The objectives (n, 2) are non-dominated and sorted by the first column. They are
    scaled to [0, 1] between the ends of the front, which are never knees. The weights
    are (n, 2), or of another shape where there is no jump.
    """
    if len(objectives) < 3:
        return {}
    points = (objectives - objectives.min(0)) / np.ptp(objectives, 0)
    scores = {
        "weight_jump": _weight_jumps(weights),
        "chord": 1 - points.sum(1)[1:-1],  # from the line between (0, 1) and (1, 0)
        "angle": _bends(points),
        "hypervolume": indicators.contributions(points, np.array([1.1, 1.1]))[1:-1],
    }
    return {
        name: 1 + int(np.argmax(score))
        for name, score in scores.items()
        if score.max() > _ROUNDING
    }


def description_lengths(
    losses: np.ndarray, sizes: np.ndarray, examples: int
) -> np.ndarray:
    """Nats that describe the examples by each network of a mean loss and a size."""
    return examples * losses + sizes / 2 * np.log(examples)


def _weight_jumps(weights: np.ndarray) -> np.ndarray:
    """Change of w0 / w1 from each inner point to its sparser neighbour, (n - 2,)."""
    if weights.shape[1:] != (2,):
        return np.zeros(1)
    w0, w1 = weights.T
    ratios = w0 / np.where(w1 == 0, np.nan, w1)  # no jump to the ratio of (1, 0)
    return np.nan_to_num(np.abs(np.diff(ratios))[:-1])


def _bends(points: np.ndarray) -> np.ndarray:
    """Angle (radians) by which each inner point's segments turn left, (n - 2,)."""
    steps = np.diff(points, axis=0)
    return np.diff(np.arctan2(steps[:, 1], steps[:, 0]))
