"""Fast adaptive multitask optimization (FAMO)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bopt.weightings._arguments import positive_values
from bopt.weightings.weighting import Weighting


class FamoState(NamedTuple):
    """State of `famo`.

    Attributes:
      log_weights: (m,) logits of the objectives' shares.
      log_values: (m,) logarithms of the last step's values.
      optimizer: state of the optimizer of `log_weights`.
      steps: number of steps.

    Example:
      >>> import bopt
      >>> print(bopt.famo().init(2).log_weights)
      [0. 0.]
    """

    log_weights: jax.Array
    log_values: jax.Array
    optimizer: optax.OptState
    steps: jax.Array


def famo(optimizer: optax.GradientTransformation | None = None) -> Weighting:
    """Weights with which the logarithms of all values decrease at the same rate.

    An objective whose value has decreased less than the others', relative to itself,
    gets more weight at the next step. The weights follow from the values alone, so that
    the cost does not depend on the gradients.

    Args:
      optimizer: a transformation of the gradient of the logits;
        ``optax.chain(optax.add_decayed_weights(1e-3), optax.adam(0.025))`` by default,
        as published.

    Returns:
      A `bopt.Weighting` with a `FamoState`: softmax(logits) / values, normalized to a
      sum of 1, for positive values (those below 1e-8 count as 1e-8). It needs
      ``update(..., values=values)``. The rate is measured between the values of
      successive steps, and therefore of successive batches; the paper evaluates each
      batch a second time after the step. NaN in, NaN out, also in all later steps.

    Raises:
      ValueError: an `optimizer` of another kind; in `update`, missing values.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> weighting = bopt.famo()
      >>> state = weighting.init(2)
      >>> for values in ([4.0, 1.0], [2.0, 1.0], [1.0, 1.0]):
      ...     weights, state = weighting.update(jnp.eye(2), jnp.array(values), state)
      ...     print(*(f"{w:.2f}" for w in weights))
      0.20 0.80
      0.33 0.67
      0.48 0.52

    Source: B. Liu, Y. Feng, P. Stone, Q. Liu, *FAMO: Fast adaptive multitask
    optimization* (NeurIPS 2023), algorithm 1.
    """
    if optimizer is None:
        optimizer = optax.chain(optax.add_decayed_weights(1e-3), optax.adam(0.025))
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ValueError(
            f"famo got optimizer={optimizer!r}; expected a transformation such as "
            "optax.adam(0.025)."
        )

    def init(m: int) -> FamoState:
        zeros = jnp.zeros(m)
        return FamoState(zeros, zeros, optimizer.init(zeros), jnp.zeros([], jnp.int32))

    def update(gram, values, state):
        values = positive_values("famo", gram, values)
        now = jnp.log(values).astype(state.log_values.dtype)
        before = jnp.where(state.steps == 0, now, state.log_values)
        shares, decrease = jax.nn.softmax(state.log_weights), before - now
        gradient = shares * (decrease - jnp.sum(shares * decrease))
        updates, inner = optimizer.update(gradient, state.optimizer, state.log_weights)
        logits: Any = optax.apply_updates(state.log_weights, updates)
        shares = jax.nn.softmax(logits).astype(gram.dtype) / values
        steps: Any = optax.safe_increment(state.steps)
        return shares / jnp.sum(shares), FamoState(logits, now, inner, steps)

    return Weighting(init, update)
