"""Dominance, hulls and hypervolumes of arrays (n, m), to be minimised.

Rows with NaN or infinities come from trainings that diverged. They dominate nothing.
"""

import math
from collections.abc import Sequence

import numpy as np


def nondominated(costs: np.ndarray) -> np.ndarray:
    """Ascending indices of the non-dominated rows; the first of equal rows is kept."""
    finite = np.flatnonzero(np.isfinite(costs).all(-1))
    costs = costs[finite]
    # Sorted by the first column, then the next: none is dominated by a later one.
    order = np.lexsort(costs.T[::-1])
    rows = costs[order]
    if rows.shape[1] == 2:
        before = np.minimum.accumulate(np.append(np.inf, rows[:, 1]))[:-1]
        return np.sort(finite[order[rows[:, 1] < before]])
    kept = np.empty((0, rows.shape[1]))
    places: list[int] = []
    for place, row in zip(order, rows, strict=True):
        if not (kept <= row).all(1).any():
            kept = np.vstack([kept, row])
            places.append(place)
    return np.sort(finite[np.array(places, int)])


def lower_left_hull(points: np.ndarray) -> np.ndarray:
    """Ascending indices of the vertices of the lower left convex hull.

    The points (n, 2) are non-dominated and sorted by the first column. Points on a line
    between two others are no vertices.

    Source: A. M. Andrew, *Another efficient algorithm for convex hulls in two
    dimensions* (Information Processing Letters 1979).
    """
    vertices: list[int] = []
    for index, point in enumerate(points):
        while len(vertices) > 1:
            a, b = points[vertices[-2]], points[vertices[-1]]
            if (b[0] - a[0]) * (point[1] - a[1]) > (b[1] - a[1]) * (point[0] - a[0]):
                break
            vertices.pop()
        vertices.append(index)
    return np.array(vertices, int)


def hypervolume(costs: np.ndarray, reference: np.ndarray) -> float:
    """Volume that the rows dominate, up to a reference point (m,)."""
    costs = costs[np.isfinite(costs).all(1)]
    return float(_moocore().hypervolume(costs, ref=reference)) if len(costs) else 0.0


def contributions(costs: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Volumes (n,) that each of the non-dominated rows alone dominates."""
    return _moocore().hv_contributions(costs, ref=reference)


def attained(costs: Sequence[np.ndarray], share: float) -> np.ndarray:
    """Corners (p, 2) of what a share of the sets of rows (n, 2) dominate, sorted."""
    costs = [rows[np.isfinite(rows).all(1)] for rows in costs]
    level = max(1, math.ceil(share * len(costs)))
    present = sum(len(rows) > 0 for rows in costs)
    if present < level:  # which is counted from all sets, also the empty ones
        return np.empty((0, 2))
    sets = np.repeat(np.arange(len(costs)), [len(rows) for rows in costs])
    percentiles = [100 * (level - 0.5) / present]
    found = _moocore().eaf(np.concatenate(costs), sets, percentiles=percentiles)
    return found[np.argsort(found[:, 0]), :2]


def _moocore():
    try:
        import moocore
    except ImportError as error:
        raise ImportError(
            "Hypervolumes are computed by moocore, which is not installed: pip install "
            '"bopt-jax[fronts]", or pip install moocore.'
        ) from error
    return moocore
