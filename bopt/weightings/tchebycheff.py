"""Smooth Tchebycheff scalarization."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from bopt.weightings._arguments import (
    check_number,
    checked_vector,
    needed_values,
    vector_for,
)
from bopt.weightings.weighting import Weighting, as_weighting


def tchebycheff(preference: Any, mu: ArrayLike = 0.1) -> Weighting:
    """Weights of the gradient of the smooth maximum of the weighed values.

    The scalarization is mu log sum_i exp(preference_i value_i / mu), at most mu log(m)
    above the largest preference_i value_i. For a small mu, every Pareto optimal point
    is close to the minimum for some preference, also on the parts of a front that are
    not convex, which `bopt.fixed` does not reach.

    Args:
      preference: (m,) non-negative numbers; they may be traced, so that a sweep over
        them compiles once. Where all objectives count, preference_i value_i is equal
        for all. Values are distances from 0: subtract a lower bound other than 0 from
        the objective.
      mu: smoothing, above 0, in units of the weighed values; the smaller, the more the
        largest of them gets all weight.

    Returns:
      A `bopt.Weighting` without state: preference * softmax(preference * values /
      mu). It needs ``update(..., values=values)`` and does not depend on the gradients.
      NaN in, NaN out.

    Raises:
      ValueError: a `preference` that is not a vector, negative or not finite; a `mu`
        that is not above 0; in `update`, missing values or another number of them.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> weighting = bopt.tchebycheff([0.5, 0.5], mu=0.1)
      >>> weights, _ = weighting.update(jnp.eye(2), jnp.array([1.0, 0.8]), ())
      >>> print(*(f"{w:.2f}" for w in weights))
      0.37 0.13

    Source: X. Lin, X. Zhang, Z. Yang, F. Liu, Z. Wang, Q. Zhang, *Smooth Tchebycheff
    scalarization for multi-objective optimization* (ICML 2024), equations 10 and 11.
    """
    preference = checked_vector("tchebycheff", "preferences", preference)
    expected = "a finite number above 0"
    check_number("tchebycheff", "mu", mu, lambda value: 0 < value < np.inf, expected)

    def weights_of(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        own = vector_for("tchebycheff", "preferences", preference, gram)
        weighed = own * needed_values("tchebycheff", gram, values)
        return own * jax.nn.softmax(weighed / jnp.asarray(mu).astype(gram.dtype))

    return as_weighting(weights_of)
