"""Networks that users have: Linen and NNX modules, pairs of functions."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from experiments.config import Config, resolve, updated
from experiments.data import Dataset
from experiments.errors import ConfigError
from experiments.training import networks

CLASSES = 3
KEY = jax.random.key(0)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)


class Linen(nn.Module):
    classes: int = 2

    @nn.compact
    def __call__(self, images):
        return nn.Dense(self.classes)(images)


class WithTrain(nn.Module):
    """With batch statistics and dropout."""

    classes: int

    @nn.compact
    def __call__(self, images, train: bool = False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(5)(images))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(self.classes)(x)


class Nnx(nnx.Module):
    """The same in NNX."""

    def __init__(self, rngs: nnx.Rngs, classes: int):
        self.first = nnx.Linear(6, 5, rngs=rngs)
        self.norm = nnx.BatchNorm(5, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(5, classes, rngs=rngs)

    def __call__(self, images):
        return self.last(self.drop(self.norm(self.first(images))))


def plain(rngs):
    return nnx.Linear(6, CLASSES, rngs=rngs)


def make(classes):
    return Linen(classes)


def init(key, images):
    return {"kernel": jax.random.normal(key, (images.shape[-1], CLASSES))}


def apply(params, images):
    return images @ params["kernel"]


NETWORKS: dict[str, Any] = {
    "a Linen module": Linen(CLASSES),
    "its class": Linen,
    "one with train": WithTrain,
    "an NNX class": Nnx,
    "a function of rngs": plain,
    "a function of classes": make,
    "a pair": (init, apply),
}
STATES = {"one with train": "batch_stats", "an NNX class": "state"}


FAST = ("one with train", "an NNX class", "a pair")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in FAST else pytest.mark.slow)
        for kind in NETWORKS
    ],
)
def test_all_kinds_of_networks(kind):
    network = networks.adapted(NETWORKS[kind], CLASSES)
    variables = dict(jax.jit(network.init)(KEY, IMAGES[:1]))
    params = variables["params"]
    kernels = {leaf.shape for leaf in jax.tree.leaves(params) if jnp.ndim(leaf) == 2}
    assert (6, 5) in kernels or kernels == {(6, CLASSES)}
    logits = jax.jit(network.apply)(variables, IMAGES)
    assert logits.shape == (4, CLASSES)
    state = variables.keys() - {"params"}
    assert state == ({STATES[kind]} if kind in STATES else set())

    @jax.jit
    def step(variables, key):
        return network.apply(
            variables, IMAGES, train=True, mutable=[*state], rngs={"dropout": key}
        )

    trained, updated = step(variables, KEY)
    other, _ = step(variables, jax.random.key(1))
    if not state:  # no dropout either
        np.testing.assert_allclose(trained, logits, rtol=1e-6)
        assert updated == {} or not jax.tree.leaves(updated)
        return
    assert np.abs(np.asarray(trained - other)).max() > 1e-3  # dropout
    np.testing.assert_array_equal(trained, step(variables, KEY)[0])
    (name,) = state
    before, after = (jax.tree.leaves(tree[name]) for tree in (variables, updated))
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
    # The parameters that are given count, not those of the module that is made anew.
    zeros = {**variables, "params": jax.tree.map(jnp.zeros_like, params)}
    assert not jax.jit(network.apply)(zeros, IMAGES).any()


def test_networks_of_two_seeds_differ():
    for model in (Nnx, Linen):
        network = networks.adapted(model, CLASSES)
        one, two = (
            jax.tree.leaves(network.init(jax.random.key(seed), IMAGES)["params"])
            for seed in (0, 1)
        )
        assert any((a != b).any() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Nnx(nnx.Rngs(0), 2), "an object of Nnx; expected its class"),
        (3, "is 3; expected a Flax Linen module, an NNX module's class"),
        (dict, "is <class 'dict'>; expected a Flax"),
        ((init, 3), "expected a Flax"),
    ],
    ids=["nnx object", "number", "class", "half a pair"],
)
def test_what_is_no_network_is_named(model, told):
    with pytest.raises(ConfigError, match=told):
        networks.adapted(model, CLASSES)


def test_networks_are_imported_by_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_networks.py").write_text("Net = 5\n")
    assert networks.load("my_networks:Net") == 5
    for name, told in (
        ("my_networks:Other", r"has no attribute 'Other'\. Expected MODULE:NAME of"),
        ("no_such_module:Net", r"No module named 'no_such_module'\. Expected"),
        (":Net", "Empty module name"),
    ):
        with pytest.raises(ConfigError, match=told):
            networks.load(name)
    del sys.modules["my_networks"]


# What does not fit


def dataset(labels=CLASSES) -> Dataset:
    images = np.zeros((20, 6), np.float32)
    classes = np.arange(20) % labels
    return Dataset("", "", "", images, classes, range(10), range(10, 15), range(15, 20))


def checked(model, data=None, complexity=None, **options) -> None:
    config = updated(Config(), batch_size=5, epochs=1, **options)
    networks.check(
        networks.adapted(model, CLASSES),
        data or dataset(),
        resolve(config, "mine"),
        complexity,
    )


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_fits(kind):
    checked(NETWORKS[kind])
    checked(NETWORKS[kind], complexity=lambda params: jnp.ones([]))


def flat_logits(params, images):
    return (images @ params["kernel"]).ravel()


UNFIT: dict[str, Any] = {
    "other images": (
        (init, lambda p, x: x @ p["kernel"].T),
        {},
        "does not take images",
    ),
    "few classes": (
        (init, apply),
        {"data": dataset(9)},
        r"\(1, 3\); expected logits of",
    ),
    "other logits": ((init, flat_logits), {}, r"into \(3,\); expected logits of shape"),
    "no parameters": (
        (lambda key, x: {}, lambda p, x: x[:, :3]),
        {},
        "has no parameters",
    ),
    "no convolutions": (
        Linen,
        {"prune_where": "conv"},
        "matches none of the 2 leaves: params/Dense_0/bias",
    ),
    "evidence": (
        Linen(50),
        {"pruning": "evidence"},
        r"10 examples for 300 entries; .* Or choose --pruning saliency\.$",
    ),
    "penalty": (
        Linen,
        {"complexity": lambda params: jnp.ones(2)},
        r"complexity of the parameters is .*\(2,\).*; expected a scalar\.$",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_named_before_anything_is_computed(case):
    model, given, told = UNFIT[case]
    with pytest.raises(ConfigError, match=told):
        checked(model, **given)
