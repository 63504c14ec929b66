"""Conflict-averse gradient descent (CAGrad)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from bopt.weightings._active_set import (
    accurate_matvec,
    face_solver,
    scaled_by_powers,
)
from bopt.weightings._arguments import check_number
from bopt.weightings.weighting import Weighting, as_weighting, visible


def cagrad(c: ArrayLike = 0.5) -> Weighting:
    """Weights of the direction near the mean gradient with the largest worst decrease.

    The direction d maximizes the smallest inner product with a gradient among those
    with |d - g| <= c |g|, where g is the mean gradient: g itself for c = 0, and ever
    more like the point of least norm as c grows.

    Args:
      c: radius relative to the mean gradient's norm. Below 1, descent converges to a
        stationary point of the mean; the paper takes 0.2 to 0.8.

    Returns:
      A `bopt.Weighting` without state. Its weights are at least 1/m each; a common
      factor of the gradients does not change them. They are 0 where the parameters
      are Pareto stationary but for rounding (some convex combination of the gradients
      vanishes), because d is then not unique. NaN in, NaN out. The program has m
      variables and is solved by an active-set method, as `bopt.min_norm`.

    Raises:
      ValueError: a `c` that is negative or not finite.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[3.0, 0.0], [-3.0, 4.0]])
      >>> weights, _ = bopt.cagrad(0.5).update(jac @ jac.T, None, ())
      >>> print(*(f"{w:.2f}" for w in weights))
      0.83 0.50

    Source: B. Liu, X. Liu, X. Jin, P. Stone, Q. Liu, *Conflict-averse gradient descent
    for multi-task learning* (NeurIPS 2021), algorithm 1.
    """
    valid = "a finite, non-negative number"
    check_number("cagrad", "c", c, lambda value: 0 <= value < np.inf, valid)

    def weights_of(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        del values
        return _weights(gram, jnp.asarray(c).astype(gram.dtype))

    return as_weighting(weights_of)


@jax.jit  # else every call outside jit would compile the loop anew
def _weights(gram: jax.Array, c: jax.Array) -> jax.Array:
    """Mean weights plus those of the minimum over the simplex of g'rows'w + c|rows'w|.

    As in `min_norm_of_many`, w = s v, rows are scaled by powers of two, and each round
    finds the minimum over the affine hull of the free rows. That is the sum of its
    point of least norm and of a multiple of its point of steepest descent of the linear
    term; the multiple follows from the optimality conditions.
    """
    m, dtype = gram.shape[0], gram.dtype
    tiny = 4 * jnp.finfo(dtype).eps
    index = jnp.arange(m)
    scaled, exponents = scaled_by_powers(gram)
    s = jnp.ldexp(jnp.ones(m, dtype), exponents - jnp.max(exponents))
    shorter = exponents - jnp.min(exponents)  # than the longest row, as a power of two
    # In units of the longest row: inner products with the mean gradient, its norm.
    inner = jnp.ldexp(scaled, -shorter[None, :]).mean(axis=1)
    square = jnp.maximum(jnp.ldexp(inner, -shorter).mean(), 0)
    mean_norm = jnp.sqrt(square)
    linear = inner / jnp.where(square == 0, 1, mean_norm)

    def body(state):
        free, v, *_, step = state
        solve = face_solver(scaled, s, free)
        (nearest, descent), (level, slope) = jax.vmap(solve)(
            jnp.stack([jnp.zeros_like(linear), linear]), jnp.arange(1, -1, -1)
        )
        room = c**2 + linear @ descent
        bounded = room > tiny
        multiple = jnp.sqrt(jnp.maximum(level, 0) / jnp.where(bounded, room, 1))
        target = nearest + multiple * descent
        move = jnp.where(bounded, target - v, descent)
        blocking = free & jnp.where(bounded, target <= 0, descent < 0)
        inside = ~jnp.any(blocking)
        ratio = jnp.where(blocking, v / jnp.where(move < 0, -move, 1), jnp.inf)
        hit = blocking & (ratio <= jnp.min(ratio))
        walked = jnp.maximum(v + jnp.where(inside, 1, jnp.min(ratio)) * move, 0)
        v = jnp.where(inside, target, jnp.where(hit, 0, walked))
        gradient = accurate_matvec(scaled, v) + multiple * linear
        opposed = jnp.where(free, -jnp.inf, (level + multiple * slope) * s - gradient)
        enter = index == jnp.argmax(opposed)
        done = inside & ~(jnp.max(opposed) > tiny * (jnp.sum(v) + multiple))
        free = jnp.where(inside, free | (enter & ~done), free & ~hit)
        return free, v, multiple, done, step + 1

    def going(state):
        *_, done, step = state
        return ~done & (step < 4 * m + 8)

    shortest = index == jnp.argmin(jnp.diagonal(gram))
    not_done = ~jnp.any(shortest)  # varies as the gram matrix, see `min_norm_of_many`
    start = (shortest, shortest.astype(dtype) / s, 0 * square, not_done, jnp.array(0))
    _, v, multiple, *_ = lax.while_loop(going, body, start)
    stationary = c * multiple <= jnp.sqrt(tiny) * jnp.sum(v)
    stationary |= jnp.min(jnp.diagonal(gram)) == 0
    added = mean_norm * jnp.ldexp(v, shorter) / jnp.where(stationary, 1, multiple)
    moved = jnp.where(stationary, 0, 1 / m + added)
    return visible(gram, jnp.where(c * square == 0, 1 / m, moved))
