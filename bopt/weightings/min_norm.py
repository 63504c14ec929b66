"""The point of least norm in the convex hull of the gradients."""

from typing import Literal

import jax
import jax.numpy as jnp

from bopt.weightings._active_set import inverse_norms, min_norm_of_many
from bopt.weightings.weighting import Weighting

Normalization = Literal["l2", "loss", "loss+"]

_SMALLEST_VALUE = 1e-8  # an objective that reaches 0 (all pruned) must not divide by it


def min_norm(normalize: Normalization | None = None) -> Weighting:
    """The point of least norm in the convex hull of the gradients.

    Its negative decreases all objectives at once, by the same amount where no
    gradient dominates; it is 0 exactly where the parameters are Pareto-stationary.
    Two objectives have the closed form of the paper's code, each weight from its own
    numerator; equal gradients give (1, 0). More are solved by an active-set method on
    the diagonally scaled gram matrix, inside jit.

    Args:
      normalize: what each gradient is multiplied by before the point is sought; the
        weights returned are those of the unscaled gradients, with sum 1.
        None: nothing. ``"l2"``: 1 / its norm. ``"loss"``: 1 / its objective's value.
        ``"loss+"``: 1 / (value * norm). The last two need
        ``update(..., values=values)`` and positive values (below 1e-8 they count as
        1e-8).

    Returns:
      A weighting ``(gram (m, m), values (m,) or None) -> weights (m,)`` on the unit
      simplex. NaN in, NaN out.

    Raises:
      ValueError: an unknown `normalize`; or, when called, missing values.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
      >>> weights = bopt.min_norm()(jac @ jac.T, None)
      >>> print(weights.round(6), (weights @ jac).round(6))
      [0.6 0.4] [0. 1. 1.]

    Source: S. Liu, L. N. Vicente, *The stochastic multi-gradient algorithm for
    multi-objective optimization* (Annals of Operations Research 2021), the subproblem
    of the multi-gradient; normalisations as in the code of arXiv 2008.13590.
    """
    if normalize not in (None, "l2", "loss", "loss+"):
        raise ValueError(
            f"min_norm got normalize={normalize!r}; expected None, 'l2', 'loss' or "
            "'loss+'."
        )

    def weighting(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        if normalize is None:
            return _min_norm_point(gram)
        scale = _scales(normalize, gram, values)
        weights = scale * _min_norm_point(scale[:, None] * gram * scale[None, :])
        return weights / jnp.sum(weights)

    return weighting


def _scales(normalize: str, gram: jax.Array, values: jax.Array | None) -> jax.Array:
    """The positive factor of each row under a normalisation, (m,)."""
    scale = jnp.ones_like(gram[0])
    if normalize in ("l2", "loss+"):
        scale *= inverse_norms(gram)
    if normalize in ("loss", "loss+"):
        if values is None:
            raise ValueError(
                f"min_norm(normalize={normalize!r}) divides by the objective values: "
                "call update(jac, state, params, values=values) with the values of "
                "bopt.value_and_jac."
            )
        if jnp.shape(values) != scale.shape:
            raise ValueError(
                f"update got values of shape {jnp.shape(values)}; expected "
                f"{scale.shape}, one an objective."
            )
        scale /= jnp.maximum(jnp.asarray(values).astype(gram.dtype), _SMALLEST_VALUE)
    return scale


def _min_norm_point(gram: jax.Array) -> jax.Array:
    """argmin of w' gram w over the unit simplex, (m,)."""
    if gram.shape[0] == 1:
        return jnp.ones_like(gram[0])
    if gram.shape[0] == 2:
        return _min_norm_of_two(gram)
    return min_norm_of_many(gram)


def _min_norm_of_two(gram: jax.Array) -> jax.Array:
    g00, g01, g11 = gram[0, 0], gram[0, 1], gram[1, 1]
    # Each weight from its own numerator: w1 is often 1e-6, and 1 - w0 would have
    # lost it. The comparison is False for NaN, which therefore reaches the weights.
    numerators = jnp.stack([g11 - g01, g00 - g01])
    # Their sum, not g00 + g11 - 2 * g01: for nearly equal rows it is rounded otherwise,
    # and the weights would add up to less than 1.
    denominator = numerators.sum()
    equal = denominator <= 0
    weights = numerators / jnp.where(equal, 1, denominator)
    one_zero = jnp.zeros_like(weights).at[0].set(1)
    return jnp.where(equal, one_zero, jnp.clip(weights, 0, 1))
