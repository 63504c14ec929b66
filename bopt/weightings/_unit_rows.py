"""The direction with the same inner product with all unit gradients."""

import jax
import jax.numpy as jnp

from bopt.weightings._active_set import inverse_norms


def equal_angles(gram: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weights of the unit rows whose combination x has u_i'x = 1 for all; these u_i'x.

    For dependent rows x is the least squares solution of least norm. A zero row gets
    weight 0.
    """
    scale = inverse_norms(gram)
    units = scale[:, None] * gram * scale[None, :]
    squares, basis = jnp.linalg.eigh(units)
    eps = len(gram) * jnp.finfo(gram.dtype).eps
    ones = (jnp.diagonal(gram) != 0).astype(gram.dtype)
    shares = ones @ basis
    # Neither directions nor parts of ones that are nothing but rounding.
    kept = (squares > eps * squares[-1]) & (jnp.abs(shares) > eps)
    weights = basis @ jnp.where(kept, shares / jnp.where(kept, squares, 1), 0)
    return ones * weights, units @ weights
