"""min_norm's weights: optimal, on the simplex, NaN kept; fixed weights as given."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import samplers
import scipy.optimize
from hypothesis import strategies
from samplers import COUNTS, SAMPLERS, exact_weights, excess, rounding, tolerance

import bopt

HAND = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
NORMALIZATIONS = (None, "l2", "loss", "loss+")


FEW = (2, 3)  # of COUNTS; the solver is compiled for each count and dtype
counts = pytest.mark.parametrize(
    "m", [pytest.param(m, marks=() if m in FEW else pytest.mark.slow) for m in COUNTS]
)


def weigh(weighting, gram, values=None):
    """Weights of a weighting without state."""
    weights, state = weighting.update(gram, values, weighting.init(len(gram)))
    assert state == ()
    return weights


@functools.cache
def solver(normalize, m):
    """A weighting, compiled once for a shape: of more than two rows, its solver is
    compiled by itself, whatever is around it."""
    weighting = functools.partial(weigh, bopt.min_norm(normalize))
    return jax.jit(weighting) if m == 2 else weighting


def solve(jacs, dtype, normalize=None, values=None):
    """Grams and weights of a batch of jacobians, computed in `dtype`."""
    jacs = jacs.astype(dtype)
    grams = np.einsum("nik,njk->nij", jacs, jacs)
    weighting = solver(normalize, jacs.shape[1])
    values = None if values is None else jnp.asarray(values)
    weights = np.stack([weighting(jnp.asarray(gram), values) for gram in grams])
    assert weights.dtype == dtype
    return grams, weights


def assert_on_simplex(weights, rtol):
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(-1, dtype=np.float64), 1, rtol=rtol)


@pytest.mark.parametrize("sampler", SAMPLERS)
@counts
def test_float64_weights_are_optimal(m, sampler):
    jacs = np.concatenate(
        [samplers.batch(sampler, m, rescaled=r) for r in (False, True)]
    )
    with jax.enable_x64(True):
        grams, weights = solve(jacs, np.float64)
    assert_on_simplex(weights, 1e-14)
    assert (excess(grams, weights) <= tolerance(grams, weights)).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
@counts
def test_float32_weights_are_optimal_but_for_their_rounding(m, sampler):
    # Where badly scaled rows cancel, nothing is left but the rounding of the weights:
    # no float32 weights can do better than a few times that. A singular gram matrix is
    # indefinite by its own rounding besides, and has many nearly optimal faces.
    roundings = {
        "stationary": 4,
        "nearly_stationary": 4,
        "loss_and_l1": 4,
        "rank_deficient": 64,
    }
    jacs = np.concatenate(
        [samplers.batch(sampler, m, rescaled=r) for r in (False, True)]
    )
    grams, weights = solve(jacs, np.float32)
    assert_on_simplex(weights, 1e-6)
    allowed = tolerance(grams, weights)
    allowed += roundings.get(sampler.__name__, 0) * rounding(grams, weights)
    assert (excess(grams, weights) <= allowed).all()


@hypothesis.settings(max_examples=100)
@hypothesis.given(
    strategies.lists(
        strategies.just(0.0)
        | strategies.floats(2.0**-20, 2.0**20)
        | strategies.floats(-(2.0**20), -(2.0**-20)),
        min_size=6,
        max_size=6,
    )
)
@hypothesis.example([0.0, -3859.0, 517756.0, 0.0, 0.0, 517784.0])  # nearly equal rows
def test_two_rows_of_any_entries(entries):
    grams, weights = solve(np.reshape(entries, (1, 2, 3)), np.float32)
    assert_on_simplex(weights, 1e-6)
    # The closed form divides a cancelling numerator: allow for the gram's rounding.
    allowed = tolerance(grams, weights) + 8 * rounding(grams, weights)
    assert (excess(grams, weights) <= allowed).all()


@pytest.mark.parametrize("rescaled", [False, True])
@counts
def test_point_agrees_with_scipy(m, rescaled):
    # Lawson and Hanson's reduction: with u = argmin |J'u|^2 + (1'u - 1)^2 over u >= 0,
    # u / 1'u are the weights of the point of least norm.
    rng = np.random.default_rng(m)
    jacs = [samplers.non_stationary(rng, m) for _ in range(8)]
    jacs = [samplers.rescale_rows(rng, jac) if rescaled else jac for jac in jacs]
    with jax.enable_x64(True):
        _, weights = solve(np.stack(jacs), np.float64)
    for jac, ours in zip(jacs, weights, strict=True):
        target = np.eye(jac.shape[1] + 1)[-1]
        u, _ = scipy.optimize.nnls(np.vstack([jac.T, np.ones(m)]), target)
        scale = np.linalg.norm(jac, axis=1).min()
        np.testing.assert_allclose(ours @ jac, u / u.sum() @ jac, atol=1e-8 * scale)


@counts
def test_known_weights(m):
    jacs = samplers.batch(samplers.dominated_row, m, rescaled=False)
    expected = np.append(np.full(m - 1, 1 / (m - 1)), 0.0)
    _, weights = solve(jacs, np.float32)
    np.testing.assert_allclose(weights, np.tile(expected, (len(jacs), 1)), atol=1e-6)
    assert (weights[:, -1] == 0).all()


@pytest.mark.parametrize("m", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_vmap_agrees_with_one_at_a_time(m):
    jacs = samplers.batch(samplers.normal, m, rescaled=True)
    grams, weights = solve(jacs, np.float32)
    batched = jax.jit(jax.vmap(functools.partial(weigh, bopt.min_norm())))(grams)
    np.testing.assert_allclose(batched, weights, rtol=1e-4, atol=1e-7)


def test_three_objectives_outside_jit_compile_once(caplog):
    # Cause: an eager lax.while_loop with a new body each call, seconds each.
    first, second = jnp.eye(3), jnp.full((3, 3), 2.0, jnp.float32)
    weigh(bopt.min_norm(), first)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        weigh(bopt.min_norm(), second)
        jax.jit(lambda x: x + 3)(1.0)  # the log is seen to work
    messages = [record.getMessage() for record in caplog.records]
    compiled = [message for message in messages if message.startswith("Compiling")]
    assert len(compiled) == 1, compiled


def test_hand_case():
    weights = solver(None, 2)(jnp.asarray(HAND @ HAND.T, jnp.float32), None)
    np.testing.assert_allclose(weights, [0.6, 0.4], rtol=1e-6)
    np.testing.assert_allclose(weights @ HAND, [0, 1, 1], atol=1e-6)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_equal_rows_give_all_to_the_first(normalize):
    weights = solver(normalize, 2)(jnp.full((2, 2), 3.0), jnp.array([2.0, 2.0]))
    if normalize is None:
        np.testing.assert_array_equal(weights, [1, 0])
    # Rows that are normalised first are equal but for their rounding, which depends on
    # the program: all their points are optimal.
    assert_on_simplex(np.asarray(weights)[None], 1e-6)


@counts
def test_a_zero_row_takes_all_weight(m):
    jacs = samplers.batch(samplers.zero_row, m, rescaled=True)
    for jac, weights in zip(jacs, solve(jacs, np.float32)[1], strict=True):
        np.testing.assert_allclose(weights, (jac == 0).all(axis=1), rtol=1e-6)


@counts
def test_direction_is_one_of_common_descent(m):
    """Its inner product with every row is at least its own squared norm."""
    jacs = samplers.batch(samplers.non_stationary, m, rescaled=True)
    _, weights = solve(jacs, np.float32)
    directions = np.einsum("ni,nik->nk", weights, jacs)
    squares = (directions**2).sum(-1, keepdims=True)
    products = np.einsum("nik,nk->ni", jacs, directions)
    assert (products >= squares * (1 - 1e-3)).all()
    assert (squares > 0).all()


@pytest.mark.parametrize("share", [1e-4, 1e-5, 1e-6, 1e-7])
def test_small_weight_keeps_its_digits(share):
    # Cause: w1 = 1 - w0 loses w1's digits, percents of it at 1e-6.
    gram = np.array([[share, share / 3], [share / 3, 1.0]], np.float32)
    g = gram.astype(np.float64)
    exact = (g[0, 0] - g[0, 1]) / (g[0, 0] + g[1, 1] - 2 * g[0, 1])
    weights = weigh(bopt.min_norm(), jnp.asarray(gram))
    np.testing.assert_allclose(weights[1], exact, rtol=1e-5)
    many = np.block([[gram, np.full((2, 1), 2.0)], [np.full((1, 2), 2.0), 9.0]])
    weights = weigh(bopt.min_norm(), jnp.asarray(many, jnp.float32))
    np.testing.assert_allclose(weights[1], exact, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("m", [2, 3])
def test_non_finite_gradients_reach_the_weights(m, normalize, bad):
    jac = samplers.normal(np.random.default_rng(0), m)
    for row in range(m):
        broken = jac.copy()
        broken[row, 0] = bad
        with np.errstate(invalid="ignore"):
            gram = (broken @ broken.T).astype(np.float32)
        weights = solver(normalize, m)(jnp.asarray(gram), jnp.ones(m))
        assert not jnp.isfinite(weights).all()


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("normalize", ["loss", "loss+"])
def test_nan_values_reach_the_weights(normalize, m):
    values = jnp.ones(m).at[-1].set(jnp.nan)
    weights = solver(normalize, m)(jnp.eye(m), values)
    assert jnp.isnan(weights).any()


@pytest.mark.parametrize("normalize", NORMALIZATIONS[1:])
@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-8), (np.float32, 1e-3)])
def test_normalizations_follow_their_formula(dtype, rtol, m, normalize):
    """w_i s_i / sum_j w_j s_j, where w is the solution for the rows s_i row_i."""
    rng = np.random.default_rng(m)
    jacs = np.stack([samplers.non_stationary(rng, m) for _ in range(8)])
    jacs = jacs * 10 ** rng.uniform(0, 3, (8, m, 1))
    values = 10 ** rng.uniform(-3, 2, m)
    with jax.enable_x64(dtype == np.float64):
        grams, weights = solve(jacs, dtype, normalize, values.astype(dtype))
    for gram, ours in zip(grams.astype(np.float64), weights, strict=True):
        s = {
            "l2": gram.diagonal() ** -0.5,
            "loss": 1 / values,
            "loss+": gram.diagonal() ** -0.5 / values,
        }[normalize]
        expected = s * exact_weights(gram * np.outer(s, s))
        np.testing.assert_allclose(ours, expected / expected.sum(), rtol, rtol * 1e-2)


@pytest.mark.parametrize("normalize", ["loss", "loss+"])
def test_an_objective_at_zero_divides_by_nothing(normalize):
    # Cause: an l1 penalty of 0 (all pruned), where 1 / value would be infinite.
    gram = jnp.asarray(HAND @ HAND.T, jnp.float32)
    at_zero = solver(normalize, 2)(gram, jnp.array([1.0, 0.0]))
    tiny = solver(normalize, 2)(gram, jnp.array([1.0, 1e-8]))
    np.testing.assert_array_equal(at_zero, tiny)
    assert jnp.isfinite(at_zero).all()


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("m", [1, 2, 3])
def test_strict_promotion(m, normalize):
    with jax.numpy_dtype_promotion("strict"):
        args = jnp.eye(m), jnp.ones(m)
        weights = jax.eval_shape(
            functools.partial(weigh, bopt.min_norm(normalize)), *args
        )
        assert (weights.shape, weights.dtype) == ((m,), jnp.float32)
        fixed = weigh(bopt.fixed(np.arange(m)), jnp.eye(m))
        assert fixed.dtype == jnp.float32


@pytest.mark.parametrize(
    "given", [[1.0, 3e-4], (2, 5), np.array([0.5, 0.0]), jnp.array([1.0, 1e-9])]
)
def test_fixed_weights_are_used_as_given(given):
    weights = weigh(bopt.fixed(given), jnp.eye(2))
    np.testing.assert_array_equal(weights, np.asarray(given, np.float32))


def test_weights_by_schedule():
    rising = optax.linear_schedule(0.0, 0.5, 4)
    weighting = bopt.fixed([1.0, rising])
    state = weighting.init(2)
    update = jax.jit(weighting.update)
    for step in range(6):
        weights, state = update(jnp.eye(2), None, state)
        np.testing.assert_allclose(weights, [1, 0.125 * min(step, 4)])
        assert weights.dtype == jnp.float32
    with pytest.raises(ValueError, match=r"-1.0\]; expected finite, non-negative"):
        bopt.fixed([rising, -1.0])
    with pytest.raises(ValueError, match="2 weights for 3 objectives"):
        weighting.update(jnp.eye(3), None, state)


@pytest.mark.parametrize(
    "build", [lambda w: w, lambda w: [w[0], w[1]], lambda w: (1.0, w[1])]
)
def test_a_sweep_of_fixed_weights_is_one_compilation(build):
    # Cause: a list with a traced entry was handed to numpy.
    function = jax.jit(lambda w: weigh(bopt.fixed(build(w)), jnp.eye(2)))
    for second in (1e-5, 1e-4, 1e-3):
        weights = function(jnp.array([1.0, second]))
        np.testing.assert_array_equal(weights, np.array([1, second], np.float32))
    assert function._cache_size() == 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: bopt.min_norm("l3"),  # pyright: ignore[reportArgumentType]
            r"normalize='l3'; expected None, 'l2', 'loss' or 'loss\+'",
        ),
        (
            lambda: weigh(bopt.min_norm("loss"), jnp.eye(2)),
            r"normalize='loss'.*update\(jac, state, params, values=values\)",
        ),
        (
            lambda: weigh(bopt.min_norm("loss+"), jnp.eye(2), jnp.ones(3)),
            r"values of shape \(3,\); expected \(2,\), one per objective",
        ),
        (lambda: bopt.fixed(1.0), r"shape \(\); expected a vector \(m,\)"),
        (lambda: bopt.fixed(np.eye(2)), r"shape \(2, 2\); expected a vector"),
        (lambda: bopt.fixed([1, -1]), r"\[1, -1\]; expected finite, non-negative"),
        (lambda: bopt.fixed([1, np.nan]), r"nan\]; expected finite, non-negative"),
        (lambda: bopt.fixed(jnp.array([1, jnp.inf])), r"inf\]; expected finite"),
        (
            lambda: weigh(bopt.fixed([1, 2, 3]), jnp.eye(2)),
            r"3 weights for 2 objectives;.*num_objectives",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
