"""The direction with equal projections onto all gradients (IMTL-G)."""

import jax
import jax.numpy as jnp

from bopt.weightings._active_set import inverse_norms
from bopt.weightings._unit_rows import equal_angles
from bopt.weightings.weighting import Weighting, as_weighting, visible


def imtl_g() -> Weighting:
    """Weights of the direction with equal projections onto all gradients.

    The direction depends on the gradients' angles only, up to its length and sign: the
    weights add up to 1, as published, and where they would have a negative sum, it
    ascends along every gradient.

    Returns:
      A `bopt.Weighting` without state. Weights may be negative, and are large where
      they nearly cancel (0 if they cancel); a zero gradient gets weight 0. A common
      factor of the gradients does not change them. For dependent gradients, the
      projections are equal in the least squares sense. NaN in, NaN out. It needs an
      eigendecomposition of m by m.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[3.0, 0.0], [-3.0, 4.0]])
      >>> weights, _ = bopt.imtl_g().update(jac @ jac.T, None, ())
      >>> print(*(f"{w:.2f}" for w in weights))
      0.62 0.38

    Source: L. Liu, Y. Li, Z. Kuang, J.-H. Xue, Y. Chen, W. Yang, Q. Liao, W. Zhang,
    *Towards impartial multi-task learning* (ICLR 2021), equation 4.
    """

    return as_weighting(lambda gram, values: _weights(gram))


@jax.jit
def _weights(gram: jax.Array) -> jax.Array:
    weights, _ = equal_angles(gram)
    scale = inverse_norms(gram)
    # Relative to the largest, so that the sum neither overflows nor vanishes.
    weights *= scale / jnp.max(scale)
    total = jnp.sum(weights)
    noise = jnp.finfo(gram.dtype).eps * jnp.sum(jnp.abs(weights))
    none = jnp.abs(total) <= noise
    return visible(gram, jnp.where(none, 0, weights / jnp.where(none, 1, total)))
