"""Jacobians with a known structure, and the conditions their weights must meet.

Every sampler is a function ``(rng, m) -> jac (m, n)`` in float64; what is true of its
jacobians is proven in its docstring. Two bad scalings apply to any of them: rows of
norms 1 to 1e3 (`rescale_rows`), and everything times 1e-10 to 1e10 (`SCALES`).
"""

import itertools

import numpy as np

COLUMNS = 12
SCALES = (1e-10, 1e-5, 1.0, 1e5, 1e10)
COUNTS = (2, 3, 4, 5, 6)  # of objectives


def normal(rng: np.random.Generator, m: int) -> np.ndarray:
    """Independent normal entries: nothing in particular."""
    return rng.standard_normal((m, COLUMNS))


def stationary(rng: np.random.Generator, m: int) -> np.ndarray:
    """Pareto-stationary: 0 is in the rows' convex hull.

    With w in the simplex's interior the last row is -sum_{i < m-1} w_i row_i / w_{m-1},
    so that sum_i w_i row_i = 0. (Any m-1 rows are independent: no other w does it.)
    """
    weights = simplex_point(rng, m)
    rows = normal(rng, m)
    rows[-1] = -weights[:-1] @ rows[:-1] / weights[-1]
    return rows


def non_stationary(rng: np.random.Generator, m: int) -> np.ndarray:
    """Not Pareto-stationary: 0 is not in the rows' convex hull.

    Every row is d plus a vector orthogonal to d, so every convex combination has
    inner product |d|^2 > 0 with d.
    """
    d = rng.standard_normal(COLUMNS)
    rows = normal(rng, m)
    return rows - np.outer(rows @ d / (d @ d), d) + d


def nearly_stationary(rng: np.random.Generator, m: int) -> np.ndarray:
    """The point of least norm is a ten-thousandth of the rows: every row counts.

    Stationary rows made orthogonal to d (they stay stationary: the map is linear),
    plus 1e-4 d: every convex combination has inner product 1e-4 |d|^2 with d, and the
    one that made 0 of the rows is 1e-4 d itself.
    """
    d = rng.standard_normal(COLUMNS)
    rows = stationary(rng, m)
    return rows - np.outer(rows @ d / (d @ d), d) + 1e-4 * d


def dominated_row(rng: np.random.Generator, m: int) -> np.ndarray:
    """The last row gets no weight, the others share it evenly.

    The others are orthogonal with norm 1, so their point of least norm is their mean
    d; the last is 3 d plus something orthogonal to them all, with inner product
    3 |d|^2 > |d|^2 with d: the optimality conditions hold without it.
    """
    basis = np.linalg.qr(rng.standard_normal((COLUMNS, COLUMNS)))[0].T
    others = basis[: m - 1]
    return np.vstack([others, 3 * others.mean(axis=0) + basis[m]])


def barely_needed_row(rng: np.random.Generator, m: int) -> np.ndarray:
    """The last row gets a weight of about 1e-8, without which the rest is not optimal.

    As `dominated_row`, but the last row is 0.99 d plus something orthogonal and 1e3
    times as long: its inner product with d is below |d|^2 by a hundredth of it, by
    1e-5 of the product of their norms.
    """
    basis = np.linalg.qr(rng.standard_normal((COLUMNS, COLUMNS)))[0].T
    others = basis[: m - 1]
    return np.vstack([others, 0.99 * others.mean(axis=0) + 1e3 * basis[m]])


def equal_rows(rng: np.random.Generator, m: int) -> np.ndarray:
    """All rows the same: every point of the simplex is optimal."""
    return np.tile(rng.standard_normal(COLUMNS), (m, 1))


def zero_row(rng: np.random.Generator, m: int) -> np.ndarray:
    """One row, not the first, is 0, and so is the point of least norm: all its."""
    rows = normal(rng, m)
    rows[rng.integers(1, m)] = 0
    return rows


def rank_deficient(rng: np.random.Generator, m: int) -> np.ndarray:
    """m rows in a space of dimension max(1, m - 2): many are optimal, one point is."""
    rank = max(1, m - 2)
    return rng.standard_normal((m, rank)) @ rng.standard_normal((rank, COLUMNS))


def loss_and_l1(rng: np.random.Generator, m: int) -> np.ndarray:
    """A row of norm about 1, and m - 1 sign vectors of 1e4 entries' worth of norm."""
    rows = 100 * np.sign(normal(rng, m))
    rows[0] = rng.standard_normal(COLUMNS) / COLUMNS**0.5
    return rows


SAMPLERS = (
    normal,
    stationary,
    non_stationary,
    nearly_stationary,
    dominated_row,
    barely_needed_row,
    equal_rows,
    zero_row,
    rank_deficient,
    loss_and_l1,
)


def simplex_point(rng: np.random.Generator, m: int) -> np.ndarray:
    """A point in the simplex's interior, no entry below 0.1 / m."""
    point = 0.1 + rng.random(m)
    return point / point.sum()


def rescale_rows(rng: np.random.Generator, jac: np.ndarray) -> np.ndarray:
    """Each row times a factor from 1 to 1e3; stationary or not, it stays so.

    Multiplied by s_i > 0, the rows of a stationary jacobian combine to 0 with weights
    proportional to w_i / s_i; inner products with d keep their signs.
    """
    return jac * 10 ** rng.uniform(0, 3, (len(jac), 1))


def batch(sampler, m: int, *, rescaled: bool, repeats: int = 4, seed: int = 0):
    """(N, m, n) jacobians of one sampler, at every scale, in float64."""
    rng = np.random.default_rng(seed)
    jacs = [
        scale * (rescale_rows(rng, jac) if rescaled else jac)
        for scale, jac in itertools.product(
            SCALES, [sampler(rng, m) for _ in range(repeats)]
        )
    ]
    return np.stack(jacs)


def excess(gram: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """w'Gw - min_i (Gw)_i >= 0, in float64: 0 only at the point of least norm.

    It bounds from above what w'Gw could still lose (half of it, by convexity).
    """
    gram, weights = gram.astype(np.float64), weights.astype(np.float64)
    products = np.einsum("...ij,...j->...i", gram, weights)
    return (weights * products).sum(-1) - products.min(-1)


def tolerance(gram: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Largest `excess` allowed: 1e-4 w'Gw + 1e-7 min_i G_ii."""
    gram, weights = gram.astype(np.float64), weights.astype(np.float64)
    norm = np.einsum("...i,...ij,...j->...", weights, gram, weights)
    return 1e-4 * norm + 1e-7 * np.diagonal(gram, axis1=-2, axis2=-1).min(-1)


def rounding(gram: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Bound on what rounding exact weights to float32 adds to `excess`.

    A relative error u = 2^-24 of each weight moves (Gw)_i by up to u sum_j |G_ij| w_j.
    """
    products = np.einsum(
        "...ij,...j->...i", abs(gram.astype(np.float64)), weights.astype(np.float64)
    )
    return 2.0**-24 * products.max(-1)


def exact_weights(gram: np.ndarray) -> np.ndarray:
    """The point of least norm by trying every subset of rows, in float64.

    An oracle of another kind than an active-set method: on each subset the optimality
    system of the affine hull is solved, scaled by the rows' norms; of the solutions
    in the simplex the one of least excess is taken.
    """
    m = len(gram)
    norms = np.sqrt(np.diagonal(gram))
    if not norms.all():
        return np.eye(m)[norms.argmin()]
    candidates = []
    for size in range(1, m + 1):
        for rows in map(list, itertools.combinations(range(m), size)):
            system = np.zeros((size + 1, size + 1))
            system[:-1, :-1] = gram[np.ix_(rows, rows)] / np.outer(
                norms[rows], norms[rows]
            )
            system[:-1, -1] = system[-1, :-1] = norms.min() / norms[rows]
            target = np.eye(size + 1)[-1]
            solution = np.linalg.lstsq(system, target, rcond=None)[0][:-1]
            weights = np.zeros(m)
            weights[rows] = solution / norms[rows]
            if (weights >= 0).all() and weights.sum() > 0:
                candidates.append(weights / weights.sum())
    return min(candidates, key=lambda weights: excess(gram, weights))
