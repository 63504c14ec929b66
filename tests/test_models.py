"""LeNet-5 and its convolution: sizes, equal results by both methods, platforms."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false, reportAttributeAccessIssue=false

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import bopt
from bopt.models import Conv, LeNet5, avg_pool, convolve, max_pool

SIZES = {  # (image height, width), kernel size
    "even": ((6, 8), (3, 3)),
    "odd": ((7, 5), (3, 3)),
    "even kernel": ((7, 6), (2, 4)),
    "one": ((5, 5), (1, 1)),
    "flat": ((4, 9), (1, 5)),
    "whole image": ((4, 3), (4, 3)),
}


@functools.cache
def lenet5():
    """(images (3, 28, 28, 1), parameters): initialised once for all tests."""
    images = jnp.asarray(np.random.default_rng(0).random((3, 28, 28, 1)), jnp.float32)
    key = jax.random.key(0, impl="rbg")  # compiled faster
    return images, jax.jit(LeNet5().init)(key, images)


@functools.cache
def logits(method):
    images, params = lenet5()
    return jax.jit(LeNet5(method=method).apply)(params, images)


def random_like(shapes):
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes
    )


def images_and_kernel(size, kernel_size, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, *size, 3))
    kernel = rng.normal(size=(*kernel_size, 3, 4))
    return jnp.asarray(images, dtype), jnp.asarray(kernel, dtype)


FAST = [("odd", "SAME"), ("even kernel", "VALID"), ("even kernel", "SAME")]


@pytest.mark.parametrize(
    "name, padding",
    [
        pytest.param(*row, marks=() if row in FAST else pytest.mark.slow)
        for row in itertools.product(SIZES, ["VALID", "SAME"])
    ],
)
def test_patches_are_the_library_convolution(name, padding):
    images, kernel = images_and_kernel(*SIZES[name])

    def value(images, kernel, method):
        out = convolve(images, kernel, padding, method)
        return jnp.sum(jnp.sin(out)), out

    run = jax.jit(
        jax.value_and_grad(value, argnums=(0, 1), has_aux=True), static_argnums=2
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        run(images, kernel, "patches"),
        run(images, kernel, "library"),
    )


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_parameters_and_results_are_those_of_flax(padding):
    images, _ = images_and_kernel((7, 6), (3, 3))
    ours = Conv(4, padding=padding)
    theirs = nn.Conv(4, (3, 3), padding=padding)
    with jax.numpy_rank_promotion("allow"):
        shapes, expected_shapes = (
            jax.eval_shape(model.init, jax.random.key(0), images)
            for model in (ours, theirs)
        )
        assert shapes == expected_shapes
        params = random_like(shapes)
        expected = jax.jit(theirs.apply)(params, images)
    found = jax.jit(ours.apply)(params, images)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_many_networks_at_once_agree_with_one_at_a_time():
    images, _ = images_and_kernel((7, 6), (3, 3))
    model = Conv(4)
    params = random_like(jax.eval_shape(model.init, jax.random.key(0), images))
    networks = jax.tree.map(lambda p: np.stack([p, 0.5 * p, 2 * p]), params)

    def loss(params):
        return jnp.sum(avg_pool(model.apply(params, images)) ** 2)

    at_once, one = jax.jit(jax.vmap(jax.grad(loss)))(networks), jax.jit(jax.grad(loss))
    for i in range(3):
        expected = one(jax.tree.map(lambda leaf, i=i: leaf[i], networks))
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-3, atol=1e-4),
            at_once,
            expected,
        )


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(
    "platform, convolution", [("cpu", False), ("cuda", True), ("tpu", True)]
)
def test_platform_is_chosen_at_lowering(platform, convolution, batched):
    images, kernel = images_and_kernel((6, 6), (3, 3))

    def function(images, kernel):
        return jnp.sum(convolve(images, kernel) ** 2)

    lowered = jax.value_and_grad(function, argnums=1)
    if batched:
        lowered = jax.vmap(lowered, in_axes=(None, 0))
        kernel = jnp.stack([kernel, kernel])
    traced = jax.jit(lowered).trace(images, kernel)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" in text) == convolution
    assert ("stablehlo.dot_general" in text) != convolution


@pytest.mark.parametrize("method", ["library", "patches"])
@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_a_method_by_name_is_used_everywhere(platform, method):
    images, kernel = images_and_kernel((6, 6), (3, 3))
    traced = jax.jit(convolve, static_argnums=(2, 3)).trace(
        images, kernel, "VALID", method
    )
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" in text) == (method == "library")


LENET5 = {
    "Conv_0": {"kernel": (3, 3, 1, 6), "bias": (6,)},  # 54 + 6
    "Conv_1": {"kernel": (3, 3, 6, 16), "bias": (16,)},  # 864 + 16
    "Dense_0": {"kernel": (400, 120), "bias": (120,)},  # 5 * 5 * 16 = 400: 48000 + 120
    "Dense_1": {"kernel": (120, 84), "bias": (84,)},  # 10080 + 84
    "Dense_2": {"kernel": (84, 10), "bias": (10,)},  # 840 + 10
}


def test_lenet5_parameters():
    _, params = lenet5()
    assert jax.tree.map(jnp.shape, params) == {"params": LENET5}
    report = bopt.sparsity.report(params)
    assert report.total.entries == 60_074
    assert report.dense.entries == 48_000 + 10_080 + 840 == 58_920
    assert bopt.sparsity.report(params, where=4).dense.entries == 54 + 864
    for path, leaf in jax.tree.leaves_with_path(params):
        bound = leaf.ndim > 1 and np.sqrt(
            6 / (np.prod(leaf.shape[:-2]) * (leaf.shape[-2] + leaf.shape[-1]))
        )
        assert abs(leaf).max() <= bound, f"{path} is not Glorot-uniform"
        if leaf.ndim > 1:
            assert abs(leaf).max() > 0.8 * bound


def test_lenet5_returns_logits():
    images, _ = lenet5()
    assert logits("auto").shape == (3, 10)
    assert (logits("auto") < 0).any()  # no probabilities
    shapes = jax.eval_shape(LeNet5(classes=7).init, jax.random.key(0), images)
    assert shapes["params"]["Dense_2"]["kernel"].shape == (84, 7)


def test_methods_of_lenet5_agree():
    np.testing.assert_allclose(logits("library"), logits("auto"), atol=1e-5)


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_average_pooling_is_that_of_flax(size):
    images, _ = images_and_kernel(size, (1, 1))
    np.testing.assert_allclose(
        jax.jit(avg_pool)(images), nn.avg_pool(images, (2, 2), (2, 2)), atol=1e-6
    )


def test_computation_in_bfloat16_keeps_float32_parameters():
    images, _ = images_and_kernel((6, 6), (3, 3))
    model = Conv(4, dtype=jnp.bfloat16)
    out, params = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("valid",), "padding='valid'; expected 'VALID' or 'SAME'"),
        (("SAME", "fast"), "method='fast'; expected 'auto', 'library' or 'patches'"),
    ],
)
def test_wrong_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        convolve(*images_and_kernel((4, 4), (3, 3)), *arguments)


@pytest.mark.parametrize(
    "function",
    [
        LeNet5(method="patches").apply,
        LeNet5(method="library").apply,
        lambda params, images: avg_pool(images),
        lambda params, images: max_pool(images),
    ],
)
def test_images_divided_over_an_explicit_mesh(function):
    """Types of sharding are checked, even on one device; numbers in test_meshes."""
    mesh = jax.make_mesh((1,), ("data",))
    images, params = lenet5()
    params = jax.device_put(params, NamedSharding(mesh, P()))
    images = jax.device_put(images, NamedSharding(mesh, P("data")))
    out = jax.eval_shape(function, params, images)
    assert out.sharding.spec[0] == "data"
