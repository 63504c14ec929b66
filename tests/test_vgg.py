"""VGG: sizes, batch statistics, dropout, dtypes; against the same in other parts."""

# Flax's unions of types know no tree's keys.
# pyright: reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false, reportAttributeAccessIssue=false, reportIndexIssue=false

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import bopt
from bopt.models import VGG, max_pool

TINY = VGG(stages=((4, 2), (6, 1)), dropout=(0.25, 0.5), classes=3)


def images(number=5, size=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(number, size, size, 3)).astype(np.float32)


@functools.cache
def initial():
    key = jax.random.key(0, impl="rbg")  # compiled faster
    return jax.jit(TINY.init)(key, images())


@functools.cache
def variables():
    """Variables of the tiny network, none at its initial value."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(TINY.init, jax.random.key(0), images())

    def entries(leaf):
        values = rng.uniform(0.1, 0.5, leaf.shape)
        if len(leaf.shape) > 1:  # a kernel
            values *= rng.choice([-1, 1], leaf.shape)
        return values.astype(leaf.dtype)

    return jax.tree.map(entries, shapes)


def apply_in_training(model, variables, key):
    return model.apply(
        variables,
        images(),
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": key},
    )


compiled = jax.jit(apply_in_training, static_argnums=0)


def train(model, variables, key=0):
    return compiled(model, variables, jax.random.key(key))


def shapes(model, size=32):
    image = jnp.zeros((1, size, size, 3))
    tree = jax.eval_shape(model.init, jax.random.key(0), image)
    return jax.tree.map(jnp.shape, tree)


CHANNELS = [3, 32, 32, 64, 64, 128, 128]


def test_parameters_layer_by_layer():
    found = shapes(VGG())
    expected = {
        # 896, 9248, 18496, 36928, 73856, 147584
        **{
            f"Conv_{i}": {"kernel": (3, 3, before, after), "bias": (after,)}
            for i, (before, after) in enumerate(itertools.pairwise(CHANNELS))
        },
        **{  # 64, 64, 128, 128, 256, 256
            f"BatchNorm_{i}": {"scale": (channels,), "bias": (channels,)}
            for i, channels in enumerate(CHANNELS[1:])
        },
        "Dense_0": {"kernel": (2048, 10), "bias": (10,)},  # 4 * 4 * 128; 20480 + 10
    }
    assert found["params"] == expected
    assert (
        found["batch_stats"]
        == {  # 896 in all, no parameters
            f"BatchNorm_{i}": {"mean": (channels,), "var": (channels,)}
            for i, channels in enumerate(CHANNELS[1:])
        }
    )
    sizes = [int(np.prod(shape)) for shape in _leaves(found["params"])]
    convolutions = 896 + 9_248 + 18_496 + 36_928 + 73_856 + 147_584
    assert sum(sizes) == convolutions + 896 + 20_490 == 308_394
    assert sum(int(np.prod(shape)) for shape in _leaves(found["batch_stats"])) == 896


def test_dense_and_convolution_kernels_by_rank():
    params = jax.eval_shape(VGG().init, jax.random.key(0), images(1, 32))["params"]
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), params)
    assert bopt.sparsity.report(zeros).dense.entries == 20_480
    assert bopt.sparsity.report(zeros, where=4).dense.entries == 286_560


def test_vgg16_is_one_line():
    """torchvision's vgg16_bn has as many parameters: 138,365,992."""
    vgg16 = VGG(
        stages=((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
        dropout=0.0,
        dense=(4096, 4096),
        classes=1000,
    )
    found = shapes(vgg16, 224)
    sizes = [int(np.prod(shape)) for shape in _leaves(found["params"])]
    assert sum(sizes) == 138_365_992
    assert found["params"]["Dense_0"]["kernel"] == (512 * 7 * 7, 4096)


def _leaves(tree):
    return jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, tuple))


@pytest.mark.slow
def test_kernels_start_glorot_uniform_and_biases_at_zero():
    for name, layer in initial()["params"].items():
        assert (layer["bias"] == 0).all()
        if "BatchNorm" in name:
            assert (layer["scale"] == 1).all()
            continue
        shape = layer["kernel"].shape
        bound = np.sqrt(6 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1])))
        assert 0.8 * bound < abs(layer["kernel"]).max() <= bound, name


@functools.partial(jax.jit, static_argnums=2)
def reference(variables, images, train, keep):
    """The same, written out with Flax's convolution and pooling, and batch
    normalisation by hand; `keep` are the masks of dropout. Returns the new statistics,
    too."""
    params, stats = variables["params"], variables["batch_stats"]
    x, number, updated = images, 0, {}
    for (_, convolutions), mask in zip(TINY.stages, keep, strict=True):
        for _ in range(convolutions):
            conv = params[f"Conv_{number}"]
            layer = nn.Conv(conv["bias"].size, (3, 3), padding="SAME")
            with jax.numpy_rank_promotion("allow"):
                x = layer.apply({"params": conv}, x)
                x = jnp.where(x > 0, x, jnp.exp(x) - 1)
                norm, own = params[f"BatchNorm_{number}"], stats[f"BatchNorm_{number}"]
                mean, var = own["mean"], own["var"]
                if train:
                    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
                updated[f"BatchNorm_{number}"] = {
                    "mean": 0.99 * own["mean"] + 0.01 * mean,
                    "var": 0.99 * own["var"] + 0.01 * var,
                }
                x = (x - mean) / jnp.sqrt(var + 1e-3) * norm["scale"] + norm["bias"]
            number += 1
        x = nn.max_pool(x, (2, 2), (2, 2)) * mask
    dense = params["Dense_0"]
    return x.reshape(len(x), -1) @ dense["kernel"] + dense["bias"][None], updated


def close(found, expected, tolerance=1e-4):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        found,
        expected,
    )


def methods(*names, fast):
    rows = [
        pytest.param(name, marks=() if name == fast else pytest.mark.slow)
        for name in names
    ]
    return pytest.mark.parametrize("method", rows)


@methods("library", "patches", "auto", fast="auto")
def test_evaluation_uses_the_stored_statistics_and_drops_nothing(method):
    expected, _ = reference(variables(), images(), False, [1, 1])
    model = TINY.clone(method=method)
    close(jax.jit(model.apply)(variables(), images()), expected)


@methods("library", "patches", fast="library")
def test_training_uses_and_updates_those_of_the_batch(method):
    model = TINY.clone(dropout=0.0, method=method)
    logits, updated = train(model, variables())
    expected, statistics = reference(variables(), images(), True, [1, 1])
    close(logits, expected)
    close(updated["batch_stats"], statistics)


@pytest.mark.slow
def test_the_gradients_of_both_methods_agree():
    def loss(params, method):
        model = TINY.clone(method=method)
        logits, _ = train(model, {**variables(), "params": params})
        return (logits**2).mean()

    grad = jax.jit(jax.grad(loss), static_argnums=1)
    params = variables()["params"]
    close(grad(params, "patches"), grad(params, "library"), 1e-3)


@jax.jit
def logits_and_shares(variables, images, key):
    """Logits in training, and the shares of zeros after the layers of dropout."""
    logits, state = TINY.apply(
        variables,
        images,
        train=True,
        mutable=["intermediates", "batch_stats"],
        capture_intermediates=lambda module, _: isinstance(module, nn.Dropout),
        rngs={"dropout": key},
    )
    layers = [state["intermediates"][f"Dropout_{i}"]["__call__"] for i in (0, 1)]
    return logits, jnp.stack([jnp.mean(kept == 0) for (kept,) in layers])


def test_dropout_follows_its_key_and_rates():
    # Keys whose numbers are compiled faster.
    keys = [jax.random.key(n, impl="rbg") for n in (0, *range(20))]
    runs = [logits_and_shares(variables(), images(), key) for key in keys]
    first, again, other, *_ = (np.asarray(logits) for logits, _ in runs)
    assert first.tobytes() == again.tobytes()
    assert (first != other).any()
    shares = np.mean([shares for _, shares in runs[1:]], axis=0)
    # 20 times 320 and 120 entries: four standard deviations are 0.02 and 0.04.
    assert shares.tolist() == pytest.approx(TINY.dropout, abs=0.05)


def test_training_needs_a_key():
    with pytest.raises(Exception, match="dropout"):
        jax.eval_shape(
            lambda: TINY.apply(
                variables(), images(), train=True, mutable=["batch_stats"]
            )
        )


def test_one_rate_for_all_stages():
    program, expected, other = (
        str(
            jax.make_jaxpr(apply_in_training, static_argnums=0)(
                TINY.clone(dropout=dropout), variables(), jax.random.key(0)
            )
        )
        for dropout in (0.25, (0.25, 0.25), (0.25, 0.5))
    )
    assert program == expected != other


def test_hidden_dense_layers():
    model = TINY.clone(dense=(7, 5))
    params = shapes(model, 8)["params"]
    assert [params[f"Dense_{i}"]["kernel"] for i in range(3)] == [
        (2 * 2 * 6, 7),
        (7, 5),
        (5, 3),
    ]


def test_a_narrow_computation_keeps_float32_around_it():
    model = TINY.clone(dtype=jnp.bfloat16, dropout=0.0)
    assert jax.tree.map(
        lambda leaf: leaf.dtype, jax.eval_shape(model.init, jax.random.key(0), images())
    ) == jax.tree.map(lambda leaf: jnp.dtype(jnp.float32), variables())
    narrow = jax.eval_shape(
        functools.partial(apply_in_training, model), variables(), jax.random.key(0)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {jnp.dtype(jnp.float32)}


@pytest.mark.slow
def test_a_narrow_computation_is_near_to_the_exact_one():
    def loss(params, model):
        logits, updated = train(model, {**variables(), "params": params})
        return (logits**2).mean(), (logits, updated)

    run = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    narrow, wide = (
        run(variables()["params"], TINY.clone(dtype=dtype, dropout=0.0))
        for dtype in (jnp.bfloat16, None)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {jnp.dtype(jnp.float32)}
    assert (narrow[1][0] != wide[1][0]).any()  # it did compute in another dtype
    close(narrow[1], wide[1], 0.1)


@pytest.mark.parametrize(
    "model, size, message",
    [
        (TINY.clone(dropout=(0.1,)), 8, r"dropout=\(0.1,\) for 2 stages; expected one"),
        (TINY, 3, r"images of shape \(1, 3, 3, 3\); .* at least 4, because 2 stages"),
    ],
)
def test_wrong_input_is_named(model, size, message):
    with pytest.raises(ValueError, match=message):
        model.init(jax.random.key(0), images(1, size))


@pytest.mark.parametrize(
    "platform, convolutions", [("cpu", 0), ("cuda", 3), ("tpu", 3)]
)
def test_platform_is_chosen_at_lowering(platform, convolutions):
    # Without training it is the library's everywhere.
    train = functools.partial(
        TINY.apply,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": jax.random.key(0)},
    )
    traced = jax.jit(train).trace(variables(), images())
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution") == convolutions


@pytest.mark.parametrize("size", [pytest.param((4, 6), marks=pytest.mark.slow), (5, 7)])
def test_max_pooling_is_that_of_flax(size):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *size, 3)), jnp.float32)
    theirs = functools.partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2))

    def cubes(x, pool):
        maxima = pool(x)
        return (maxima**3).sum(), maxima

    run = jax.jit(jax.grad(cubes, has_aux=True), static_argnums=1)
    (gradient, ours), (expected, maxima) = (run(x, pool) for pool in (max_pool, theirs))
    np.testing.assert_array_equal(ours, maxima)  # entries of x: nothing is rounded
    close(gradient, expected, 1e-6)


def test_equal_entries_share_the_gradient_of_their_maximum():
    grad = jax.jit(jax.grad(lambda x: max_pool(x).sum()))(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(grad.ravel(), [0.25] * 4)
