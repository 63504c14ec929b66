"""The type of a weighting."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

WeightingFunction = Callable[[jax.Array, jax.Array | None], jax.Array]


class Weighting(NamedTuple):
    """A pair of functions that computes the weights of the objectives at each step.

    It is to weights as `optax.GradientTransformation` is to updates. `bopt.smgd` keeps
    the state. Where a weighting needs none, a function ``(gram, values) -> weights``
    does, too.

    Attributes:
      init: ``init(m) -> state``, a pytree of arrays (or ``()``) for m objectives.
      update: ``update(gram, values, state) -> (weights, state)``. `gram` is the (m, m)
        matrix of inner products of the gradients; where their norms lie outside 1e-12
        to 1e12, all are scaled by one common power of two first, so a weighting that
        depends on a common factor must say so. `values` are the (m,) objective values
        or None, `weights` the (m,) coefficients of the gradients as they are. NaN must
        pass through.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> def smoothed(decay):
      ...     def update(gram, values, mean):
      ...         mean = decay * mean + (1 - decay) * gram
      ...         return bopt.min_norm().update(mean, values, ())[0], mean
      ...     return bopt.Weighting(init=lambda m: jnp.zeros((m, m)), update=update)
      >>> params = {"w": jnp.array([1.0, 2.0])}
      >>> optimizer = bopt.smgd(smoothed(0.9))
      >>> state = optimizer.init(params)
      >>> jac = {"w": jnp.array([[1.0, 0.0], [0.0, 2.0]])}
      >>> _, state = optimizer.update(jac, state, params)
      >>> print(state.weights, state.weighting)
      [0.8 0.2] [[0.1 0. ]
       [0.  0.4]]
    """

    init: Callable[[int], Any]
    update: Callable[[jax.Array, jax.Array | None, Any], tuple[jax.Array, Any]]


def as_weighting(given: Weighting | WeightingFunction) -> Weighting:
    """Take a function for a weighting without state; raise on anything else."""
    if isinstance(given, Weighting):
        for name, function in given._asdict().items():
            if not callable(function):
                raise ValueError(
                    f"bopt got a Weighting whose {name} is {function!r}; expected a "
                    "function (for a weighting without state, a function (gram, "
                    "values) -> weights is enough)."
                )
        return given
    if not callable(given) or not _takes_two(given):
        raise ValueError(
            f"bopt got weighting={given!r}; expected a weighting such as "
            "bopt.min_norm() or bopt.fixed([1.0, 0.1]), a bopt.Weighting, or a "
            "function (gram, values) -> weights."
        )
    return Weighting(
        init=lambda m: (),
        update=lambda gram, values, state: (given(gram, values), state),
    )


def _takes_two(function: Callable[..., Any]) -> bool:
    """False for `bopt.min_norm` itself, for example, which was not called."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a function without a signature, for example of C
        return True
    return True


def visible(gram: jax.Array, weights: jax.Array) -> jax.Array:
    """Weights, or NaN where the gram matrix is not finite, which comparisons hide."""
    return jnp.where(jnp.isfinite(gram).all(), weights, jnp.nan)
