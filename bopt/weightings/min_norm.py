"""The point of least norm in the convex hull of the gradients."""

from typing import Literal

import jax
import jax.numpy as jnp

from bopt.weightings._active_set import inverse_norms, min_norm_of_many
from bopt.weightings._arguments import positive_values
from bopt.weightings.weighting import Weighting, as_weighting

Normalization = Literal["l2", "loss", "loss+"]


def min_norm(normalize: Normalization | None = None) -> Weighting:
    """Weights of the point of least norm in the convex hull of the gradients (MGDA).

    The negative of this point decreases all objectives at once, by the same amount
    unless a gradient dominates; it is 0 exactly where the parameters are
    Pareto-stationary. For two objectives there is a closed form, in which equal
    gradients give (1, 0), and gradients that differ by a factor close to 1 all weight
    to the shorter. For more, an active-set method solves the diagonally scaled
    problem, inside jit.

    Args:
      normalize: factor of each gradient before the point is sought. None: 1.
        ``"l2"``: 1 / norm. ``"loss"``: 1 / value of the objective. ``"loss+"``:
        1 / (value * norm). The last two need ``update(..., values=values)`` and
        positive values; those below 1e-8 count as 1e-8.

    Returns:
      A `bopt.Weighting` without state. Its weights lie on the unit simplex and apply
      to the gradients without factors; a common factor of the gradients does not change
      them. NaN in, NaN out.

    Raises:
      ValueError: an unknown `normalize`; in `update`, missing values.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
      >>> weights, _ = bopt.min_norm().update(jac @ jac.T, None, ())
      >>> print(weights.round(6), (weights @ jac).round(6))
      [0.6 0.4] [0. 1. 1.]

    Source: S. Liu, L. N. Vicente, *The stochastic multi-gradient algorithm for
    multi-objective optimization* (Annals of Operations Research 2021), the subproblem
    of the multi-gradient; normalisations as in O. Sener, V. Koltun, *Multi-task
    learning as multi-objective optimization* (NeurIPS 2018).
    """
    known = normalize is None or isinstance(normalize, str)  # not an array
    if not known or normalize not in (None, "l2", "loss", "loss+"):
        raise ValueError(
            f"min_norm got normalize={normalize!r}; expected None, 'l2', 'loss' or "
            "'loss+'."
        )

    def weights_of(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        if normalize is None:
            return _min_norm_point(gram)
        scale = _scales(normalize, gram, values)
        weights = scale * _min_norm_point(scale[:, None] * gram * scale[None, :])
        return weights / jnp.sum(weights)

    return as_weighting(weights_of)


def _scales(normalize: str, gram: jax.Array, values: jax.Array | None) -> jax.Array:
    """The positive factor of each row under a normalisation, (m,)."""
    scale = jnp.ones_like(gram[0])
    if normalize in ("l2", "loss+"):
        scale *= inverse_norms(gram)
    if normalize in ("loss", "loss+"):
        scale /= positive_values(f"min_norm(normalize={normalize!r})", gram, values)
    # A common factor changes nothing. This one makes the longest scaled row's norm 1,
    # so that the products with the gram matrix do not overflow.
    longest = jnp.max(scale * jnp.sqrt(jnp.diagonal(gram)))
    return scale / jnp.where(longest == 0, 1, longest)


def _min_norm_point(gram: jax.Array) -> jax.Array:
    """argmin of w' gram w over the unit simplex, (m,)."""
    if gram.shape[0] == 1:
        return jnp.ones_like(gram[0])
    if gram.shape[0] == 2:
        return _min_norm_of_two(gram)
    return min_norm_of_many(gram)


def _min_norm_of_two(gram: jax.Array) -> jax.Array:
    g00, g01, g11 = gram[0, 0], gram[0, 1], gram[1, 1]
    # Each weight has its own numerator: w1 is often 1e-6 and would be lost in 1 - w0.
    numerators = jnp.stack([g11 - g01, g00 - g01])
    # Not g00 + g11 - 2 * g01, whose rounding differs for nearly equal rows: the weights
    # would add up to less than 1. The comparison is False for NaN, which passes on.
    denominator = numerators.sum()
    weights = numerators / jnp.where(denominator <= 0, 1, denominator)
    weights = jnp.clip(weights, 0, 1)
    # But for rounding; a compiler may round the two uses of a numerator differently.
    parallel = (denominator <= 0) | (weights.sum() == 0)
    shorter = jnp.stack([g00 <= g11, g11 < g00]).astype(gram.dtype)
    return jnp.where(parallel, shorter, weights)
