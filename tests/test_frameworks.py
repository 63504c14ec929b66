"""One optimizer for parameters of Flax Linen, Flax NNX, Equinox and plain dicts."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import bopt

RNG = np.random.default_rng(0)
INPUTS = jnp.asarray(RNG.normal(size=(32, 6)), jnp.float32)
TARGETS = jnp.tanh(INPUTS[:, :1] - INPUTS[:, 1:2])


@functools.cache
def linen():
    """(parameters, (parameters, inputs) -> outputs)"""
    model = nn.Sequential([nn.Dense(16), nn.tanh, nn.Dense(1)])
    return jax.jit(model.init)(jax.random.key(0), INPUTS), model.apply


class Network(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(6, 16, rngs=rngs)
        self.out = nnx.Linear(16, 1, rngs=rngs)
        self.drop = nnx.Dropout(0.0, rngs=rngs)  # its counter is no parameter

    def __call__(self, x):
        return self.out(self.drop(nnx.tanh(self.hidden(x))))


@functools.cache
def with_nnx():
    graph, params, rest = nnx.split(Network(nnx.Rngs(0)), nnx.Param, ...)
    return params, lambda params, x: nnx.merge(graph, params, rest)(x)


@functools.cache
def equinox():
    build = eqx.filter_jit(eqx.nn.MLP)
    model = build(6, 1, 16, 1, activation=jnp.tanh, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    return params, lambda params, x: jax.vmap(eqx.combine(params, static))(x)


@functools.cache
def plain():
    kernels = jax.random.normal(jax.random.key(0), (6, 16)), jnp.full((16, 1), 0.1)
    params = {
        "hidden": {"kernel": 0.4 * kernels[0], "bias": jnp.zeros(16)},
        "out": {"kernel": kernels[1], "bias": jnp.zeros(1)},
    }

    def apply(params, x):
        hidden, out = params["hidden"], params["out"]
        x = jnp.tanh(x @ hidden["kernel"] + hidden["bias"][None])
        return x @ out["kernel"] + out["bias"][None]

    return params, apply


def leaves(params, rank):
    return [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == rank]


frameworks = pytest.mark.parametrize("framework", [linen, with_nnx, equinox, plain])


def chain_and_step(apply):
    """The optimizer, and the step ((parameters, state) -> both after it, values)."""

    def loss(params, x, y):
        return jnp.mean((apply(params, x) - y) ** 2)

    value_and_jac = bopt.value_and_jac([loss, bopt.l1])
    optimizer = optax.chain(bopt.smgd(), optax.adam(1e-3), bopt.prune())

    def step(params, state):
        values, jac = value_and_jac(params, INPUTS, TARGETS)
        updates, state = optimizer.update(jac, state, params, values=values)
        return optax.apply_updates(params, updates), state, values

    return optimizer, step


@frameworks
def test_the_same_chain_takes_the_parameters(framework):
    params, apply = framework()
    optimizer, step = chain_and_step(apply)
    # Equinox's layers broadcast a bias; that is theirs to do.
    with jax.numpy_rank_promotion("allow"):
        state = jax.eval_shape(optimizer.init, params)
        new, new_state, values = jax.eval_shape(step, params, state)
    assert jax.tree.structure(new) == jax.tree.structure(params)
    assert jax.tree.structure(new_state) == jax.tree.structure(state)
    assert values.shape == (2,)
    masks = jax.tree.leaves(optax.tree.get(state, "PruneState").mask)
    kernels = leaves(params, 2)
    assert [mask.shape for mask in masks] == [kernel.shape for kernel in kernels]
    assert sorted(kernel.shape for kernel in kernels) in (
        [(6, 16), (16, 1)],
        [(1, 16), (16, 6)],
    )


@pytest.mark.slow
@frameworks
def test_the_same_chain_trains_and_prunes(framework):
    params, apply = framework()
    with jax.numpy_rank_promotion("allow"):
        # A few entries lie near 0, so that a few steps find something to prune.
        params = jax.tree.map(
            lambda leaf: leaf.at[::2].multiply(0.01) if leaf.ndim == 2 else leaf, params
        )
        optimizer, step = chain_and_step(apply)
        step, state = jax.jit(step), optimizer.init(params)
        params, state, first = step(params, state)
        values = first
        for _ in range(40):
            params, state, values = step(params, state)
        assert values[0] < 0.95 * first[0]
        zeros = sum(int((leaf == 0).sum()) for leaf in leaves(params, 2))
        assert 0 < zeros < sum(leaf.size for leaf in leaves(params, 2))
        assert all((leaf != 0).all() for leaf in leaves(params, 1))
        masks = optax.tree.get(state, "PruneState").mask
        for mask, leaf in zip(jax.tree.leaves(masks), leaves(params, 2), strict=True):
            np.testing.assert_array_equal(mask, leaf != 0)
        assert bopt.sparsity.report(params).dense.nonzeros == sum(
            int(mask.sum()) for mask in jax.tree.leaves(masks)
        )


def test_path_patterns_name_the_leaves_of_each_framework():
    patterns = {
        linen: "params/layers_0/kernel",
        with_nnx: "hidden/kernel*",
        equinox: "layers/0/weight",
        plain: "hidden/kernel",
    }
    for framework, pattern in patterns.items():
        params, _ = framework()
        report = bopt.sparsity.report(params, pattern)
        assert report.dense.entries == 6 * 16, framework.__name__
