"""Where the kept entries lie: n of m along an axis, and shares of the layers."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bopt

RNG = np.random.default_rng(0)


def pruned(pruning, params):
    """Parameters after an update of zeros."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(pruning.update)(zeros, pruning.init(params), params)
    return optax.apply_updates(params, updates)


@pytest.mark.parametrize(
    "shape, axis, n, m",
    [((8, 3), -2, 2, 4), ((3, 8), -1, 1, 4), ((3, 3, 16, 2), -2, 4, 8)],
)
def test_n_of_m_are_kept(shape, axis, n, m):
    w = RNG.normal(size=shape).astype(np.float32)
    link = bopt.prune_n_m(n, m, axis=axis, where="*")
    found = np.asarray(pruned(link, {"w": jnp.asarray(w)})["w"])
    groups = np.moveaxis(abs(w), axis, -1).reshape(-1, m)
    kept = np.moveaxis(found != 0, axis, -1).reshape(-1, m)
    assert (kept.sum(1) == n).all()
    largest = np.sort(groups, axis=1)[:, m - n :].sum(1)
    np.testing.assert_allclose((groups * kept).sum(1), largest, rtol=1e-6)
    np.testing.assert_array_equal(found[found != 0], w[found != 0])


def test_of_equal_entries_the_first_and_nan_are_kept():
    params = {"w": jnp.array([[1.0, 1.0, 1.0, 1.0, jnp.nan, 5.0, 6.0, 2.0]])}
    found = pruned(bopt.prune_n_m(2, 4, axis=-1), params)["w"]
    np.testing.assert_array_equal(found, [[1, 1, 0, 0, np.nan, 0, 6, 0]])


@pytest.mark.slow
def test_pruned_entries_stay_out_of_the_pattern():
    params = {"w": jnp.array([[0.0, 0.0, 0.0, 1.0]])}
    link = bopt.prune_n_m(2, 4, axis=-1, keep_zeros=True)
    moves = {"w": jnp.ones((1, 4))}
    updates, state = link.update(moves, link.init(params), params)
    np.testing.assert_array_equal(params["w"] + updates["w"], [[0, 0, 0, 2]])
    np.testing.assert_array_equal(state.mask["w"], [[False, False, False, True]])


SLOW = [
    pytest.param(*row, marks=pytest.mark.slow)
    for row in ((0.0, False), (0.5, True), (0.9, True), (0.98, False), (1.0, True))
]


@pytest.mark.parametrize("sparsity, scheduled", [(0.9, False), (0.98, True), *SLOW])
def test_erdos_renyi_shares(sparsity, scheduled):
    shapes = {"a": (784, 300), "b": (3, 3, 16, 32), "c": (300, 100), "d": (100, 10)}
    params = {
        k: jnp.asarray(RNG.normal(size=s), jnp.float32) for k, s in shapes.items()
    }
    value = (lambda step: jnp.float32(sparsity)) if scheduled else sparsity
    link = bopt.prune_to(value, scope="erdos_renyi", where="*")
    kept = {name: int((leaf != 0).sum()) for name, leaf in pruned(link, params).items()}
    sizes = {name: np.prod(shape) for name, shape in shapes.items()}
    total = sum(sizes.values())
    assert sum(kept.values()) == total - round(sparsity * total)
    # One factor for all layers but the full ones.
    factors = {name: kept[name] / sum(shapes[name]) for name in shapes}
    largest = max(factors.values())
    for name in shapes:
        near = abs(kept[name] - largest * sum(shapes[name])) <= 2 + 1e-2 * kept[name]
        assert near or kept[name] == sizes[name]
    assert sparsity < 1 or not any(kept.values())


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bopt.prune_n_m(5, 4), r"prune_n_m got n=5, m=4; expected 1 <= n <= m"),
        (
            lambda: bopt.prune_n_m(2, 4).init({"a": {"w": jnp.ones((6, 4))}}),
            r"axis=-2 with 'a/w' of shape \(6, 4\); expected an axis whose length 4 di",
        ),
        (
            lambda: bopt.prune_n_m(2, 4, axis=3).init({"w": jnp.ones((4, 4))}),
            r"axis=3 with 'w' of shape \(4, 4\); expected an axis",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
