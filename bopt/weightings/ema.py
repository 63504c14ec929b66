"""Weights of averaged gram matrices and values."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from bopt.weightings._arguments import check_number, needed_values
from bopt.weightings.weighting import Weighting, WeightingFunction, as_weighting


class EmaState(NamedTuple):
    """State of `ema`.

    Attributes:
      gram: (m, m) moving average of the gram matrices, without bias correction.
      values: (m,) moving average of the objective values; 0 where none come.
      steps: number of steps.
      weighting: the inner weighting's own state.

    Example:
      >>> import bopt
      >>> print(bopt.ema(bopt.nash()).init(2).gram)
      [[0. 0.]
       [0. 0.]]
    """

    gram: jax.Array
    values: jax.Array
    steps: jax.Array
    weighting: Any


def ema(weighting: Weighting | WeightingFunction, decay: ArrayLike = 0.9) -> Weighting:
    """Compute weights from exponential moving averages, against the noise of batches.

    The weights of one batch's gradients depend on its noise, so that on average they
    are not those of the mean gradients. This averages the gram matrix and the values
    over about 1 / (1 - decay) steps, at no cost in memory; to average the gradients
    themselves, use ``smgd(preconditioner=optax.ema(0.9), weigh_by="directions")``.

    Args:
      weighting: a `bopt.Weighting` or a function ``(gram, values) -> weights``.
      decay: of the averages, in [0, 1); 0 leaves everything as it is.

    Returns:
      A `bopt.Weighting` with an `EmaState`, whose averages are corrected for their
      start at 0, as in `optax.ema`. It takes `values` if they are given at every step.
      Where the gradients' norms cross 1e-12 or 1e12, it averages matrices of different
      scales, see `bopt.Weighting`. NaN in, NaN out, also in all later steps.

    Raises:
      ValueError: a `decay` outside [0, 1), or a `weighting` of another kind.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> weighting = bopt.ema(bopt.min_norm(), decay=0.5)
      >>> state = weighting.init(2)
      >>> for scale in (1.0, 3.0):
      ...     gram = jnp.diag(jnp.array([1.0, scale]))
      ...     weights, state = weighting.update(gram, None, state)
      ...     print(*(f"{w:.2f}" for w in weights))
      0.50 0.50
      0.70 0.30

    Source: the moving average with bias correction of D. P. Kingma, J. Ba (arXiv
    1412.6980), applied to the input of a weighting.
    """
    check_number("ema", "decay", decay, lambda value: 0 <= value < 1, "0 <= decay < 1")
    inner = as_weighting(weighting)

    def init(m: int) -> EmaState:
        steps = jnp.zeros([], jnp.int32)
        return EmaState(jnp.zeros((m, m)), jnp.zeros(m), steps, inner.init(m))

    def update(gram, values, state):
        steps: Any = optax.safe_increment(state.steps)

        def averaged(mean, new):
            rate = jnp.asarray(decay).astype(mean.dtype)
            mean = rate * mean + (1 - rate) * new.astype(mean.dtype)
            return mean, (mean / (1 - rate ** steps.astype(mean.dtype))).astype(
                gram.dtype
            )

        mean_gram, now = averaged(state.gram, gram)
        mean_values, values_now = state.values, None
        if values is not None:
            values = needed_values("ema", gram, values)
            mean_values, values_now = averaged(state.values, values)
        weights, own = inner.update(now, values_now, state.weighting)
        return weights, EmaState(mean_gram, mean_values, steps, own)

    return Weighting(init, update)
