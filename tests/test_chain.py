"""Chains: the logits of their networks, pruned, shrunk, and loaded from files."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportIndexIssue=false, reportArgumentType=false

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bopt.models import VGG, Chain, LeNet5, chain, shrink, size
from bopt.sparsity import export

LENET = LeNet5()
VGG_LIKE = VGG(stages=((6, 2), (3, 1)), dropout=0.1, dense=(20,))
IMAGES = {"lenet": (28, 28, 1), "vgg": (8, 8, 3)}
MODELS = {"lenet": LENET, "vgg": VGG_LIKE}
names = pytest.mark.parametrize("name", MODELS)


run = jax.jit(Chain.__call__)
apply = jax.jit(
    lambda model, variables, images: model.apply(variables, images), static_argnums=0
)


def trained(name, seed=0):
    """Random parameters, biases and batch statistics, too."""
    shapes = jax.eval_shape(
        MODELS[name].init, jax.random.key(0), jnp.zeros((1, *IMAGES[name]))
    )
    rng = np.random.default_rng(seed)

    def leaf(path, like):
        values = rng.normal(size=like.shape) / np.sqrt(max(like.size**0.5, 1))
        return np.float32(np.abs(values) + 0.1 if "var" in str(path) else values)

    return jax.tree.map_with_path(leaf, shapes)


def pruned(name, share, seed=0):
    """Variables without a share of the kernels' entries, inputs and outputs."""
    rng = np.random.default_rng(seed)
    variables = trained(name, seed)
    for layer in variables["params"].values():
        if "kernel" in layer:
            kernel = layer["kernel"]
            kernel[rng.random(kernel.shape) < share] = 0
            kernel[..., rng.random(kernel.shape[-1]) < share / 2] = 0
            kernel[..., rng.random(kernel.shape[-2]) < share / 2, :] = 0
    return variables


def logits(name, variables):
    images = np.random.default_rng(9).normal(size=(5, *IMAGES[name]))
    images = np.float32(images)
    return images, apply(MODELS[name], variables, images)


def assert_same(found, expected):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


FAST = [("lenet", 0.98), ("vgg", 0.5)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, share",
    [
        pytest.param(*row, marks=() if row in FAST else pytest.mark.slow)
        for row in itertools.product(MODELS, (0.0, 0.5, 0.98, 1.0))
    ],
)
def test_all_forms_have_the_networks_logits(name, share, tmp_path):
    variables = pruned(name, share, seed=int(100 * share))
    images, expected = logits(name, variables)
    whole = chain(MODELS[name], variables)
    small = shrink(whole, IMAGES[name])
    for form in (whole, small):
        assert_same(run(form, images), expected)
        for ending in ("npz", "safetensors"):
            path = tmp_path / f"network.{ending}"
            form.save(path)
            loaded = Chain.load(path)
            assert loaded.kinds == form.kinds
            jax.tree.map(np.testing.assert_array_equal, loaded.params, form.params)
        layers = [
            export.csr(params) if kind == "dense" else params
            for kind, params in zip(form.kinds, form.params, strict=True)
        ]
        stored = size(Chain(form.kinds, tuple(layers)), IMAGES[name])
        zeros = sum(
            np.size(params["kernel"]) - np.count_nonzero(params["kernel"])
            for kind, params in zip(form.kinds, form.params, strict=True)
            if kind == "dense"
        )
        whole_size = size(form, IMAGES[name])
        assert stored.parameters == whole_size.parameters - zeros
        assert stored.multiply_adds == whole_size.multiply_adds - zeros
    assert size(small, IMAGES[name]).parameters <= size(whole, IMAGES[name]).parameters
    if share >= 0.9:
        assert size(small, IMAGES[name]).multiply_adds < (
            size(whole, IMAGES[name]).multiply_adds / 2
        )


@pytest.mark.parametrize("name", ["lenet", pytest.param("vgg", marks=pytest.mark.slow)])
def test_nothing_is_left_to_shrink(name):
    """A shrunk network, and an intact one, stay as they are."""
    small = shrink(chain(MODELS[name], pruned(name, 0.9)), IMAGES[name])
    again = shrink(small, IMAGES[name])
    assert size(again, IMAGES[name]) == size(small, IMAGES[name])
    whole = chain(MODELS[name], trained(name))
    assert size(shrink(whole, IMAGES[name]), IMAGES[name]) == size(whole, IMAGES[name])


def test_a_chain_that_begins_with_flatten_takes_whole_images():
    kernel = np.ones((12, 2), np.float32)
    kernel[::3] = 0  # channel 0 of 2 x 2 positions of 3 channels
    dense = {"kernel": kernel, "bias": np.zeros(2, np.float32)}
    whole = Chain(("flatten", "dense"), ({}, dense))
    images = np.random.default_rng(0).normal(size=(5, 2, 2, 3)).astype(np.float32)
    small = shrink(whole, (2, 2, 3))
    # Another program: another order of the sums.
    np.testing.assert_allclose(run(small, images), run(whole, images), rtol=1e-5)


def kernels(chain):
    return [params["kernel"] for params in chain.params if "kernel" in params]


def test_a_neuron_without_input_becomes_a_bias():
    variables = trained("lenet")
    variables["params"]["Dense_1"]["kernel"][:, :30] = 0
    small = shrink(chain(LENET, variables), IMAGES["lenet"])
    assert [kernel.shape for kernel in kernels(small)][-2:] == [(120, 54), (54, 10)]
    bias = np.maximum(variables["params"]["Dense_1"]["bias"][:30], 0)
    moved = bias @ variables["params"]["Dense_2"]["kernel"][:30]
    expected = variables["params"]["Dense_2"]["bias"] + moved
    np.testing.assert_allclose(small.params[-1]["bias"], expected, rtol=1e-5)


def test_a_channel_without_output_and_positions_without_output():
    """Channel 3 is left out, and position 7 (of 5 x 5) of channel 4 is not taken."""
    variables = trained("lenet")
    rows = variables["params"]["Dense_0"]["kernel"].reshape(25, 16, 120)
    rows[:, 3], rows[7, 4] = 0, 0
    small = shrink(chain(LENET, variables), IMAGES["lenet"])
    shapes = [kernel.shape for kernel in kernels(small)]
    assert shapes[1:3] == [(3, 3, 6, 15), (374, 120)]
    kept = small.params[small.kinds.index("flatten")]["kept"]
    assert set(range(375)) - set(kept.tolist()) == {7 * 15 + 3}


@pytest.mark.slow
def test_a_constant_channel_before_padding_stays():
    """At the borders, zeros would take its place."""
    variables = trained("vgg")
    variables["params"]["Conv_0"]["kernel"][..., 2] = 0
    small = shrink(chain(VGG_LIKE, variables), IMAGES["vgg"])
    assert kernels(small)[0].shape[-1] == 6
    variables["params"]["Conv_2"]["kernel"][..., 1] = 0  # the last: no padding follows
    small = shrink(chain(VGG_LIKE, variables), IMAGES["vgg"])
    assert kernels(small)[2].shape[-1] == 2
    images, expected = logits("vgg", variables)
    assert_same(run(small, images), expected)


@pytest.mark.parametrize(
    ("name", "layer", "part", "value"),
    [
        ("lenet", "Conv_1", "kernel", np.nan),
        ("lenet", "Dense_0", "bias", np.nan),
        ("lenet", "Dense_1", "bias", np.inf),
        ("lenet", "Dense_1", "bias", -np.inf),  # no NaN: relu makes it 0
        ("lenet", "Dense_2", "kernel", np.nan),
        ("vgg", "BatchNorm_2", "scale", np.nan),
        ("vgg", "Conv_0", "kernel", np.inf),
    ],
)
def test_nan_stays_nan(name, layer, part, value):
    """Also where the unit has no output: 0 * NaN is NaN."""
    variables = pruned(name, 0.9)
    layers = variables["params"]
    layers[layer][part][..., 1] = value
    following = {"Conv_1": "Dense_0", "Dense_0": "Dense_1", "Dense_1": "Dense_2"}
    if layer in following:
        kernel = layers[following[layer]]["kernel"]
        kernel.reshape(-1, layers[layer]["bias"].size, kernel.shape[-1])[:, 1] = 0
    whole = chain(MODELS[name], variables)
    images, _ = logits(name, variables)
    found = run(shrink(whole, IMAGES[name]), images)
    expected = run(whole, images)
    assert np.isnan(expected).any() != (value == -np.inf)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_multiply_adds_by_hand():
    convolutions = 26 * 26 * 9 * 6 + 11 * 11 * 9 * 6 * 16
    assert size(chain(LENET, trained("lenet")), (28, 28, 1)) == (
        60_074,
        convolutions + 58_920,
        60_074 * 4,
    )


def test_a_scale_costs_a_product_per_entry():
    scale = {"scale": np.ones(3), "offset": np.zeros(3)}
    assert size(Chain(("scale",), (scale,)), (4, 5, 3)) == (6, 4 * 5 * 3, 6 * 8)


def test_a_file_gives_the_chain_back(tmp_path):
    layers = {"kernel": np.eye(3, 2), "bias": np.zeros(2)}, {}, {"kernel": np.ones(2)}
    made = Chain(("dense", "relu", "dense"), layers)
    made.save(tmp_path / "chain.npz")
    loaded = Chain.load(tmp_path / "chain.npz")
    assert loaded.kinds == made.kinds
    jax.tree.map(np.testing.assert_array_equal, loaded.params, layers)


def test_what_cannot_be_a_chain(tmp_path):
    with pytest.raises(TypeError, match="chain got Dense; expected LeNet5 or VGG"):
        chain(nn.Dense(3), {"params": {}})
    export.save(tmp_path / "a.npz", {"kernel": np.ones(2)})
    with pytest.raises(ValueError, match=r"a\.npz holds parameters, but no chain"):
        Chain.load(tmp_path / "a.npz")
