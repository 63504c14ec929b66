"""Scores of entries: magnitude, saliency, movement, and functions of a leaf."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState

import bopt

STEPS = 5


def problem(seed=0):
    rng = np.random.default_rng(seed)
    params = {
        "a": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=(4, 2)), jnp.float32),
        "bias": jnp.asarray(rng.normal(size=2), jnp.float32),
    }
    gradients = [
        jax.tree.map(
            lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), params
        )
        for _ in range(STEPS)
    ]
    return params, gradients


def trained(optimizer, params, gradients, rows=None):
    """Parameters and state after all steps, compiled once."""
    step = jax.jit(optimizer.update)
    state = optimizer.init(params)
    for gradient in gradients:
        if rows is not None:
            gradient = jax.tree.map(lambda g, r: jnp.stack([g, r]), gradient, rows)
        updates, state = step(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def flat(tree):
    return np.concatenate([np.ravel(tree[name]) for name in ("a", "b")])


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
def test_saliency_keeps_the_largest_products(power):
    params, gradients = problem()
    optimizer = bopt.prune_to(
        0.7, score=bopt.saliency(power, decay=0.9), optimizer=optax.sgd(0.1)
    )
    found, state = trained(optimizer, params, gradients)

    w, nu = flat(params).astype(np.float64), np.zeros(20)
    for number, gradient in enumerate(gradients, 1):
        g = flat(gradient).astype(np.float64)
        nu = 0.9 * nu + 0.1 * g**2
        w = w - 0.1 * g
        score = np.abs(w) * (nu / (1 - 0.9**number)) ** power
        w = np.where(np.argsort(np.argsort(-score)) < 6, w, 0)
    np.testing.assert_allclose(flat(found), w, rtol=1e-5, atol=1e-6)
    assert (flat(found) != 0).sum() == 6
    nu_found, step = optax.tree.get(state, "PruneState").score
    np.testing.assert_allclose(np.concatenate([x.ravel() for x in nu_found]), nu, 1e-5)
    assert step == STEPS


def test_of_a_jacobian_the_row_of_objective_0_counts():
    params, gradients = problem()
    penalty = jax.tree.map(jnp.ones_like, params)
    chain = optax.chain(bopt.smgd(bopt.fixed([1.0, 0.0])), optax.sgd(0.1))
    found, expected = (
        trained(
            bopt.prune_to(0.5, score=bopt.saliency(), optimizer=own),
            params,
            gradients,
            rows,
        )[0]
        for own, rows in ((chain, penalty), (optax.sgd(0.1), None))
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("score", [None, bopt.magnitude(), jnp.abs])
def test_around_an_optimizer_as_at_the_end_of_its_chain(score):
    params, gradients = problem()
    adam = optax.adam(0.1)
    for link in (
        lambda **more: bopt.prune(0.3, **more),
        lambda **more: bopt.prune_to(0.5, every=2, start=1, stop=4, **more),
    ):
        around = trained(link(score=score, optimizer=adam), params, gradients)
        after = trained(optax.chain(adam, link(score=score)), params, gradients)
        jax.tree.map(np.testing.assert_array_equal, around[0], after[0])
        masks = [optax.tree.get(s, "PruneState").mask for _, s in (around, after)]
        jax.tree.map(np.testing.assert_array_equal, *masks)


def test_movement_may_be_negative():
    params = {"w": jnp.array([[1.0, -1.0, 2.0, -2.0]])}
    gradient = {"w": jnp.array([[1.0, 1.0, 0.5, 2.0]])}
    optimizer = bopt.prune_to(0.5, score=bopt.movement(), optimizer=optax.sgd(0.0))
    found, _ = trained(optimizer, params, [gradient])
    # Scores -1, 1, -1, 4.
    np.testing.assert_array_equal(found["w"], [[0, -1, 0, -2]])


@pytest.mark.slow
def test_in_a_train_state():
    params, gradients = problem()
    optimizer = bopt.prune_to(
        0.5, score=bopt.saliency(), optimizer=optax.chain(optax.adam(0.1))
    )
    state = TrainState.create(apply_fn=None, params=params, tx=optimizer)
    for gradient in gradients:
        state = state.apply_gradients(grads=gradient)
    expected, _ = trained(optimizer, params, gradients)
    np.testing.assert_allclose(flat(state.params), flat(expected), 1e-6)
    assert (flat(state.params) == 0).sum() == 10


def test_the_state_keeps_its_shapes():
    params, gradients = problem()
    for score in (bopt.saliency(), bopt.movement()):
        optimizer = bopt.prune(0.1, score=score, optimizer=optax.adam(0.1))
        state = jax.eval_shape(optimizer.init, params)
        _, after = jax.eval_shape(optimizer.update, gradients[0], state, params)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        assert jax.tree.leaves(after) == jax.tree.leaves(state)


def test_mistakes_are_named():
    params, (gradient, *_) = problem()
    optimizer = bopt.prune_to(0.5, score=bopt.saliency(), optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"prune_to got .*'b'"):
        missing = {name: gradient[name] for name in ("a", "bias")}
        optimizer.update(missing, optimizer.init(params), params)
    with pytest.raises(ValueError, match=r"score that needs gradients.*optimizer="):
        bopt.prune_to(0.5, score=bopt.saliency())
    with pytest.raises(ValueError, match=r"score is 3; expected a bopt\.Score"):
        bopt.prune(score=3)  # type: ignore
    with pytest.raises(ValueError, match=r"saliency got power=-1"):
        bopt.saliency(-1)
