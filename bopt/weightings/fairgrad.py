"""Gradients weighed by alpha-fairness (FairGrad)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from bopt.weightings._arguments import check_number
from bopt.weightings._fair import fair_weights
from bopt.weightings.weighting import Weighting, as_weighting


def fairgrad(alpha: ArrayLike = 2.0) -> Weighting:
    """Weights of the alpha-fair direction, between the sum and the worst objective.

    The direction d maximizes sum_i (g_i'd)^(1 - alpha) / (1 - alpha) per unit of
    length: near alpha = 0 the sum of the gradients' decreases, for 1 their product
    (`bopt.nash`), for 2 it minimizes the sum of 1 / decrease, and for large ones it
    favors the objective that decreases least.

    Args:
      alpha: a number above 0.

    Returns:
      A `bopt.Weighting` without state: weights w > 0 with gram w = w^(-1/alpha). They
      change with a common factor f of the gradients, by f^(-2 alpha / (1 + alpha)):
      where their norms lie outside 1e-12 to 1e12, the direction's length is that of
      the scaled gradients, see `bopt.Weighting`. Zero gradients, Pareto stationarity,
      NaN and cost as `bopt.nash`. NaN also where 200 steps of Newton's method do not
      suffice.

    Raises:
      ValueError: an `alpha` that is not above 0.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[3.0, 0.0], [-3.0, 4.0]])
      >>> weights, _ = bopt.fairgrad(2.0).update(jac @ jac.T, None, ())
      >>> print(*(f"{w:.2f}" for w in weights))
      0.40 0.23

    Source: H. Ban, K. Ji, *Fair resource allocation in multi-task learning* (ICML
    2024), equation 4.
    """
    expected = "a finite number above 0 (for 0, the plain sum, use bopt.fixed)"
    check_number("fairgrad", "alpha", alpha, lambda value: 0 < value < np.inf, expected)

    def weights_of(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        del values
        return fair_weights(gram, jnp.asarray(alpha).astype(gram.dtype))

    return as_weighting(weights_of)
