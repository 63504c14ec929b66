"""Knees: a front's points of best compromise, by four criteria.

They differ. ``weight_jump`` looks at the weights alone: at the point next to the
largest gap in w0 / w1, which with weights spaced geometrically is the accurate end's
neighbour. ``chord`` and ``angle`` look at the shape: ``chord`` at the whole of it, and
finds the middle of a round front; ``angle`` at neighbours, and finds a corner, which
may be one of the noise. ``hypervolume`` prefers points beside wide gaps. Where the
front has one pronounced corner, the last three agree.
"""

from typing import TYPE_CHECKING

import numpy as np

from bopt.fronts import indicators
from bopt.fronts.points import Point

if TYPE_CHECKING:
    from bopt.fronts.front import Front

_ROUNDING = 1e-9  # of points on a straight line, which has no knee


def knees(front: "Front") -> dict[str, Point]:
    """The knees of a front of two objectives.

    All are sought among the non-dominated points in objective_0 and objective_1, both
    scaled to [0, 1] between the ends, which are never knees.

    Args:
      front: the points.

    Returns:
      Criterion -> point; a criterion that finds none is left out, and all are for
      fewer than three non-dominated points.

      ``weight_jump``: the point from which w0 / w1 jumps most to the next one with more
      complexity. The code of arXiv 2008.13590 takes the difference with a wrap-around,
      which picks an end; that is not reproduced.
      ``chord``: the farthest below the straight line between the ends.
      ``angle``: where the front bends most.
      ``hypervolume``: the point that alone dominates most, up to (1.1, 1.1).

    Raises:
      ImportError: the extra `fronts` is not installed.

    Example:
      >>> from bopt.fronts import Front, Point
      >>> values = [(0.0, 9.0), (1.0, 2.0), (5.0, 1.0), (9.0, 0.0)]
      >>> weights = [(1.0, 0.0), (0.9, 0.1), (0.6, 0.4), (0.5, 0.5)]
      >>> front = Front(map(Point, weights, values))
      >>> front.knees()["chord"].objectives
      (1.0, 2.0)

    Source: arXiv 2008.13590 and its code (weight_jump); I. Das, *On characterizing the
    "knee" of the Pareto curve based on normal-boundary intersection* (Structural
    Optimization 1999, chord); J. Branke, K. Deb, H. Dierolf, M. Osswald, *Finding knees
    in multi-objective optimization* (PPSN 2004, angle).
    """
    front = front.nondominated()
    if len(front) < 3:
        return {}
    points = np.stack([front.column("objective_0"), front.column("objective_1")], 1)
    points = (points - points.min(0)) / np.ptp(points, 0)
    scores = {
        "weight_jump": _weight_jumps(front),
        "chord": 1 - points.sum(1)[1:-1],  # of the line between (0, 1) and (1, 0)
        "angle": _bends(points),
        "hypervolume": indicators.contributions(points, np.array([1.1, 1.1]))[1:-1],
    }
    return {
        name: front[1 + int(np.argmax(score))]
        for name, score in scores.items()
        if score.max() > _ROUNDING
    }


def _weight_jumps(front: "Front") -> np.ndarray:
    """From each inner point to its neighbour of more complexity, (n - 2,)."""
    w0, w1 = front.column("weight_0"), front.column("weight_1")
    ratios = w0 / np.where(w1 == 0, np.nan, w1)  # of (1, 0): no jump to it
    return np.nan_to_num(np.abs(np.diff(ratios))[:-1])


def _bends(points: np.ndarray) -> np.ndarray:
    """The angle (radians) by which each inner point's segments turn left, (n - 2,)."""
    steps = np.diff(points, axis=0)
    return np.diff(np.arctan2(steps[:, 1], steps[:, 0]))
