"""Objectives: penalties, their kernels, and the derivative of the l1 norm at 0."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import Normalised

import bopt
from experiments.config.options import Objectives
from experiments.training.step import make_objectives, make_penalties

OPTIONS = [
    *({"l1_where": where} for where in ("dense", "all")),
    *({"split": True, "conv_l2": l2} for l2 in (1e-4, 0.25)),
    *({"conv_l2": l2} for l2 in (0.0, 0.25)),
]


@functools.cache
def variables():
    """Return variables whose entries are neither 0 nor 1 on average."""
    image = jnp.zeros((1, 8, 8, 3))
    shapes = jax.eval_shape(Normalised().init, jax.random.key(0), image)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.uniform(-0.4, 0.6, leaf.shape).astype(np.float32), shapes
    )


def by_numpy(options) -> tuple[float, float]:
    layers = variables()["params"]
    dense, conv = layers["Dense_0"]["kernel"], layers["Conv_0"]["kernel"]
    complexity = np.abs(dense).sum()
    if options.get("l1_where") == "all":
        complexity += np.abs(conv).sum()
    if options.get("split"):
        complexity += (conv**2).sum()
    return options.get("conv_l2", 1e-4) * (conv**2).sum(), complexity


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_penalties(options):
    """They are of kernels only: not of biases or batch normalization."""
    params = {"params": variables()["params"]}
    found = [penalty(params) for penalty in make_penalties(Objectives(**options))]
    assert found == pytest.approx(by_numpy(options), rel=1e-5)


def test_the_objectives():
    options = {"split": True, "conv_l2": 0.25}
    params = {"params": variables()["params"]}
    stats = jax.tree.map(np.abs, {"batch_stats": variables()["batch_stats"]})
    key = jax.random.key(1)
    images = np.random.default_rng(0).uniform(size=(5, 8, 8, 3)).astype(np.float32)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    loss, complexity = make_objectives(
        Normalised(), *make_penalties(Objectives(**options))
    )
    value, state = loss(params, stats, images, labels, key)
    logits, expected_state = Normalised().apply(
        params | stats, images, True, mutable=["batch_stats"], rngs={"dropout": key}
    )
    logits = np.asarray(logits, np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(5), labels]
    regularizer, expected = by_numpy(options)
    assert float(value) == pytest.approx(losses.mean() + regularizer, rel=1e-5)
    # Besides the parameters, all arguments are those of the data loss alone.
    assert float(complexity(params, *[None] * 4)) == pytest.approx(expected, rel=1e-5)
    for found, by_hand in zip(
        *map(jax.tree.leaves, (state, expected_state)), strict=True
    ):
        np.testing.assert_array_equal(found, by_hand)
    moved = state["batch_stats"]["BatchNorm_0"]["mean"]
    assert (moved != stats["batch_stats"]["BatchNorm_0"]["mean"]).all()


@pytest.mark.parametrize("at_zero", [-0.5, 0.0, 1.0])
@pytest.mark.parametrize("where", ["dense", "all"])
def test_the_derivative_of_the_l1_norm_at_zero(where, at_zero):
    params = {"conv": jnp.zeros((2, 2, 1, 1)), "dense": jnp.array([[0.0, -2.0]])}
    _, complexity = make_penalties(Objectives(l1_where=where, l1_at_zero=at_zero))
    _, jac = bopt.value_and_jac([complexity])(params)
    assert jac["dense"].tolist() == [[[at_zero, -1]]]
    assert set(np.ravel(jac["conv"])) == {at_zero if where == "all" else 0}
