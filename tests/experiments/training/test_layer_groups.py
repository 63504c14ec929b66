"""--split and --prune-where: which layers share weights, and which are pruned."""

import functools
from typing import Any

import jax
import numpy as np
import optax
import pytest
from programs import SmallConfig

import bopt
from experiments.config import MULTI_GRADIENT, resolve, updated
from experiments.training.optimizers import compose
from experiments.training.step import current_weights

RNG = np.random.default_rng(0)


def normal(*shape) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


# Layers as Flax names those of VGG, two of them dense.
PARAMS: Any = {
    "params": {
        "Conv_0": {"kernel": normal(2, 2, 2, 4), "bias": normal(4)},
        "BatchNorm_0": {"scale": normal(4), "bias": normal(4)},
        "Dense_0": {"kernel": normal(4, 4), "bias": normal(4)},
        "Dense_1": {"kernel": normal(4, 4), "bias": normal(4)},
    }
}
LEAVES = [
    (layer, leaf) for layer in PARAMS["params"] for leaf in PARAMS["params"][layer]
]
GROUPS = {"dense": ["Dense_0", "Dense_1"], "conv": ["Conv_0", "BatchNorm_0"]}
GROUP_OF = {layer: group for group, layers in GROUPS.items() for layer in layers}


def jacobian():
    """Return gradients; objective 1 is steeper in dense layers, flatter elsewhere."""
    rows = {"dense": [0.1, 0.2], "conv": [0.2, 0.1]}

    def layer(name, leaves):
        def rescaled(leaf):
            scale = np.array(rows[GROUP_OF[name]], np.float32)
            return (normal(2, *leaf.shape).T * scale).T

        return jax.tree.map(rescaled, leaves)

    return {
        "params": {name: layer(name, own) for name, own in PARAMS["params"].items()}
    }


JACOBIANS = [jacobian() for _ in range(3)]


def of_group(tree, group):
    return {layer: tree["params"][layer] for layer in GROUPS[group]}


@functools.cache  # `steps` compiles its update once for all tests
def composed(**options):
    """Return the optimizer of options, at a constant learning rate."""
    given = {"epochs": 1, "schedule": "constant", "decay": 0.0, **options}
    return compose(resolve(updated(SmallConfig(), **given), "mnist"), 3)


def steps(optimizer, params, jacobians) -> list[Any]:
    """Return updates and weights of each step."""
    state, result = jax.jit(optimizer.init)(params), []
    for jac in jacobians:
        values = np.array([0.7, 5.0], np.float32)
        updates, state = jax.jit(optimizer.update)(jac, state, params, values=values)
        result.append(jax.device_get((updates, current_weights(state))))
    return result


def least_norm(jac) -> np.ndarray:
    """Return the weights of two gradients' shortest combination, by formula."""
    rows = [
        np.concatenate([leaf[i].ravel() for leaf in jax.tree.leaves(jac)])
        for i in range(2)
    ]
    difference = (rows[0] - rows[1]).astype(np.float64)
    second = np.clip(rows[0] @ difference / (difference @ difference), 0, 1)
    return np.array([1 - second, second])


# Weights

SGD = optax.sgd(1e-2, 0.9)
BY_HAND = {
    "smgd loss+": (bopt.smgd(bopt.min_norm("loss+")), SGD),
    "madam l2": (
        bopt.madam(1e-3, weighting=bopt.min_norm("l2"), weigh_by="directions"),
    ),
    "mrmsprop": (bopt.mrmsprop(1e-3, weigh_by="directions"),),
}


@pytest.mark.slow
@pytest.mark.parametrize("words", BY_HAND)
def test_each_group_is_optimized_on_its_own(words):
    optimizer, *normalize = words.split()
    options = {"normalize": normalize[0]} if normalize else {}
    whole = composed(optimizer=optimizer, split=True, prune=False, **options)
    found = steps(whole, PARAMS, JACOBIANS)
    for group in GROUPS:
        parts = [of_group(jac, group) for jac in JACOBIANS]
        expected = steps(optax.chain(*BY_HAND[words]), of_group(PARAMS, group), parts)
        for (updates, weights), (by_hand, own) in zip(found, expected, strict=True):
            assert set(weights) == set(GROUPS)
            np.testing.assert_allclose(weights[group], own, rtol=1e-6)
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-9),
                of_group(updates, group),
                by_hand,
            )
    assert (found[-1][1]["dense"] != found[-1][1]["conv"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("optimizer", MULTI_GRADIENT)
def test_weights_are_those_of_least_norm(optimizer, split):
    """With `split` per group, otherwise of all layers together."""
    weigh_by = None if optimizer == "smgd" else "gradients"
    whole = composed(optimizer=optimizer, split=split, weigh_by=weigh_by)
    found = steps(whole, PARAMS, JACOBIANS)
    for jac, (_, weights) in zip(JACOBIANS, found, strict=True):
        if not split:
            np.testing.assert_allclose(weights, least_norm(jac), rtol=1e-5)
            continue
        for group in GROUPS:
            expected = least_norm(of_group(jac, group))
            np.testing.assert_allclose(weights[group], expected, rtol=1e-5)
        assert weights["dense"][1] < 0.4 < 0.6 < weights["conv"][1]


@pytest.mark.parametrize(("layer", "leaf"), LEAVES)
def test_a_gradient_changes_the_weights_of_its_own_group(layer, leaf):
    """Biases belong to their layers, batch normalization to the convolutions."""
    group = GROUP_OF[layer]
    (other,) = set(GROUPS) - {group}
    changed = jax.tree.map(np.copy, JACOBIANS[0])
    changed["params"][layer][leaf][0] *= 3
    whole = composed(optimizer="smgd", split=True)
    ((_, before),), ((_, after),) = (
        steps(whole, PARAMS, [jac]) for jac in (JACOBIANS[0], changed)
    )
    assert (before[other] == after[other]).all()
    assert (before[group] != after[group]).all()


# Pruning

PRUNED = {
    "dense": ["Dense_0", "Dense_1"],
    "conv": ["Conv_0"],
    "all": ["Conv_0", "Dense_0", "Dense_1"],
}


@pytest.mark.parametrize("where", PRUNED)
@pytest.mark.parametrize(
    "options",
    [{"split": True}, pytest.param({"optimizer": "adam"}, marks=pytest.mark.slow)],
    ids=str,
)
def test_exactly_these_kernels_are_pruned(where, options):
    """With a threshold above all entries: no bias, no batch normalization."""
    whole = composed(prune_where=where, threshold=1e3, **options)
    ((updates, _),) = steps(whole, PARAMS, JACOBIANS[:1])
    params: Any = optax.apply_updates(PARAMS, updates)
    for layer, leaf in LEAVES:
        zero = np.asarray(params["params"][layer][leaf]) == 0
        assert zero.all() == zero.any()
        assert zero.all() == (layer in PRUNED[where] and leaf == "kernel"), layer


def test_no_prune_wins():
    whole = composed(prune_where="all", threshold=1e3, prune=False)
    ((updates, _),) = steps(whole, PARAMS, JACOBIANS[:1])
    for leaf in jax.tree.leaves(optax.apply_updates(PARAMS, updates)):
        assert (leaf != 0).all()
