"""Penalties against their formulas, and their gradients at 0 and far from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bopt

W = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
SIZE = np.abs(np.asarray(W, np.float64))


@pytest.mark.parametrize("eps", [0.1, 2.0])
def test_the_log_penalty(eps):
    found = bopt.log_penalty({"kernel": W}, eps=eps)
    np.testing.assert_allclose(found, (eps * np.log1p(SIZE / eps)).sum(), rtol=1e-5)


@pytest.mark.parametrize("penalty", [bopt.l1, bopt.log_penalty, bopt.mcp])
@pytest.mark.parametrize("at_zero", [0.0, 1.0])
def test_near_0_it_is_the_l1_norm(penalty, at_zero):
    near = jnp.array([[1e-6, -1e-6, 0.0]])
    slopes = jax.grad(lambda w: penalty({"kernel": w}, at_zero=at_zero))(near)
    np.testing.assert_allclose(slopes, [[1, -1, at_zero]], rtol=1e-4)


@pytest.mark.parametrize("penalty", [bopt.log_penalty, bopt.mcp])
def test_large_entries_hardly_shrink(penalty):
    slopes = jax.grad(lambda w: penalty({"kernel": w}))(jnp.array([[0.1, 1.0, 1e3]]))
    assert slopes[0, 0] < 1 and (np.diff(slopes) <= 0).all()
    assert 0 <= slopes[0, -1] < 1e-3


def test_hoyer_square_counts_equal_entries_and_knows_no_scale():
    """It is the number of entries where they are equal, and less elsewhere."""
    for scale in (1e-3, 7.0):
        equal = {"kernel": jnp.array([[scale, -scale, scale, 0.0]])}
        np.testing.assert_allclose(bopt.hoyer_square(equal), 3, rtol=1e-6)
    found = bopt.hoyer_square({"kernel": W})
    np.testing.assert_allclose(found, SIZE.sum() ** 2 / (SIZE**2).sum(), rtol=1e-5)
    assert found < W.size


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: bopt.log_penalty(p, eps=0.0), "log_penalty got eps=0.0; expected a"),
        (lambda p: bopt.mcp(p, gamma=-1.0), "expected a positive number"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call({"kernel": W})
