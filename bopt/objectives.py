"""Values and jacobian of objectives, and the penalties of the paper.

An objective is a scalar function of the parameters, to be minimised. The *jacobian*
of m objectives is a tree like the parameters whose every leaf has a leading axis of
length m: row i is the gradient of objective i.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bopt import penalties
from bopt._dtypes import wide_dtype
from bopt.selections import PyTree, path_names

Objective = Callable[..., Any]


def value_and_jac(
    objectives: Objective | Sequence[Objective],
    *more: Objective,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Create a function that computes values and jacobian of several objectives.

    There are two forms. A **sequence** of functions of ``(params, *args)``, each of
    which returns a scalar or a vector: for objectives that share no computation, such
    as a data loss and a penalty. **One function** that returns a vector (m,): for
    objectives that share a network, such as the losses of several tasks. Each function
    takes one forward pass and as many backward passes as it returns values, so that
    ``[task_losses, bopt.l1]``, with a vector from the first, is the cheapest form for
    several tasks and a penalty.

    Args:
      objectives: a sequence of functions that return scalars or vectors, or one
        function that returns a vector. They are differentiated with respect to their
        first argument. Objectives are numbered in the order of the sequence.
      *more: an error; pass several objectives as one list.
      has_aux: if True, the one function, or the *first* of the sequence, returns
        ``(values, aux)``.

    Returns:
      A function ``(params, *args, **kwargs) -> (values, jac)``, or
      ``((values, aux), jac)`` with `has_aux`. `values` has shape (m,), every leaf of
      `jac` has shape (m, *leaf.shape) and the dtype of its parameter. Every objective
      is called with all of ``*args``, and with the keywords that its signature names
      or takes by ``**kwargs``; `l1` and `l2` receive none.

    Raises:
      ValueError: no list around several objectives, or an empty one; when called, an
        objective that returns neither a scalar nor a vector (one function must return
        a vector), a keyword that no objective takes, or a parameter that is not real.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> def loss(params, x):
      ...     return jnp.sum((params["w"] - x) ** 2)
      >>> params = {"w": jnp.array([[3.0, -1.0]])}
      >>> values, jac = bopt.value_and_jac([loss, bopt.l1])(params, 1.0)
      >>> print(values)
      [8. 4.]
      >>> print(jac["w"][0], jac["w"][1])
      [[ 4. -4.]] [[ 1. -1.]]

    Source: S. Liu, L. N. Vicente, *The stochastic multi-gradient algorithm for
    multi-objective optimization* (Annals of Operations Research 2021).
    """
    if more or (not callable(objectives) and not isinstance(objectives, Iterable)):
        raise ValueError(
            "value_and_jac takes one function or a list of functions, and has_aux by "
            "keyword: write value_and_jac([loss, bopt.l1], has_aux=True)."
        )
    alone = callable(objectives)
    functions = (objectives,) if alone else tuple(objectives)
    if not functions:
        raise ValueError(
            "value_and_jac got an empty sequence; expected at least one objective."
        )
    for index, function in enumerate(functions):
        if not callable(function):
            raise ValueError(
                f"value_and_jac got {function!r} as entry {index}; expected a function."
            )

    def value_and_jac_fn(params, *args, **kwargs):
        _check_real(params)
        parts, keywords = [], _keywords_of_each(functions, kwargs)
        for index, (function, own) in enumerate(zip(functions, keywords, strict=True)):

            def values_of(params, index=index, function=function, own=own):
                result = function(params, *args, **own)
                value, aux = _split_aux(result, has_aux and not index, function)
                name = _name(function)
                who = f"objectives {name}" if alone else f"objective {index} ({name})"
                return _checked_values(value, f"The {who}", alone), aux

            parts.append(_values_and_rows(values_of, params))
        values, rows, (aux, *_) = zip(*parts, strict=True)
        dtype = wide_dtype(values)
        values = jnp.concatenate([jnp.atleast_1d(v).astype(dtype) for v in values])
        jac = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *rows)
        return ((values, aux) if has_aux else values), jac

    return value_and_jac_fn


def _values_and_rows(function: Objective, params: PyTree) -> tuple[Any, PyTree, Any]:
    """(values, jacobian, aux) of one function, in one forward pass.

    A scalar is pulled back as `jax.grad` does, without the axis that `jax.jacrev` maps.
    """
    values, pullback, aux = jax.vjp(function, params, has_aux=True)
    one = jnp.ones_like(values)
    if values.ndim == 0:
        return values, jax.tree.map(lambda leaf: leaf[None], *pullback(one)), aux
    # Scaled, not bare: in jax.shard_map it then varies over the axes that values do.
    basis = jnp.eye(len(values), dtype=values.dtype) * one[None]
    (rows,) = jax.vmap(pullback)(basis)
    return values, rows, aux


def _keywords_of_each(
    functions: tuple[Objective, ...], keywords: dict[str, Any]
) -> list[dict[str, Any]]:
    """The keywords that each function takes; ValueError for one that none does."""
    if not keywords:
        return [{} for _ in functions]
    taken = [_taken(function, keywords) for function in functions]
    if unknown := keywords.keys() - set().union(*taken):
        raise ValueError(
            f"value_and_jac got the keyword {min(unknown)!r}, which none of "
            f"{', '.join(map(_name, functions))} takes; expected a keyword in the "
            "signature of at least one objective (bopt's penalties take none here: use "
            "functools.partial)."
        )
    return taken


def _taken(function: Objective, keywords: dict[str, Any]) -> dict[str, Any]:
    """The keywords that a function's signature names, or all with ``**kwargs``."""
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inspect.unwrap(inner.func)
    if getattr(inner, "__module__", None) == penalties.__name__:
        return {}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # compiled code without a signature
        return keywords
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return keywords
    names = {
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    return {name: value for name, value in keywords.items() if name in names}


def _check_real(params: PyTree) -> None:
    """Raise ValueError for a leaf that has no real gradient."""
    for index, leaf in enumerate(jax.tree.leaves(params)):
        dtype = getattr(leaf, "dtype", None) or _dtype_of_number(leaf)
        if dtype is not None and jnp.issubdtype(dtype, jnp.floating):
            continue
        name = jax.tree.leaves(path_names(params))[index]
        if dtype is None:
            raise ValueError(
                f"value_and_jac got a parameter of type {type(leaf).__name__} at "
                f"'{name}'; expected arrays: of a module, pass the parameters alone "
                "(eqx.partition, nnx.split)."
            )
        raise ValueError(
            f"value_and_jac got a parameter of dtype {dtype} at '{name}'; expected "
            "real floating-point parameters: pass counters and random keys as "
            "arguments, and split complex ones into real and imaginary parts."
        )


def _dtype_of_number(leaf: Any) -> Any:
    """The dtype of a Python number; None for anything else."""
    return jnp.result_type(leaf) if isinstance(leaf, int | float | complex) else None


def _checked_values(values: Any, who: str, alone: bool) -> jax.Array:
    """A scalar or vector as an array; ValueError for anything else."""
    ndim = jnp.ndim(values) if jax.tree.structure(values).num_nodes == 1 else None
    if ndim == 1 or (ndim == 0 and not alone):
        array = jnp.asarray(values)
        real = jnp.issubdtype(array.dtype, jnp.inexact)
        return array if real else array.astype(jnp.float32)  # a constant integer
    got = (
        f"type {type(values).__name__}"
        if ndim is None
        else f"shape {jnp.shape(values)}"
    )
    expected = (
        "an array of shape (m,), one entry per objective: stack the scalars with "
        "jnp.stack, or pass a sequence of functions"
        if alone
        else "a scalar, or an array of shape (k,), one entry for each of k objectives: "
        "take means or sums, and stack the scalars with jnp.stack"
    )
    raise ValueError(f"{who} returned values of {got}; expected {expected}.")


def _split_aux(result: Any, has_aux: bool, function: Objective) -> tuple[Any, Any]:
    """(value, aux) of an objective's result; aux is None without has_aux."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(
            f"With has_aux, {_name(function)} must return (value, aux), got "
            f"{type(result).__name__}."
        )
    return result


def _name(function: Objective) -> str:
    return getattr(function, "__name__", None) or repr(function)
