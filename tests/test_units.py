"""Units: found by probing, described by hand, and refused where they cannot be told."""

# Flax's unions of types know no tree's keys.
# pyright: reportArgumentType=false, reportIndexIssue=false

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import bopt
from bopt.models import VGG, LeNet5
from bopt.units import Layer, Slice

relu = jax.nn.relu


def shapes(**leaves):
    return {n: jax.ShapeDtypeStruct(shape, jnp.float32) for n, shape in leaves.items()}


def found(apply, params, inputs=(2, 6), **options):
    return bopt.units.find(apply, params, jnp.zeros(inputs), **options)


def parts(layer):
    """(path, axis) of the incoming, outgoing and other entries."""
    kinds = layer.incoming, layer.outgoing, layer.state
    return [{(part.path, part.axis) for part in kind} for kind in kinds]


def test_lenet5():
    model = LeNet5(widths=(2, 3, 5, 4))
    images = jnp.zeros((1, 28, 28, 1))
    params = jax.eval_shape(model.init, jax.random.key(0), images)
    units = bopt.units.find(model.apply, params, images)
    assert units.numbers == (2, 3, 5, 4)
    names = ["Conv_0", "Conv_1", "Dense_0", "Dense_1", "Dense_2"]
    for layer, name, following in zip(units.layers, names, names[1:], strict=False):
        assert layer.name == f"params/{name}"
        incoming = {(f"params/{name}/{leaf}", -1) for leaf in ("kernel", "bias")}
        assert parts(layer) == [incoming, {(f"params/{following}/kernel", -2)}, set()]
    assert units.layers[1].outgoing[0].owners == tuple(i % 3 for i in range(75))
    # By hand, with 1, 3, 2 and 4 units: positions * (inputs * outputs).
    expected = 676 * 9 * 1 + 121 * 9 * 1 * 3 + 75 * 2 + 2 * 4 + 4 * 10
    np.testing.assert_allclose(units.multiply_adds([1, 3, 2, 4]), expected)


def test_batch_normalization_belongs_to_its_convolution():
    """Also where all convolutions have the same width."""
    model = VGG(stages=((4, 2),), dropout=0.1, dense=(6,), classes=3)
    images = jnp.zeros((1, 4, 4, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def apply(params, x, stats):
        return model.apply({"params": params, "batch_stats": stats}, x)

    state = variables["batch_stats"]
    units = bopt.units.find(apply, variables["params"], images, state=state)
    assert [layer.name for layer in units.layers] == ["Conv_0", "Conv_1", "Dense_0"]
    assert units.numbers == (4, 4, 6)
    for number, taker in enumerate(["Conv_1/kernel", "Dense_0/kernel"]):
        conv, norm = f"Conv_{number}", f"BatchNorm_{number}"
        incoming = {f"{conv}/kernel", f"{conv}/bias", f"{norm}/scale", f"{norm}/bias"}
        statistics = {f"{norm}/mean", f"{norm}/var"}
        assert parts(units.layers[number]) == [
            {(path, -1) for path in incoming},
            {(taker, -2)},
            {(path, -1) for path in statistics},
        ]


def test_nnx_modules_have_names_without_boxes():
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(6, 5, rngs=rngs)
            self.out = nnx.Linear(5, 1, rngs=rngs)  # one output

        def __call__(self, x):
            return self.out(jnp.tanh(self.hidden(x)))

    graph, params = nnx.split(Network(nnx.Rngs(0)))
    with jax.numpy_rank_promotion("allow"):
        units = found(lambda params, x: nnx.merge(graph, params)(x), params)
    (layer,) = units.layers
    assert parts(layer)[:2] == [
        {("hidden/kernel", -1), ("hidden/bias", -1)},
        {("out/kernel", -2)},
    ]


def test_units_that_are_multiplied_are_one():
    """A gated layer, whose two kernels have the units in common."""
    params = shapes(gate=(6, 4), value=(6, 4), out=(4, 3))
    units = found(
        lambda p, x: (relu(x @ p["gate"]) * (x @ p["value"])) @ p["out"], params
    )
    (layer,) = units.layers
    assert parts(layer)[0] == {("gate", -1), ("value", -1)}


def test_depthwise_channels_are_those_before():
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(4, (1, 1))(x))
            x = nn.relu(nn.Conv(4, (3, 3), feature_group_count=4)(x))
            return nn.Dense(3)(x.mean((1, 2)))

    x = jnp.zeros((1, 5, 5, 2))
    with jax.numpy_rank_promotion("allow"):
        params = jax.eval_shape(Network().init, jax.random.key(0), x)["params"]
        units = found(lambda p, x: Network().apply({"params": p}, x), params, x.shape)
    (layer,) = units.layers
    assert {path for path, _ in parts(layer)[0]} == {
        f"Conv_{number}/{leaf}" for number in (0, 1) for leaf in ("kernel", "bias")
    }
    uses = dict(zip(dict(units.shapes), units.uses, strict=True))
    assert uses["Conv_0/kernel"] == uses["Conv_1/kernel"] == 25


def residual(p, x):
    x = relu(x @ p["w0"])
    x = x + relu(x @ p["w1"]) @ p["w2"]
    return x @ p["w3"]


RESIDUAL = shapes(w0=(6, 5), w1=(5, 7), w2=(7, 5), w3=(5, 3))
SQUARE = shapes(w=(6, 6), out=(6, 3))


def normalized(p, x):
    x = jax.nn.standardize(x @ p["w"], axis=-1)
    return x @ p["out"]


def branches(p, x):
    x = relu(x @ p["w"])
    return x @ p["a"] + relu(x @ p["b"])


@pytest.mark.parametrize(
    "apply, params, name",
    [
        (residual, RESIDUAL, "'w0'"),
        (lambda p, x: (x + relu(x @ p["w"])) @ p["out"], SQUARE, "'out'.*'w' alone"),
        (lambda p, x: relu(x @ p["w"]) @ p["w"].T, shapes(w=(6, 4)), "'w'"),
        (lambda p, x: relu(relu(x @ p["w"]) @ p["w"]) @ p["out"], SQUARE, "'w'"),
        (normalized, SQUARE, "'w'"),
        (lambda p, x: jax.nn.softmax(x @ p["out"]), shapes(out=(6, 3)), "'out'"),
        (lambda p, x: jax.nn.sigmoid(x @ p["w"]) @ p["out"], SQUARE, "'out'"),
        (branches, shapes(w=(6, 4), a=(4, 3), b=(4, 3)), "'w'"),
        (lambda p, x: x @ p["out"], shapes(out=(6, 3), odd=(2,)), "'odd'.*not"),
        (lambda p, x: {"logits": x @ p["out"]}, shapes(out=(6, 3)), "returns .*logits"),
    ],
    ids=[
        *("residual", "residual, from the input", "tied, transposed", "tied, twice"),
        *("layer normalization", "softmax", "sigmoid", "two takers", "unused", "tree"),
    ],
)
def test_what_cannot_be_told_is_refused_by_name(apply, params, name):
    with pytest.raises(ValueError, match=f"find got .*{name}"):
        found(apply, params)


def test_units_shared_with_a_kernel_that_is_laid_out_otherwise_are_refused():
    """The transposed kernel would not be cut."""

    def apply(p, x):
        return (x @ p["gate"] * (x @ p["value"].T)) @ p["out"]

    params = shapes(gate=(6, 4), value=(4, 6), out=(4, 3))
    with pytest.raises(ValueError, match="find got 'gate', whose 4 units"):
        found(apply, params, where="gate")


def test_the_inside_of_a_residual_block_can_be_selected():
    (layer,) = found(residual, RESIDUAL, where="w1").layers
    assert parts(layer)[:2] == [{("w1", -1)}, {("w2", -2)}]


def test_the_statistics_of_a_batch_are_refused():
    model = VGG(stages=((4, 1),), dropout=0.0)
    images = jnp.zeros((2, 4, 4, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def apply(params, x, stats):
        both = {"params": params, "batch_stats": stats}
        key = {"dropout": jax.random.key(0)}
        return model.apply(both, x, True, rngs=key, mutable=["batch_stats"])[0]

    with pytest.raises(ValueError, match=r"find got 'BatchNorm_0/mean', on which"):
        bopt.units.find(
            apply, variables["params"], images, state=variables["batch_stats"]
        )


# By hand

PARAMS = {
    "a": np.ones((2, 3), np.float32),
    "b": np.ones((2, 2), np.float32),
    "joined": np.ones((5, 4), np.float32),
    "out": np.ones((4, 3), np.float32),
}
A = Layer("a", 3, (Slice("a"),), (Slice("joined", 0, (0, 1, 2, -1, -1)),))
B = Layer("b", 2, (Slice("b"),), (Slice("joined", 0, (-1, -1, -1, 0, 1)),))
C = Layer("c", 4, (Slice("joined"),), (Slice("out", 0),))


def test_joined_layers_by_hand():
    units = bopt.units.describe(PARAMS, [A, B, C])
    assert units.layers[1].outgoing[0].axis == -2
    assert float(units.multiply_adds([1, 2, 3])) == 2 + 4 + 3 * 3 + 3 * 3
    changed = jax.tree.map(np.array, PARAMS)
    changed["out"][3] = 0
    changed["joined"][1, :3] = 0  # what is left of it goes to a unit left out
    changed["joined"][4] = 0
    kept = [list(map(bool, own)) for own in jax.jit(units.kept)(changed)]
    assert kept == [[True, False, True], [True, False], [True, True, True, False]]


def test_units_that_are_not_finite_stay_and_so_does_one():
    units = bopt.units.describe(PARAMS, [A, B, C])
    changed = jax.tree.map(np.zeros_like, PARAMS)
    changed["a"][1, 1] = np.nan
    kept = [list(map(bool, own)) for own in jax.jit(units.kept)(changed)]
    assert kept == [[False, True, False], [True, False], [True, False, False, False]]


@pytest.mark.parametrize(
    "layers, message",
    [
        (
            [Layer("a", 3, (Slice("x"),), (Slice("out"),))],
            r"'x' in .*'a'.*no leaf",
        ),
        ([Layer("a", 3, (Slice("a", 2),), (Slice("out"),))], r"'a'.*axis=2.*\(2, 3\)"),
        ([Layer("a", 2, (Slice("a"),), (Slice("out"),))], "'a'.*length 3.*its 2 units"),
        ([Layer("a", 3, (Slice("a", -1, (0, 1, 1)),), (Slice("out"),))], "'a'.*owners"),
        ([Layer("a", 3, (Slice("a"),), ())], "'a' without incoming or outgoing"),
        ([A, Layer("d", 5, (Slice("b", 0, (0, 1)),), (Slice("out"),))], "'b'.*owners"),
        ([C, Layer("d", 2, (Slice("b"),), (Slice("out", -2),))], "'c' and in 'd'.*one"),
    ],
)
def test_descriptions_that_do_not_fit_are_named(layers, message):
    with pytest.raises(ValueError, match=f"describe got .*{message}"):
        bopt.units.describe(PARAMS, layers)
    with pytest.raises(ValueError, match="describe got uses of 'x'"):
        bopt.units.describe(PARAMS, [A], uses={"x": 1})


# Widths of the models


@functools.cache
def tree(model, size):
    shape = jnp.zeros((1, *size))
    params = jax.eval_shape(model.init, jax.random.key(0), shape)["params"]
    return {
        name: own["kernel"].shape for name, own in params.items() if "kernel" in own
    }


def test_models_of_other_widths():
    sizes = tree(LeNet5(widths=(1, 2, 3, 4), classes=5), (28, 28, 1))
    assert list(sizes.values()) == [(3, 3, 1, 1), (3, 3, 1, 2), (50, 3), (3, 4), (4, 5)]
    small = {"stages": ((6, 2), (3, 1)), "dense": (20,), "dropout": 0.1}
    sizes = tree(VGG(**small, widths=(1, 2, 5, 7)), (8, 8, 3))
    assert list(sizes.values()) == [
        *((3, 3, 3, 1), (3, 3, 1, 2), (3, 3, 2, 5), (20, 7), (7, 10))
    ]
    defaults = VGG(**small, widths=(6, 6, 3, 20))
    assert tree(VGG(**small), (8, 8, 3)) == tree(defaults, (8, 8, 3))


@pytest.mark.parametrize(
    "model, size, message",
    [
        (LeNet5(widths=(6, 16, 120)), (28, 28, 1), r"LeNet5 got widths=\(6, 16, 120\)"),
        (LeNet5(widths=(6, 0, 1, 1)), (28, 28, 1), "LeNet5 got widths=.*4 numbers"),
        (VGG(widths=(1,) * 7), (32, 32, 3), "VGG got widths=.*expected 6 numbers"),
    ],
)
def test_wrong_widths_are_named(model, size, message):
    with pytest.raises(ValueError, match=message):
        tree(model, size)


def test_products_in_a_scan_count_as_often_as_it_runs():
    """And integers, such as a counter in the state, take no part."""

    def apply(params, x, counter):
        del counter
        rows = x.reshape(len(x), 3, 2)
        each = jax.lax.scan(
            lambda carry, row: (carry, row @ params["w1"]), 0, jnp.moveaxis(rows, 1, 0)
        )[1]
        return relu(each.sum(0)) @ params["w2"]

    params = shapes(w1=(2, 5), w2=(5, 4))
    counter = jax.ShapeDtypeStruct((), jnp.int32)
    units = found(apply, params, state=counter)
    assert units.numbers == (5,)
    assert float(units.multiply_adds([5])) == 3 * 2 * 5 + 5 * 4


def test_leaves_without_a_mask_keep_their_units():
    params = shapes(w1=(6, 3), w2=(3, 4))
    units = found(lambda p, x: relu(x @ p["w1"]) @ p["w2"], params)
    kept = units.kept_by({"w1": jnp.zeros((6, 3), bool)})
    assert [own.tolist() for own in kept] == [[True] * 3]
