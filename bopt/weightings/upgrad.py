"""The mean of the gradients, each projected onto their dual cone (UPGrad)."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bopt.weightings._dual_cone import check_ridge, project
from bopt.weightings.weighting import Weighting, as_weighting


def upgrad(ridge: ArrayLike = 1e-4) -> Weighting:
    """Weights of UPGrad: project each gradient to conflict with none, then average.

    Its direction has no negative inner product with a gradient, but for the ridge. A
    gradient that is multiplied by a positive number contributes that number times as
    much, so the longest dominate. Unlike the point of least norm, it does not favor the
    shortest, and it is not 0 where one gradient is.

    Args:
      ridge: what is added to the diagonal of gram / trace, so that the projections
        exist for dependent gradients. The inner product with gradient i is at least
        -ridge * trace * weights[i]: with gradients of very different norms choose a
        smaller one, down to 1e-6 in float32.

    Returns:
      A `bopt.Weighting` without state. Its weights are at least 1/m each; a common
      factor of the gradients does not change them. NaN in, NaN out. It solves m
      programs of m variables at once, a few Cholesky factorizations each.

    Raises:
      ValueError: a `ridge` that is not above 0.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[3.0, 0.0], [-3.0, 4.0]])
      >>> weights, _ = bopt.upgrad().update(jac @ jac.T, None, ())
      >>> print(*(f"{w:.2f}" for w in weights))
      1.00 0.68

    Source: P. Quinton, V. Rey, *Jacobian descent for multi-objective optimization*
    (arXiv 2406.16232), equation 4 and proposition 1.
    """
    check_ridge("upgrad", ridge)

    def weights_of(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        del values
        return _weights(gram, jnp.asarray(ridge).astype(gram.dtype))

    return as_weighting(weights_of)


@jax.jit
def _weights(gram: jax.Array, ridge: jax.Array) -> jax.Array:
    m = gram.shape[0]
    targets = jnp.eye(m, dtype=gram.dtype) / m
    return jax.vmap(lambda target: project(gram, target, ridge))(targets).sum(axis=0)
