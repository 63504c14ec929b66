"""Weightings from objective values, and averages of what weightings see."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bopt

VALUES = np.array([[4.0, 1.0, 2.0], [2.0, 1.5, 2.0], [1.0, 1.6, 0.5], [1.5, 1.6, 0.1]])


def run(weighting, grams=None, values=VALUES):
    """Weights of successive steps, and the last state."""
    m = values.shape[1]
    grams = np.tile(np.eye(m), (len(values), 1, 1)) if grams is None else grams
    state, found, update = weighting.init(m), [], jax.jit(weighting.update)
    for gram, row in zip(grams, values, strict=True):
        weights, state = update(jnp.asarray(gram, jnp.float32), jnp.array(row), state)
        found.append(weights)
    return np.stack(found), state


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def test_famo_follows_algorithm_1():
    """With plain gradient steps and a decay of the logits."""
    rate, decay, logits = 0.5, 0.1, np.zeros(3)
    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate))
    found, state = run(bopt.famo(optimizer))
    for step, values in enumerate(VALUES):
        if step:
            share = softmax(logits)
            rates = np.log(VALUES[step - 1]) - np.log(values)
            jacobian = np.diag(share) - np.outer(share, share)
            logits = logits - rate * (jacobian @ rates + decay * logits)
        expected = softmax(logits) / values
        np.testing.assert_allclose(found[step], expected / expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(state.log_weights, logits, rtol=1e-5)
    assert state.steps == len(VALUES)


def test_famo_helps_the_objective_that_lags():
    values = np.stack([0.99 ** np.arange(100), 0.9 ** np.arange(100)], axis=1)
    _, state = run(bopt.famo(), values=values)
    assert state.log_weights[0] > 1 + state.log_weights[1]


def test_famo_of_values_at_zero_is_finite():
    found, _ = run(bopt.famo(), values=np.array([[1.0, 0.0], [0.5, 0.0], [1.0, 1.0]]))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("mu", [0.01, 1.0])
def test_tchebycheff_is_the_gradient_of_its_scalarization(mu):
    preference = jnp.array([0.2, 1.0, 0.5])

    def scalarization(values):
        return mu * jax.nn.logsumexp(preference * values / mu)

    weighting = bopt.tchebycheff(preference, mu)
    found, _ = run(weighting)
    expected = jax.vmap(jax.grad(scalarization))(jnp.asarray(VALUES, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_tchebycheff_reaches_what_a_weighted_sum_does_not():
    """The middle of a front that is not convex."""

    def objectives(params):
        first = 1 - jnp.exp(-((params["x"] - 1) ** 2))
        return jnp.stack([first, 1 - jnp.exp(-((params["x"] + 1) ** 2))])

    def trained(weighting):
        optimizer = optax.chain(bopt.smgd(weighting), optax.sgd(0.1))
        params = {"x": jnp.array(0.3)}
        value_and_jac = bopt.value_and_jac(objectives)

        def step(carry, _):
            params, state = carry
            values, jac = value_and_jac(params)
            updates, state = optimizer.update(jac, state, params, values=values)
            return (optax.apply_updates(params, updates), state), None

        carry = params, optimizer.init(params)
        (params, _), _ = jax.lax.scan(step, carry, length=300)
        return optax.tree.norm(params)  # of one number

    assert abs(jax.jit(lambda: trained(bopt.fixed([0.5, 0.5])))()) > 0.8
    assert abs(jax.jit(lambda: trained(bopt.tchebycheff([0.5, 0.5])))()) < 0.05


def gram_matrices(number: int, m: int) -> np.ndarray:
    jacs = np.random.default_rng(0).standard_normal((number, m, 5))
    return np.einsum("nik,njk->nij", jacs, jacs).astype(np.float32)


def sums(gram, values):
    """Weights that show what a weighting is given."""
    return gram.sum(axis=1) + values


@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_ema_averages_matrices_and_values(decay):
    grams = gram_matrices(4, 3)
    found, state = run(bopt.ema(sums, decay), grams)
    for step in range(4):
        share = decay ** np.arange(step, -1, -1)
        share /= share.sum()
        gram = np.tensordot(share, grams[: step + 1], axes=1)
        expected = sums(gram, share @ VALUES[: step + 1])
        np.testing.assert_allclose(found[step], expected, rtol=1e-5)
    assert state.steps == 4


def test_ema_without_values_and_with_a_state():
    weighting = bopt.ema(bopt.ema(bopt.min_norm(), 0.5), 0.5)
    gram, state = jnp.diag(jnp.array([1.0, 3.0])), weighting.init(2)
    for _ in range(3):
        weights, state = weighting.update(gram, None, state)
        np.testing.assert_allclose(weights, [0.75, 0.25], rtol=1e-6)
    assert state.weighting.steps == 3


def test_ema_takes_out_the_noise_of_batches():
    """Weights of noisy gradients are nearer to those of the mean gradients."""
    rng = np.random.default_rng(0)
    mean = np.array([[2.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
    jacs = mean + 0.5 * rng.standard_normal((200, 2, 3))
    grams = np.einsum("nik,njk->nij", jacs, jacs)
    inner = functools.partial(run, grams=grams, values=np.ones((200, 2)))
    single, _ = inner(bopt.min_norm())
    averaged, _ = inner(bopt.ema(bopt.min_norm(), 0.95))
    assert averaged[50:].std(axis=0).max() < 0.3 * single[50:].std(axis=0).min()
