"""Projections onto the dual cone of the gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bopt.weightings._arguments import check_number
from bopt.weightings.weighting import visible


def check_ridge(factory: str, ridge: Any) -> None:
    """Raise ValueError unless the ridge makes every gram matrix positive definite."""
    expected = "a finite number above 0, such as the published 1e-4"
    check_number(factory, "ridge", ridge, lambda value: 0 < value < np.inf, expected)


@jax.jit  # else every call outside jit would compile the loop anew
def project(gram: jax.Array, target: jax.Array, ridge: jax.Array) -> jax.Array:
    """Weights of the projection of ``target @ rows`` onto the dual cone, (m,).

    The dual cone of the rows holds the directions whose inner products with all rows
    are non-negative. The weights are argmin of v'(gram / trace + ridge I)v over
    v >= target, by block principal pivoting: each round solves for the free entries
    of v - target >= 0 and exchanges all that violate the optimality conditions between
    free and fixed; where their number no longer falls, only the last one. It takes few
    rounds however large m is.

    Source: J. J. Judice, F. M. Pires, *A block principal pivoting algorithm for
    large-scale strictly monotone linear complementarity problems*, Computers &
    Operations Research 21 (1994).
    """
    m, dtype = gram.shape[0], gram.dtype
    index, identity = jnp.arange(m), jnp.eye(m, dtype=dtype)
    trace = jnp.trace(gram)
    matrix = gram / jnp.where(trace == 0, 1, trace) + ridge * identity
    slope = matrix @ target

    def body(state):
        free, _, fewest, patience, _, step = state
        system = jnp.where(free[:, None] & free[None, :], matrix, identity)
        factors = jax.scipy.linalg.cho_factor(system)
        rise = jax.scipy.linalg.cho_solve(factors, jnp.where(free, -slope, 0))
        noise = 4 * jnp.finfo(dtype).eps * (jnp.abs(matrix) @ (jnp.abs(rise) + target))
        wrong = jnp.where(free, rise < 0, matrix @ rise + slope < -noise)
        number = jnp.sum(wrong)
        patience = jnp.where(number < fewest, 3, patience - 1)
        last = index == jnp.max(jnp.where(wrong, index, -1))
        free = free ^ jnp.where(patience >= 0, wrong, wrong & last)
        fewest = jnp.minimum(fewest, number)
        return free, rise, fewest, patience, number == 0, step + 1

    def going(state):
        *_, done, step = state
        return ~done & (step < 4 * m + 8)

    # No constants, because a carry varies over the mesh axes of the gram matrix
    # (`jax.shard_map`).
    free = slope < 0
    number = jnp.sum(free)
    start = free, 0 * slope, number + m, 0 * number, number < 0, jnp.array(0)
    rise = lax.while_loop(going, body, start)[1]
    return visible(gram, target + jnp.maximum(rise, 0))
