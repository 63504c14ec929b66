"""Projecting conflicting gradients (PCGrad)."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from bopt.weightings.weighting import Weighting, visible


def pcgrad(seed: ArrayLike = 0) -> Weighting:
    """Weights of the sum of the gradients, each without what conflicts with others.

    Each gradient is projected onto the normal plane of every other with which it then
    conflicts, one after another in random order. For two objectives, the sum conflicts
    with neither.

    Args:
      seed: random seed of the orders; an integer, which may be traced.

    Returns:
      A `bopt.Weighting` whose state is a random key, as an array of uint32. Its weights
      are at least 1 each; a common factor of the gradients does not change them. NaN
      in, NaN out. It takes m rounds of m^2 operations.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[3.0, 0.0], [-3.0, 4.0]])
      >>> weighting = bopt.pcgrad()
      >>> weights, _ = weighting.update(jac @ jac.T, None, weighting.init(2))
      >>> print(*(f"{w:.2f}" for w in weights))
      2.00 1.36

    Source: T. Yu, S. Kumar, A. Gupta, S. Levine, K. Hausman, C. Finn, *Gradient surgery
    for multi-task learning* (NeurIPS 2020), algorithm 1.
    """

    def update(gram, values, state):
        del values
        key, own = jax.random.split(jax.random.wrap_key_data(state))
        m = gram.shape[0]
        orders = jnp.argsort(jax.random.uniform(own, (m, m)), axis=1)
        return _weights(gram, orders), jax.random.key_data(key)

    return Weighting(lambda m: jax.random.key_data(jax.random.key(seed)), update)


@jax.jit  # else every call outside jit would compile the loop anew
def _weights(gram: jax.Array, orders: jax.Array) -> jax.Array:
    """All gradients in parallel: row i meets the others in the order of orders[i]."""
    index = jnp.arange(gram.shape[0])
    squares = jnp.diagonal(gram)

    def body(turn, weights):
        other = orders[:, turn]
        product = jnp.sum(weights * gram[other], axis=1)
        conflict = (product < 0) & (other != index)
        squared = squares[other]
        share = jnp.where(conflict, product / jnp.where(squared > 0, squared, 1), 0)
        return weights.at[index, other].add(-share)

    # Not a constant, see `min_norm_of_many`; NaN where the gram matrix is not finite.
    start = jnp.eye(gram.shape[0], dtype=gram.dtype) + 0 * gram
    return visible(gram, lax.fori_loop(0, gram.shape[0], body, start).sum(axis=0))
