"""The Nash bargaining solution between the gradients (Nash-MTL)."""

import jax
import jax.numpy as jnp

from bopt.weightings._fair import fair_weights
from bopt.weightings.weighting import Weighting, as_weighting


def nash() -> Weighting:
    """Weights of the Nash bargaining solution: no objective's decrease is favored.

    The direction maximizes the product of its inner products with the gradients. It
    depends on their angles only, not on their norms: a gradient ten times as long gets
    a tenth of the weight. Its norm is sqrt(m), smaller only close to a Pareto
    stationary point: let the learning rate decay, or put `optax.adam` after it.

    Returns:
      A `bopt.Weighting` without state: weights w > 0 with gram w = 1 / w, those of
      ``bopt.fairgrad(1.0)``. A zero gradient gets weight 0, and the others are weighed
      without it. Where Pareto stationarity leaves no solution, that of a gram matrix
      with a ridge of its rounding: large weights, a short direction. NaN in, NaN out.
      Newton's method, about ten linear systems of m equations.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[3.0, 0.0], [-3.0, 4.0]])
      >>> weights, _ = bopt.nash().update(jac @ jac.T, None, ())
      >>> print(*(f"{w:.2f}" for w in weights))
      0.53 0.32

    Source: A. Navon, A. Shamsian, I. Achituve, H. Maron, K. Kawaguchi, G. Chechik,
    E. Fetaya, *Multi-task learning as a bargaining game* (ICML 2022), claim 3.1.
    """

    def weights_of(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        del values
        return fair_weights(gram, jnp.ones((), gram.dtype))

    return as_weighting(weights_of)
