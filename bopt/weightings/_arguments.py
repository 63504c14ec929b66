"""Checks of the arguments that weightings share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_SMALLEST_VALUE = 1e-8  # an objective may reach 0, for example once all is pruned


def check_number(
    factory: str, name: str, value: Any, valid: Callable[[Any], bool], expected: str
) -> None:
    """Raise ValueError unless a number is valid; a traced one is taken as it is."""
    if isinstance(value, Tracer):
        return
    number = isinstance(value, int | float | np.number | np.ndarray | jax.Array)
    if not number or np.ndim(value) or not valid(value):
        raise ValueError(f"{factory} got {name}={value!r}; expected {expected}.")


def checked_vector(factory: str, name: str, given: Any) -> Any:
    """Non-negative numbers, one per objective, as an array; entries may be traced."""
    if not isinstance(given, jax.Array):
        traced = any(isinstance(entry, Tracer) for entry in jax.tree.leaves(given))
        given = (jnp if traced else np).asarray(given)
    if given.ndim != 1:
        raise ValueError(
            f"{factory} got {name} of shape {given.shape}; expected a vector (m,), "
            "one number per objective."
        )
    traced = isinstance(given, Tracer)
    if not traced and not all(0 <= entry < np.inf for entry in given.tolist()):
        raise ValueError(
            f"{factory} got {name} {given.tolist()}; expected finite, non-negative "
            "numbers."
        )
    return given


def vector_for(factory: str, name: str, vector: Any, gram: jax.Array) -> jax.Array:
    """The vector in the gram matrix' dtype; raise if it has another length."""
    if vector.shape != gram.shape[:1]:
        raise ValueError(
            f"{factory} got {vector.shape[0]} {name} for {gram.shape[0]} objectives; "
            "expected one per objective, as many as smgd's num_objectives."
        )
    return jnp.asarray(vector).astype(gram.dtype)


def needed_values(factory: str, gram: jax.Array, values: jax.Array | None) -> jax.Array:
    """Values in the gram matrix' dtype; raise if they are missing."""
    if values is None:
        raise ValueError(
            f"{factory} needs the objective values: call update(jac, state, params, "
            "values=values) with the values from bopt.value_and_jac."
        )
    if jnp.shape(values) != gram.shape[:1]:
        raise ValueError(
            f"update got values of shape {jnp.shape(values)}; expected "
            f"{gram.shape[:1]}, one per objective."
        )
    return jnp.asarray(values).astype(gram.dtype)


def positive_values(
    factory: str, gram: jax.Array, values: jax.Array | None
) -> jax.Array:
    """Values, at least 1e-8, for a division or a logarithm."""
    return jnp.maximum(needed_values(factory, gram, values), _SMALLEST_VALUE)
