"""Programs on several CPU devices, for test_meshes: the same numbers as on one device.

Run as a program, it calls one of its functions. Meshes are those that `jax.make_mesh`
makes, with explicit axes.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import bopt
from bopt.models import VGG, Chain, LeNet5, avg_pool, chain, max_pool, shrink


def put(tree, mesh, *spec):
    return jax.device_put(tree, NamedSharding(mesh, P(*spec)))


def close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        found,
        expected,
    )


def models():
    """Logits, gradients and pools with the batch divided, parameters replicated."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    lenet, vgg = LeNet5(), VGG(((4, 1), (4, 1)), dropout=0.0)
    mnist, cifar = (
        jax.random.normal(jax.random.key(0), (8, *shape))
        for shape in ((28, 28, 1), (8, 8, 3))
    )
    key = jax.random.key(1)

    def gradient(apply):
        return jax.value_and_grad(lambda *args: jnp.mean(jnp.sin(apply(*args))))

    def trained(variables, images):
        logits, _ = vgg.apply(variables, images, train=True, mutable=["batch_stats"])
        return logits

    for function, variables, images in (
        *((LeNet5(method=m).apply, lenet.init(key, mnist), mnist) for m in METHODS),
        *(
            (gradient(LeNet5(method=m).apply), lenet.init(key, mnist), mnist)
            for m in METHODS
        ),
        (vgg.apply, vgg.init(key, cifar), cifar),
        (
            gradient(trained),
            vgg.init(key, cifar),
            cifar,
        ),
        (lambda _, x: avg_pool(x), {}, mnist),
        (lambda _, x: max_pool(x), {}, mnist),
        (Chain.__call__, chain(lenet, lenet.init(key, mnist)), mnist),
        (Chain.__call__, pruned(lenet, lenet.init(key, mnist)), mnist),
    ):
        found = jax.jit(function)(put(variables, mesh), put(images, mesh, "data"))
        close(found, jax.jit(function)(variables, images))


METHODS = ("auto", "library", "patches")


def pruned(lenet: LeNet5, variables) -> Chain:
    """A chain whose dense layers take some of the last image's positions only."""
    kernel = variables["params"]["Dense_0"]["kernel"]
    variables["params"]["Dense_0"]["kernel"] = kernel.at[::3].set(0)
    small = shrink(chain(lenet, variables), (28, 28, 1))
    assert any("kept" in params for params in small.params)
    return small


def jacobians():
    """value_and_jac with a divided batch, in both forms, and in `jax.shard_map`."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    params = {"w": jnp.ones((4, 2)), "b": jnp.full(2, 0.5)}
    x = jax.random.normal(jax.random.key(0), (8, 4))

    def loss(params, x):
        return jnp.mean((x @ params["w"] + params["b"][None]) ** 2)

    def tasks(params, x):
        return jnp.stack([loss(params, x), jnp.mean(jnp.sin(x @ params["w"]))])

    def over_devices(tasks):
        return lambda params, x: jax.lax.pmean(tasks(params, x), "data")

    for first in (loss, tasks):
        function = bopt.value_and_jac([first, bopt.l1])
        expected = function(params, x)
        divided = put(params, mesh), put(x, mesh, "data")
        close(jax.jit(function)(*divided), expected)
        inside = bopt.value_and_jac([over_devices(first), bopt.l1])
        specs = {"in_specs": (P(), P("data")), "out_specs": P()}
        close(jax.jit(jax.shard_map(inside, mesh=mesh, **specs))(*divided), expected)
    sharded = put(params | {"b": jnp.ones(4)}, mesh, "data")
    _, jac = jax.jit(bopt.value_and_jac([bopt.l2, bopt.l1]))(sharded)
    close(jac["w"], jnp.stack([2 * params["w"], jnp.sign(params["w"])]))
    assert all(leaf.sharding.spec[:2] == (None, "data") for leaf in jac.values())


def pruning():
    """prune and prune_to on leaves divided over one and two axes: the same masks."""
    mesh = jax.make_mesh((2, jax.device_count() // 2), ("x", "y"))
    kernel = jnp.round(jax.random.normal(jax.random.key(0), (8, 8)), 1)  # equal ones
    params, updates = {"a": kernel, "b": -kernel}, {"a": 0.1 * kernel, "b": -kernel / 2}
    for optimizer in (
        bopt.prune(0.1, keep_zeros=True),
        bopt.prune_to(0.5),
        bopt.prune_to(0.7, scope="layer", keep_zeros=True, every=2),
    ):
        expected = jax.jit(optimizer.update)(updates, optimizer.init(params), params)
        for spec in (P("x"), P(None, "y"), P("x", "y"), P(("x", "y"))):
            divided = put(params, mesh, *spec)
            new, state = jax.jit(optimizer.update)(
                put(updates, mesh, *spec), optimizer.init(divided), divided
            )
            jax.tree.map(np.testing.assert_array_equal, (new, state), expected)
            mask = optax.tree.get(state, "PruneState").mask["a"]
            assert mask.sharding.is_equivalent_to(divided["a"].sharding, 2)
    inside = jax.shard_map(
        optimizer.update, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=True
    )
    tree = updates, optimizer.init(params), params
    jax.tree.map(
        np.testing.assert_array_equal, jax.jit(inside)(*put(tree, mesh)), expected
    )


def many_networks():
    """smgd over an axis of networks (`jax.vmap`) whose parameters are divided."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    scales = jnp.array([1.0, 1e-20, 1e20])[:, None, None, None]
    for m in (2, 5):
        optimizer = bopt.smgd(num_objectives=m)
        jac = scales * jax.random.normal(jax.random.key(m), (3, m, 8, 4))
        params = jnp.ones((3, 8, 4))
        update = jax.vmap(optimizer.update)
        expected = update(jac, jax.vmap(optimizer.init)(params), params)
        divided = put(params, mesh, None, "data")
        jac = put(jac, mesh, None, None, "data")
        found = jax.jit(update)(jac, jax.vmap(optimizer.init)(divided), divided)
        for own in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(*own, rtol=1e-4)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
