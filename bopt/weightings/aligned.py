"""Gradients with their principal components made equally long (Aligned-MTL)."""

import jax
import jax.numpy as jnp

from bopt.weightings.weighting import Weighting, as_weighting, visible


def aligned() -> Weighting:
    """Weights that make the gradients orthogonal, as long as their weakest component.

    The gradients are replaced by the nearest orthogonal ones, times the smallest
    singular value of the jacobian, and averaged. One gradient that dominates, or two
    that oppose each other, shorten the step.

    Returns:
      A `bopt.Weighting` without state: sqrt(l) gram^(-1/2) 1/m, where l is the smallest
      positive eigenvalue. Eigenvalues below m eps times the largest count as 0, for
      example where the norms of two gradients differ by 2,000 (float32); all gradients
      0: weights 1/m. A common factor of the gradients does not change them; weights may
      be negative. NaN in, NaN out. It needs an eigendecomposition of m by m.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[3.0, 0.0], [-3.0, 4.0]])
      >>> weights, _ = bopt.aligned().update(jac @ jac.T, None, ())
      >>> print(*(f"{w:.2f}" for w in weights))
      0.56 0.37

    Source: D. Senushkin, N. Patakin, A. Kuznetsov, A. Konushin, *Independent component
    alignment for multi-task learning* (CVPR 2023), algorithm 1.
    """

    return as_weighting(lambda gram, values: _weights(gram))


@jax.jit
def _weights(gram: jax.Array) -> jax.Array:
    m = gram.shape[0]
    # By a power of two, so that a common factor changes no rounding.
    _, exponent = jnp.frexp(jnp.max(jnp.diagonal(gram)))
    squares, basis = jnp.linalg.eigh(jnp.ldexp(gram, -exponent))
    positive = squares > m * jnp.finfo(gram.dtype).eps * squares[-1]
    smallest = jnp.min(jnp.where(positive, squares, jnp.inf))
    factors = jnp.sqrt(smallest / jnp.where(positive, squares, jnp.inf))
    weights = basis @ (factors * basis.mean(axis=0))
    return visible(gram, jnp.where(positive.any(), weights, 1 / m))
