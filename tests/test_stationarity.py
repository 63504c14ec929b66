"""Distance from Pareto stationary points: `bopt.stationarity`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bopt

stationarity = jax.jit(bopt.stationarity)


def rows(seed: int, m: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {
        "a": jnp.asarray(rng.normal(size=(m, 2, 3)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=(m, 4)), jnp.float32),
    }


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 5]))
def test_it_is_between_0_and_1_and_without_scale(seed, m):
    jac = rows(seed, m)
    found = stationarity(jac)
    assert found.shape == ()
    assert 0 <= found <= 1 + 1e-6
    larger = jax.tree.map(lambda leaf: 1e15 * leaf, jac)
    np.testing.assert_allclose(stationarity(larger), found, atol=1e-5)


@pytest.mark.parametrize("w1", [0.1, 0.5, 0.999])
def test_it_vanishes_at_the_minimum_of_a_weighted_sum(w1):
    """Where the weighted sum of x'Ax/2 and (x-1)'B(x-1)/2 has gradient 0."""
    a, b = jnp.diag(jnp.array([1.0, 2.0])), jnp.diag(jnp.array([3.0, 0.5]))
    x = jnp.linalg.solve((1 - w1) * a + w1 * b, w1 * b @ jnp.ones(2))
    jac = {"x": jnp.stack([a @ x, b @ (x - 1)])}
    assert bopt.stationarity(jac) < 1e-3
    away = {"x": jnp.stack([a @ (x + 1), b @ x])}
    assert bopt.stationarity(away) > 0.1


def test_gradients_that_agree_vanish_or_are_not_finite():
    row = rows(0, 1)
    same = jax.tree.map(lambda leaf: jnp.concatenate([leaf, 3 * leaf]), row)
    np.testing.assert_allclose(bopt.stationarity(same), 1, rtol=1e-6)
    gone = jax.tree.map(lambda leaf: leaf.at[1].set(0), same)
    assert bopt.stationarity(gone) == 0
    lost = same | {"b": same["b"].at[0, 0].set(jnp.nan)}
    assert np.isnan(bopt.stationarity(lost))


def test_only_the_selected_leaves_count():
    jac = rows(1, 2)
    expected = bopt.stationarity({"a": jac["a"]})
    assert bopt.stationarity(jac, where="a") == expected
    with pytest.raises(ValueError, match="matches no"):
        bopt.stationarity(jac, where="c")


@pytest.mark.parametrize("wrong", [jnp.ones((3, 2)), jnp.ones(())])
def test_leaves_of_other_numbers_of_rows_are_named(wrong):
    with pytest.raises(ValueError, match=r"at 'c'; expected \(2, \.\.\.\), one"):
        bopt.stationarity(rows(0, 2) | {"c": wrong})
