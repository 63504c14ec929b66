"""Weightings that solve a program: its optimality, and closed forms against NumPy."""

import itertools

import jax
import numpy as np
import optax
import pytest
import samplers
import scipy.optimize
from weighing import deviation, directions, grams_of, named, weigh, weigh_with

import bopt

counts = pytest.mark.parametrize(
    "m", [3, *(pytest.param(m, marks=pytest.mark.slow) for m in (2, 5, 16))]
)
SAMPLERS = pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(sampler, marks=pytest.mark.slow if index > 1 else ())
        for index, sampler in enumerate(
            (samplers.normal, samplers.rank_deficient, *samplers.SAMPLERS[1:-2])
        )
    ],
)


def jacobians(sampler, m: int, repeats: int = 8) -> np.ndarray:
    """(N, m, n) jacobians, half of them with rows of norms 1 to 1e3."""
    rng = np.random.default_rng(m)
    if m > samplers.COLUMNS:
        return rng.standard_normal((repeats, m, 4 * m))
    jacs = [sampler(rng, m) for _ in range(repeats)]
    return np.stack([*jacs[1::2], *(samplers.rescale_rows(rng, j) for j in jacs[::2])])


# Programs


def ridged(jacs: np.ndarray) -> np.ndarray:
    """Gram matrices of unit trace plus the published ridge, in float64."""
    grams = grams_of(jacs, np.float64)
    trace = np.trace(grams, axis1=1, axis2=2)[:, None, None]
    return grams / trace + 1e-4 * np.eye(jacs.shape[1])


def projected(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """argmin of v' matrix v over v >= target, by Lawson and Hanson's algorithm."""
    root = np.linalg.cholesky(matrix).T
    return target + scipy.optimize.nnls(root, -root @ target)[0]


@SAMPLERS
@counts
def test_dual_projection_meets_its_optimality_conditions(m, sampler):
    jacs = jacobians(sampler, m)
    weights = weigh(named("dual_projection", m), grams_of(jacs)).astype(np.float64)
    matrices = ridged(jacs)
    products = np.einsum("nij,nj->ni", matrices, weights)
    sizes = np.einsum("nij,nj->ni", np.abs(matrices), weights)
    assert (weights >= 1 / m - 1e-7).all()
    assert (products >= -1e-6 * sizes).all()
    # Complementary: a raised weight has no product left.
    raised = weights > 1 / m + 1e-6
    assert (np.abs(products)[raised] <= 1e-5 * sizes[raised]).all()


@SAMPLERS
@counts
def test_upgrad_is_the_mean_of_projections(m, sampler):
    jacs = jacobians(sampler, m)
    matrices = ridged(jacs)
    expected = np.stack(
        [sum(projected(matrix, row) for row in np.eye(m) / m) for matrix in matrices]
    )
    weights = weigh(named("upgrad", m), grams_of(jacs)).astype(np.float64)
    difference = weights - expected
    # In the metric of the program: where rows cancel, weights are less accurate.
    errors = np.einsum("ni,nij,nj->n", difference, matrices, difference) ** 0.5
    norms = np.einsum("ni,nij,nj->n", expected, matrices, expected) ** 0.5
    assert (errors <= 1e-3 * norms).all()


@counts
def test_conflicts_of_upgrad_are_bounded_by_the_ridge(m):
    for name in ("upgrad", "dual_projection"):
        jacs = jacobians(samplers.normal, m)
        weights = weigh(named(name, m), grams_of(jacs)).astype(np.float64)
        products = np.einsum("nik,nk->ni", jacs, directions(weights, jacs))
        trace = (jacs**2).sum(axis=(1, 2))[:, None]
        assert (products >= -(1e-4 + 1e-6) * trace * weights).all()


@pytest.mark.parametrize("c", [0.5, pytest.param(2.0, marks=pytest.mark.slow)])
@SAMPLERS
@counts
def test_cagrad_has_no_duality_gap(m, sampler, c):
    """The worst decrease equals the dual value of the weights, on the ball's border."""
    if sampler in (samplers.stationary, samplers.nearly_stationary):
        pytest.skip("weights 0 are documented")
    jacs = jacobians(sampler, m)
    weights = weigh_with(bopt.cagrad, c, grams_of(jacs)).astype(np.float64)
    moving = weights.any(axis=1)
    if not moving.any():
        pytest.skip("all are stationary: weights 0 are documented")
    jacs, weights = jacs[moving], weights[moving]
    mean = jacs.mean(axis=1)
    radius = c * np.linalg.norm(mean, axis=1)
    moved = directions(weights, jacs)
    distance = np.linalg.norm(moved - mean, axis=1)
    np.testing.assert_allclose(distance, radius, rtol=1e-4)
    worst = np.einsum("nik,nk->ni", jacs, moved).min(axis=1)
    dual = weights - 1 / m
    dual = directions(np.maximum(dual, 0) / dual.sum(1, keepdims=True), jacs)
    value = (mean * dual).sum(1) + radius * np.linalg.norm(dual, axis=1)
    size = np.linalg.norm(jacs, axis=2).max(axis=1) * np.linalg.norm(moved, axis=1)
    assert (np.abs(value - worst) <= 1e-5 * size).all()


@pytest.mark.parametrize("c", [0.0, 1e3])
def test_extremes_of_cagrad(c, m=3):
    """The mean, and the direction of the point of least norm."""
    jacs = jacobians(samplers.non_stationary, m)
    found = directions(weigh_with(bopt.cagrad, c, grams_of(jacs)), jacs)
    expected = jacs.mean(axis=1)
    if c:
        expected = directions(weigh(named("min_norm", m), grams_of(jacs)), jacs)
        lengths = np.linalg.norm([found, expected], axis=2, keepdims=True)
        found *= lengths[1] / lengths[0]
    assert (deviation(found, expected) <= 5e-3).all()


@pytest.mark.parametrize(
    "alpha", [1.0, 2.0, *(pytest.param(a, marks=pytest.mark.slow) for a in (0.3, 10.0))]
)
@SAMPLERS
@counts
def test_fair_weights_are_a_fixed_point(m, sampler, alpha):
    """gram w = w^(-1/alpha), the optimality condition of a convex program."""
    if sampler in (samplers.stationary, samplers.nearly_stationary):
        pytest.skip("no solution but for rounding")
    jacs = jacobians(sampler, m)
    weights = weigh_with(bopt.fairgrad, alpha, grams_of(jacs)).astype(np.float64)
    grams = grams_of(jacs, np.float64)
    products = np.einsum("nij,nj->ni", grams, weights)
    sizes = np.einsum("nij,nj->ni", np.abs(grams), weights)
    exist = sizes > 0  # not of a zero row
    assert (weights[exist] > 0).all() and (weights[~exist] == 0).all()
    if sampler is samplers.rank_deficient:  # where it has one
        solved = np.linalg.norm(directions(weights, jacs), axis=1)
        exist &= (solved**2 > 0.9 * (weights * products).sum(1))[:, None]
        exist &= (products > 1e-2 * sizes).all(axis=1, keepdims=True)
    products, sizes, weights = products[exist], sizes[exist], weights[exist]
    errors = np.abs(products * weights ** (1 / alpha) - 1)
    assert (errors <= 1e-4 * sizes / products).all()


def test_nash_is_fair_with_alpha_1(m=3):
    grams = grams_of(jacobians(samplers.normal, m))
    expected = weigh_with(bopt.fairgrad, 1.0, grams)
    np.testing.assert_allclose(weigh(named("nash", m), grams), expected, rtol=1e-5)


def test_nash_where_no_solution_exists():
    """Opposite gradients: finite weights and a short direction instead of sqrt(3)."""
    jacs = np.array([[[1.0, 2.0], [-2.0, -4.0], [1.0, 2.0]]])
    weights = weigh(named("nash", 3), grams_of(jacs))
    assert np.isfinite(weights).all() and (weights > 10).all()
    assert np.linalg.norm(directions(weights, jacs)) < 0.1


# Closed forms


@pytest.mark.parametrize("m", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_aligned_averages_orthogonal_gradients(m):
    """The polar factor of the jacobian, times its smallest singular value."""
    jacs = np.random.default_rng(0).standard_normal((8, m, 4 * m))
    u, singular, v = np.linalg.svd(jacs, full_matrices=False)
    expected = singular[:, -1:] * (u @ v).mean(axis=1)
    found = directions(weigh(named("aligned", m), grams_of(jacs)), jacs)
    assert (deviation(found, expected) <= 1e-4).all()


@pytest.mark.parametrize("m", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_unit_gradients_have_equal_projections(m):
    rng = np.random.default_rng(0)
    jacs = rng.standard_normal((8, m, 4 * m)) * 10 ** rng.uniform(-3, 3, (8, m, 1))
    norms = np.linalg.norm(jacs, axis=2, keepdims=True)
    bisector = np.stack([np.linalg.pinv(u) @ np.ones(m) for u in jacs / norms])
    bisector /= np.linalg.norm(bisector, axis=1, keepdims=True)

    weights = weigh(named("imtl_g", m), grams_of(jacs)).astype(np.float64)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-4)
    found = directions(weights, jacs)
    along = (found * bisector).sum(1, keepdims=True)
    assert (deviation(found, along * bisector) <= 1e-3).all()

    length = np.einsum("nik,nk->n", jacs, bisector)
    found = directions(weigh(named("conflict_free", m), grams_of(jacs)), jacs)
    assert (deviation(found, length[:, None] * bisector) <= 1e-3).all()


def surgery(gram: np.ndarray, orders) -> np.ndarray:
    """PCGrad's algorithm 1, literally, on weights."""
    weights = np.eye(len(gram))
    for i, order in enumerate(orders):
        for j in order:
            product = weights[i] @ gram[j]
            if j != i and product < 0:
                weights[i, j] -= product / gram[j, j]
    return weights.sum(0)


def test_pcgrad_draws_every_order():
    """All eight pairs of orders of three gradients, equally often."""
    m, draws = 3, 400
    jac = np.array([[1.0, 0.0, 0.3], [-1.0, 0.5, 0.2], [-0.6, -1.0, 0.1]])
    gram = grams_of(jac[None])[0]
    others = [list(itertools.permutations(set(range(m)) - {i})) for i in range(m)]
    outcomes = np.stack(
        [surgery(gram, orders) for orders in itertools.product(*others)]
    )
    distinct = np.unique(outcomes.round(4), axis=0)
    weighting = bopt.pcgrad(seed=1)

    def step(state, _):
        weights, state = weighting.update(gram, None, state)
        return state, weights

    _, found = jax.jit(lambda s: jax.lax.scan(step, s, length=draws))(weighting.init(m))
    distances = np.abs(np.asarray(found)[:, None] - distinct[None]).max(-1)
    assert (distances.min(axis=1) <= 1e-4).all()
    shares = np.bincount(distances.argmin(axis=1), minlength=len(distinct)) / draws
    matches = np.abs(outcomes[:, None] - distinct[None]).max(-1) <= 1e-3
    assert len(distinct) > 2
    np.testing.assert_allclose(shares, matches.mean(axis=0), atol=0.1)


def test_pcgrad_seeds():
    gram = grams_of(np.random.default_rng(5).standard_normal((1, 16, 12)))[0]

    def draw(seed):
        weighting = bopt.pcgrad(seed)
        return weighting.update(gram, None, weighting.init(16))

    (first, state), (second, _) = draw(0), draw(1)
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(first, draw(0)[0])
    again, _ = bopt.pcgrad(0).update(gram, None, state)
    assert np.abs(first - again).max() > 1e-3
    state = optax.tree.get(
        bopt.smgd(bopt.pcgrad(7)).init({"w": np.zeros(3, np.float32)}), "weighting"
    )
    np.testing.assert_array_equal(state, jax.random.key_data(jax.random.key(7)))
