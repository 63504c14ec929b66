"""The weighted sum."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bopt.weightings._arguments import checked_vector, vector_for
from bopt.weightings.weighting import Weighting, as_weighting


def fixed(weights: Any) -> Weighting:
    """Given weights: the weighted sum of the objectives.

    Args:
      weights: (m,) non-negative weights, used without normalisation. They may be
        traced, so that a sweep over weights compiles once. Entries of a list may be
        schedules over the steps so far, such as ``optax.linear_schedule(0, 3e-4,
        1_000)`` for a penalty that begins slowly.

    Returns:
      A `bopt.Weighting`; its state is the number of steps, or without schedules ``()``.

    Raises:
      ValueError: weights that are not a vector, negative or not finite; in `update`,
        another number of weights than objectives.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> weights, _ = bopt.fixed([1.0, 3e-4]).update(jnp.eye(2), None, ())
      >>> print(weights)
      [1.e+00 3.e-04]

    Source: the weighted-sum scalarisation of arXiv 2008.13590.
    """
    if isinstance(weights, list | tuple) and any(map(callable, weights)):
        return _scheduled(weights)
    weights = checked_vector("fixed", "weights", weights)

    def weights_of(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        del values
        return vector_for("fixed", "weights", weights, gram)

    return as_weighting(weights_of)


def _scheduled(entries: Sequence[Any]) -> Weighting:
    fixed([0.0 if callable(entry) else entry for entry in entries])  # checks them

    def update(gram, values, step):
        now = [entry(step) if callable(entry) else entry for entry in entries]
        own = jnp.stack([jnp.asarray(weight, gram.dtype) for weight in now])
        return fixed(own).update(gram, values, ())[0], optax.safe_increment(step)

    return Weighting(init=lambda m: jnp.zeros([], jnp.int32), update=update)
