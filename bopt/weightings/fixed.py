"""The weighted sum."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

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
    if not isinstance(weights, jax.Array):
        traced = any(isinstance(weight, Tracer) for weight in jax.tree.leaves(weights))
        weights = (jnp if traced else np).asarray(weights)
    if weights.ndim != 1:
        raise ValueError(
            f"fixed got weights of shape {weights.shape}; expected a vector (m,), "
            "one weight per objective."
        )
    traced = isinstance(weights, Tracer)
    if not traced and not all(0 <= w < np.inf for w in weights.tolist()):
        raise ValueError(
            f"fixed got weights {weights.tolist()}; expected finite, non-negative "
            "numbers."
        )

    def weights_of(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        del values
        if weights.shape != gram.shape[:1]:
            raise ValueError(
                f"fixed got {weights.shape[0]} weights for {gram.shape[0]} "
                "objectives; expected one weight per objective, as many as "
                "smgd's num_objectives."
            )
        return jnp.asarray(weights).astype(gram.dtype)

    return as_weighting(weights_of)


def _scheduled(entries: Sequence[Any]) -> Weighting:
    fixed([0.0 if callable(entry) else entry for entry in entries])  # checks them

    def update(gram, values, step):
        now = [entry(step) if callable(entry) else entry for entry in entries]
        own = jnp.stack([jnp.asarray(weight, gram.dtype) for weight in now])
        return fixed(own).update(gram, values, ())[0], optax.safe_increment(step)

    return Weighting(init=lambda m: jnp.zeros([], jnp.int32), update=update)
