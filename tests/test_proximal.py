"""Proximal steps: they minimize what they promise, in the optimizer's metric."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportArgumentType=false, reportIndexIssue=false

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bopt

PARAMS = {
    "kernel": jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32),
    "bias": jnp.ones(5),
}


def run(optimizer, gradient, steps, params=PARAMS):
    def body(_, carry):
        params, state = carry
        updates, state = optimizer.update(gradient(params), state, params)
        return optax.apply_updates(params, updates), state

    carry = params, optimizer.init(params)
    return jax.jit(lambda carry: jax.lax.fori_loop(0, steps, body, carry))(carry)


@pytest.mark.parametrize("adaptive", [False, True])
def test_it_converges_to_the_minimum_of_loss_and_penalty(adaptive):
    """The loss is the squared distance to a target; the minimum its soft threshold."""
    target, coefficient = jax.tree.map(lambda leaf: 2 * leaf, PARAMS), 0.7
    rate = optax.cosine_decay_schedule(0.1, 400) if adaptive else 0.1
    inner = optax.adam(rate) if adaptive else optax.sgd(rate)
    limit = (lambda step: coefficient * rate(step)) if adaptive else coefficient * rate
    optimizer = bopt.soft_threshold(
        limit,
        optimizer=inner,
        metric=bopt.adam_metric() if adaptive else None,
    )
    found, _ = run(optimizer, lambda p: jax.tree.map(jnp.subtract, p, target), 400)
    kernel = np.asarray(target["kernel"])
    expected = np.sign(kernel) * np.maximum(np.abs(kernel) - coefficient, 0)
    np.testing.assert_allclose(found["kernel"], expected, atol=0.03)
    near = np.abs(np.abs(kernel) - coefficient) < 0.05
    assert ((np.asarray(found["kernel"]) == 0) == (expected == 0))[~near].all()
    np.testing.assert_allclose(found["bias"], target["bias"], atol=0.03)


def test_a_link_and_a_wrapper_of_plain_descent_are_the_same():
    def gradient(params):
        return params

    link = optax.chain(optax.sgd(0.1), bopt.soft_threshold(0.05))
    whole = bopt.soft_threshold(0.05, optimizer=optax.sgd(0.1))
    one, two = (run(optimizer, gradient, 7)[0] for optimizer in (link, whole))
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_nan_stays_visible():
    optimizer = bopt.soft_threshold(0.1)
    updates = jax.tree.map(lambda leaf: leaf * jnp.nan, PARAMS)
    found, _ = optimizer.update(updates, optimizer.init(PARAMS), PARAMS)
    assert np.isnan(found["kernel"]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bopt.soft_threshold(-1.0), "threshold=-1.0; expected at least 0"),
        (
            lambda: bopt.soft_threshold(0.1, metric=bopt.adam_metric()),
            "metric without an optimizer; expected the optimizer",
        ),
        (
            lambda: run(bopt.soft_threshold(0.1, where="none"), lambda p: p, 1),
            "where='none' matches none",
        ),
        (
            lambda: bopt.soft_threshold(0.1).update(
                PARAMS, bopt.soft_threshold(0.1).init(PARAMS)
            ),
            r"call update\(updates, state, params\)",
        ),
        (
            lambda: run(
                bopt.soft_threshold(
                    0.1,
                    optimizer=optax.sgd(0.1),
                    metric=lambda state: {"kernel": jnp.ones(3), "bias": jnp.ones(5)},
                ),
                lambda p: p,
                1,
            ),
            r"metric of shape \(3,\) at 'kernel'; expected \(6, 5\)",
        ),
        (
            lambda: run(
                bopt.soft_threshold(
                    0.1, optimizer=optax.sgd(0.1), metric=bopt.adam_metric()
                ),
                lambda p: p,
                1,
            ),
            "without optax.ScaleByAdamState",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
