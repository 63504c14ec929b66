"""Compaction: the logits and the further training of networks without pruned units."""

# Flax's unions of types know no tree's keys.
# pyright: reportArgumentType=false, reportIndexIssue=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from test_unit_pruning import UNITS, apply, loss, parameters

import bopt
from bopt.models import VGG, LeNet5


class Network(NamedTuple):
    """Parameters, statistics, and ``apply(params, x, stats, train) -> (y, stats)``."""

    params: Any
    stats: Any
    apply: Any


def lenet(x, widths=(4, 5, 12, 8)):
    model = LeNet5(widths=widths)
    params = jax.jit(model.init)(jax.random.key(0), x)
    return Network(params, (), lambda p, x, s, train=False: (model.apply(p, x), s))


def vgg(x, widths=(6, 5, 7)):
    model = VGG(((1, 2), (1, 1)), dropout=0.0, widths=widths)
    variables = jax.jit(model.init)(jax.random.key(0), x)

    def apply(params, x, stats, train=False):
        variables = {"params": params, "batch_stats": stats}
        if not train:
            return model.apply(variables, x), stats
        y, new = model.apply(variables, x, train=True, mutable=["batch_stats"])
        return y, new["batch_stats"]

    return Network(variables["params"], variables["batch_stats"], apply)


class Perceptron(nnx.Module):
    def __init__(self, inputs, widths, rngs):
        self.first = nnx.Linear(inputs, widths[0], rngs=rngs)
        self.second = nnx.Linear(widths[0], widths[1], rngs=rngs)
        self.out = nnx.Linear(widths[1], 10, rngs=rngs)

    def __call__(self, x):
        return self.out(jnp.tanh(self.second(jnp.tanh(self.first(x)))))


def perceptron(x, widths=(7, 9)):
    graph, params = nnx.split(Perceptron(x.shape[1], widths, nnx.Rngs(0)))
    return Network(params, (), lambda p, x, s, train=False: (nnx.merge(graph, p)(x), s))


NETWORKS = {
    "lenet": (lenet, (28, 28, 1)),
    "vgg": (vgg, (4, 4, 3)),
    "nnx": (perceptron, (6,)),
}


def trainer(network, optimizer, x):
    """A program of some steps: (params, stats, state) -> those after it."""

    @jax.jit
    def run(*carry):
        def step(carry, _):
            params, stats, state = carry

            def loss(params):
                y, new = network.apply(params, x, stats, True)
                labels = jnp.arange(len(y)) % y.shape[1]
                losses = optax.softmax_cross_entropy_with_integer_labels(y, labels)
                return jnp.mean(losses), new

            gradients, stats = jax.grad(loss, has_aux=True)(params)
            updates, state = optimizer.update(gradients, state, params)
            return (optax.apply_updates(params, updates), stats, state), None

        return jax.lax.scan(step, carry, length=6)[0]

    return run


def assert_close(found, expected, tolerance=1e-5):
    def check(a, b):
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)

    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(check, found, expected)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) for n in ("nnx", "vgg", "lenet")],
)
def test_the_smaller_network_is_the_masked_one_and_trains_on_like_it(name):
    make, shape = NETWORKS[name]
    x = jnp.float32(np.random.default_rng(0).normal(size=(16, *shape)))
    with jax.numpy_rank_promotion("allow" if name == "nnx" else "raise"):
        network = make(x)
        params, stats = network.params, network.stats
        units = bopt.units.find(
            lambda params, x, stats=(): network.apply(params, x, stats)[0],
            params,
            x[:1],
            state=stats,
        )

        def optimizer(units, budget):
            inner = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01))
            return bopt.prune_units(budget, units=units, optimizer=inner, stop=4)

        masking = optimizer(units, 0.4)
        train = trainer(network, masking, x)
        masked = train(params, stats, masking.init(params))
        smaller, *small = bopt.compact(units, *masked)
        assert 2 * sum(smaller.numbers) < 2 * sum(units.numbers) - 4
        assert smaller.multiply_adds(smaller.numbers) <= 0.4 * units.multiply_adds(
            units.numbers
        )
        compacted = make(x, smaller.numbers)
        assert jax.tree.map(jnp.shape, small[0]) == jax.tree.map(
            jnp.shape, compacted.params
        )
        assert_close(
            jax.jit(compacted.apply)(small[0], x, small[1])[0],
            jax.jit(network.apply)(masked[0], x, masked[1])[0],
        )
        # The last mask is held; no further pruning.
        masked = train(*masked)
        small = trainer(compacted, optimizer(smaller, 1.0), x)(*small)
        again, *expected = bopt.compact(units, *masked)
    assert_close(small, tuple(expected), 1e-4)
    assert again == smaller
    mask = optax.tree.get(small[2], "PruneState").mask
    assert all(leaf.all() for leaf in jax.tree.leaves(mask))


def test_without_pruned_units_nothing_changes():
    params = parameters()
    units, *trees = bopt.compact(UNITS, params, (params, 1))
    assert units == UNITS
    assert_close(tuple(trees), (params, (params, 1)), 0)


def test_arrays_like_the_parameters_are_cut_wherever_they_are():
    """Moments per objective, scores per entry, masks in a chain, copies."""
    inner = optax.chain(bopt.madam(0.01), bopt.prune(0.05, where="w*"))
    saliency = bopt.prune_to(
        0.2, score=bopt.saliency(), optimizer=inner, where=bopt.complement("b2")
    )
    value_and_jac = bopt.value_and_jac([loss, bopt.l1])
    optimizer = bopt.prune_units(0.3, units=UNITS, optimizer=saliency)
    params = parameters()
    x = jnp.ones((4, 5))

    @jax.jit
    def step(params, state):
        values, jac = value_and_jac(params, x)
        updates, state = optimizer.update(jac, state, params, values=values)
        return optax.apply_updates(params, updates), state

    params, state = step(params, optimizer.init(params))
    units, small, cut, (other, left) = bopt.compact(UNITS, params, state, (params, 3))
    assert sum(units.numbers) < sum(UNITS.numbers) and left == 3
    assert_close(other, small, 0)
    fresh = jax.eval_shape(
        bopt.prune_units(1.0, units=units, optimizer=saliency).init, small
    )
    assert jax.tree.structure(cut) == jax.tree.structure(fresh)
    assert jax.tree.map(jnp.shape, cut) == jax.tree.map(jnp.shape, fresh)
    np.testing.assert_allclose(jax.jit(apply)(small, x), apply(params, x), atol=1e-5)


def test_units_that_single_entries_have_cut_off_go_too():
    """And those before that only they took."""
    params = parameters()
    w2 = params["w2"].at[3].set(0)
    w1 = params["w1"].at[5, jnp.array([0, 1, 2, 4, 5, 6, 7, 8])].set(0)
    params |= {"w1": w1, "w2": w2}
    units, small = bopt.compact(UNITS, params)
    assert units.numbers == (15, 8)
    x = jnp.float32(np.random.default_rng(0).normal(size=(9, 5)))
    np.testing.assert_allclose(apply(small, x), apply(params, x), atol=1e-5)


def test_nan_stays():
    """That of a unit whose outputs nothing takes: 0 * NaN is NaN."""
    params = parameters()
    params |= {"w1": params["w1"].at[3].set(0), "b0": params["b0"].at[3].set(jnp.nan)}
    _, small = bopt.compact(UNITS, params)
    assert np.isnan(small["b0"]).sum() == 1
    assert np.isnan(apply(small, jnp.ones((1, 5)))).all()


def test_layers_that_are_dead_keep_a_unit():
    params = jax.tree.map(np.zeros_like, parameters())
    units, small = bopt.compact(UNITS, params)
    assert units.numbers == (1, 1)
    assert small["w1"].shape == (1, 1)


def test_what_cannot_be_cut_is_named():
    params = parameters()
    with pytest.raises(ValueError, match=r"compact got 'b0' of shape \(3,\); expected"):
        bopt.compact(UNITS, params | {"b0": np.ones(3)})
    params["w1"] = params["w1"].at[3].set(0)
    state = optax.adafactor(0.1, min_dim_size_to_factor=4).init(params)
    with pytest.raises(ValueError, match=r"\(1,\) in the place of 'b0'; expected"):
        bopt.compact(UNITS, params, state)
