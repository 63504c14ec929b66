"""The mean gradient, projected onto the dual cone of the gradients (GEM)."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bopt.weightings._dual_cone import check_ridge, project
from bopt.weightings.weighting import Weighting, as_weighting


def dual_projection(ridge: ArrayLike = 1e-4) -> Weighting:
    """Weights of the direction nearest to the mean gradient that conflicts with none.

    Where the mean has no negative inner product with a gradient, the weights are 1/m.

    Args:
      ridge: what is added to the diagonal of gram / trace, see `bopt.upgrad`.

    Returns:
      A `bopt.Weighting` without state. Its weights are at least 1/m each; a common
      factor of the gradients does not change them. NaN in, NaN out. It solves one
      program of m variables, by a few Cholesky factorizations.

    Raises:
      ValueError: a `ridge` that is not above 0.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[2.0, 0.0], [-3.0, 4.0]])
      >>> weights, _ = bopt.dual_projection().update(jac @ jac.T, None, ())
      >>> print(*(f"{w:.2f}" for w in weights))
      0.75 0.50

    Source: D. Lopez-Paz, M. Ranzato, *Gradient episodic memory for continual learning*
    (NeurIPS 2017), equation 11, with the mean gradient as the proposed direction.
    """
    check_ridge("dual_projection", ridge)

    def weights_of(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        del values
        mean = jnp.full_like(gram[0], 1 / gram.shape[0])
        return project(gram, mean, jnp.asarray(ridge).astype(gram.dtype))

    return as_weighting(weights_of)
