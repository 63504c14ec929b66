"""Dominance, hulls and hypervolumes of arrays (n, m), to be minimised."""

import numpy as np


def nondominated(costs: np.ndarray) -> np.ndarray:
    """Find the rows that no other row dominates.

    Args:
      costs: (n, m), to be minimised.

    Returns:
      Ascending indices. Rows with NaN or infinities, from trainings that diverged, are
      left out and dominate nothing; the first of equal rows is kept.

    Example:
      >>> import numpy as np
      >>> from bopt.fronts.indicators import nondominated
      >>> print(nondominated(np.array([[1, 3], [2, 2], [2, 3], [1, 3]])))
      [0 1]
    """
    finite = np.flatnonzero(np.isfinite(costs).all(-1))
    n, costs = len(finite), costs[finite]
    as_good = (costs[:, None] <= costs[None, :]).all(-1)  # [i, j]: i as good as j
    better = as_good & (
        (costs[:, None] < costs[None, :]).any(-1) | np.tri(n, k=-1, dtype=bool).T
    )
    return finite[~better.any(0)]


def lower_left_hull(points: np.ndarray) -> np.ndarray:
    """Find the vertices of the lower left convex hull.

    Args:
      points: (n, 2) non-dominated points, sorted by the first column.

    Returns:
      Ascending indices; points on a line between two others are no vertices.

    Example:
      >>> import numpy as np
      >>> from bopt.fronts.indicators import lower_left_hull
      >>> print(lower_left_hull(np.array([[0, 4], [1, 3.9], [2, 1], [4, 0]])))
      [0 2 3]

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
    """Compute the volume that the rows dominate, up to a reference point.

    Args:
      costs: (n, m), to be minimised; rows with NaN or infinities are ignored.
      reference: (m,).

    Returns:
      The volume; 0 without rows.

    Raises:
      ImportError: the extra `fronts` is not installed.

    Example:
      >>> import numpy as np
      >>> from bopt.fronts.indicators import hypervolume
      >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
      3.0
    """
    costs = costs[np.isfinite(costs).all(1)]
    return float(_moocore().hypervolume(costs, ref=reference)) if len(costs) else 0.0


def contributions(costs: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Compute the volume that each row alone dominates, up to a reference point.

    Args:
      costs: (n, m) non-dominated rows, to be minimised.
      reference: (m,).

    Returns:
      (n,) volumes.

    Raises:
      ImportError: the extra `fronts` is not installed.

    Example:
      >>> import numpy as np
      >>> from bopt.fronts.indicators import contributions
      >>> print(contributions(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0])))
      [1. 1.]
    """
    return _moocore().hv_contributions(costs, ref=reference)


def _moocore():
    """Import moocore, which is optional."""
    try:
        import moocore
    except ImportError as error:
        raise ImportError(
            "Hypervolumes are computed by moocore, which is not installed: pip install "
            '"bopt-jax[fronts]", or pip install moocore.'
        ) from error
    return moocore
