"""The report: counts against NumPy, and its table."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportOperatorIssue=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import bopt

PARAMS = {
    "conv": jnp.ones((2, 2, 1, 3)),
    "one": {"kernel": jnp.array([[1.0, -2, 0], [0, 0, 0.5]]), "bias": jnp.zeros(3)},
    "two": {"kernel": jnp.zeros((3, 4), jnp.bfloat16), "bias": np.ones(4, np.float32)},
}  # fmt: skip


def test_counts():
    report = bopt.sparsity.report(PARAMS)
    assert report.layers == {
        "one/kernel": bopt.sparsity.Count(entries=6, nonzeros=3, l1=3.5, bytes=24),
        "two/kernel": bopt.sparsity.Count(entries=12, nonzeros=0, l1=0.0, bytes=24),
    }
    assert report.dense == bopt.sparsity.Count(18, 3, 3.5, 48)
    assert report.total == bopt.sparsity.Count(37, 19, 19.5, 124)
    assert report.dense_sparsity == pytest.approx(15 / 18)
    assert report.total_sparsity == pytest.approx(18 / 37)


def test_selection_of_what_counts_as_dense():
    report = bopt.sparsity.report(PARAMS, where=4)
    assert list(report.layers) == ["conv"]
    assert report.dense.entries == 12
    assert report.total == bopt.sparsity.report(PARAMS).total


def test_nan_is_not_zero():
    report = bopt.sparsity.report({"w": jnp.array([[jnp.nan, 0.0, -0.0]])})
    assert report.dense.nonzeros == 1
    assert np.isnan(report.dense.l1)


def test_agrees_with_what_prune_left():
    optimizer = bopt.prune(0.7)
    params = {"w": jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)}
    updates, state = optimizer.update(
        {"w": jnp.zeros((3, 4))}, optimizer.init(params), params
    )
    report = bopt.sparsity.report({"w": params["w"] + updates["w"]})
    assert report.dense.nonzeros == int(state.mask["w"].sum()) == 4


def test_table():
    assert str(bopt.sparsity.report(PARAMS)).splitlines() == [
        "layer         entries   nonzeros  sparsity          l1       bytes",
        "one/kernel          6          3    50.00%         3.5          24",
        "two/kernel         12          0   100.00%           0          24",
        "dense              18          3    83.33%         3.5          48",
        "total              37         19    48.65%        19.5         124",
    ]


def test_a_layer_called_dense_keeps_its_row():
    # Cause: rows in a dict, where the sum over all replaced the layer's own row.
    params = {"dense": jnp.ones((2, 2)), "out": jnp.zeros((1, 2)), "total": jnp.eye(2)}
    rows = [line.split()[:3] for line in str(bopt.sparsity.report(params)).splitlines()]
    assert rows[1:] == [
        ["dense", "4", "4"],
        ["out", "2", "0"],
        ["total", "4", "2"],
        ["dense", "10", "6"],
        ["total", "10", "6"],
    ]


def test_no_leaves():
    report = bopt.sparsity.report({})
    assert report.total == bopt.sparsity.Count(0, 0, 0, 0)
    assert report.total_sparsity == 0
    assert "total" in str(report)


def test_a_selection_of_nothing_is_refused():
    with pytest.raises(ValueError, match="matches none of the 5 leaves"):
        bopt.sparsity.report(PARAMS, where="Dense_*")


def test_keys_are_no_numbers():
    """The whole state of a model with dropout holds them."""
    key = jax.random.key(0)
    params = PARAMS | {"rngs": {"key": key, "keys": jax.random.split(key, (2, 2))}}
    assert bopt.sparsity.report(params) == bopt.sparsity.report(PARAMS)
    model = nnx.Dropout(0.1, rngs=nnx.Rngs(0))
    assert bopt.sparsity.report(model, where="*").total.entries == 1  # its counter


def test_integers_and_complex_numbers_are_counted():
    params = {
        "whole": np.array([[-128, 0]], np.int8),
        "complex": np.array([[3 + 4j, 0]], np.complex64),
        "flags": np.array([[True, False]]),
        "tiny": jnp.ones((1, 2), jnp.float8_e4m3fn),
        "number": 2.0,
    }
    report = bopt.sparsity.report(params, where="*")
    assert {name: row[:3] for name, row in report.layers.items()} == {
        "whole": (2, 1, 128.0),
        "complex": (2, 1, 5.0),
        "flags": (2, 1, 1.0),
        "tiny": (2, 2, 2.0),
        "number": (1, 1, 2.0),
    }


@pytest.mark.parametrize(
    "leaf, message",
    [
        ("relu", "type str and dtype <U4 at 'layer/name'; expected an array of num"),
        (
            jax.ShapeDtypeStruct((2,), float),
            "type ShapeDtypeStruct and dtype object at",
        ),
    ],
)
def test_leaves_without_numbers_are_named(leaf, message):
    with pytest.raises(ValueError, match=message):
        bopt.sparsity.report(PARAMS | {"layer": {"name": leaf}})
