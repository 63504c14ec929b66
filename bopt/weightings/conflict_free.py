"""The conflict-free direction of equal angles (ConFIG)."""

import jax
import jax.numpy as jnp

from bopt.weightings._active_set import inverse_norms
from bopt.weightings._unit_rows import equal_angles
from bopt.weightings.weighting import Weighting, as_weighting, visible


def conflict_free() -> Weighting:
    """Weights of the direction with equal angles to all gradients, below 90 degrees.

    Its length is the sum of the projections of all gradients onto it: a gradient's norm
    changes the length only, and conflicts shorten the step. No gradient conflicts with
    it unless they are linearly dependent.

    Returns:
      A `bopt.Weighting` without state. Weights may be negative; a zero gradient gets
      weight 0. A common factor of the gradients does not change them. For dependent
      gradients, the angles are equal in the least squares sense; weights 0 where that
      leaves no direction. NaN in, NaN out. It needs an eigendecomposition of m by m.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[3.0, 0.0], [-3.0, 4.0]])
      >>> weights, _ = bopt.conflict_free().update(jac @ jac.T, None, ())
      >>> print(*(f"{w:.2f}" for w in weights))
      1.33 0.80

    Source: Q. Liu, M. Chu, N. Thuerey, *ConFIG: Towards conflict-free training of
    physics informed neural networks* (arXiv 2408.11104), equations 2 and 3.
    """

    return as_weighting(lambda gram, values: _weights(gram))


@jax.jit
def _weights(gram: jax.Array) -> jax.Array:
    weights, cosines = equal_angles(gram)
    scale = inverse_norms(gram)
    least = jnp.min(scale)
    # In units of the longest gradient, so that nothing overflows.
    length = jnp.sum(jnp.where(jnp.diagonal(gram) == 0, 0, least / scale) * cosines)
    square = weights @ cosines
    none = square <= 0
    factor = jnp.where(none, 0, length / jnp.where(none, 1, square))
    return visible(gram, factor * weights * (scale / least))
