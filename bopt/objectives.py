"""Values and jacobian of objectives, and the penalties of the paper.

An objective is a scalar function of the parameters, to be minimised. The *jacobian*
of m objectives is a tree like the parameters whose every leaf has a leading axis of
length m: row i is the gradient of objective i.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bopt._dtypes import wide_dtype
from bopt.selections import PyTree, Where, selected_leaves

Objective = Callable[..., Any]


def value_and_jac(
    objectives: Objective | Sequence[Objective], has_aux: bool = False
) -> Callable[..., Any]:
    """Create a function that computes values and jacobian of several objectives.

    There are two forms, with the same result. A **sequence** of scalar functions of
    ``(params, *args)`` takes one reverse pass each: for objectives that share no
    computation, such as a data loss and a penalty. **One function** that returns a
    vector (m,) takes one forward pass and m pullbacks (`jax.jacrev`): for objectives
    that share a network, such as the losses of several tasks.

    Args:
      objectives: a sequence of m scalar functions, or one function returning (m,)
        values. They are differentiated with respect to their first argument.
      has_aux: if True, the one function, or the *first* of the sequence, returns
        ``(values, aux)``.

    Returns:
      A function ``(params, *args, **kwargs) -> (values, jac)``, or
      ``((values, aux), jac)`` with `has_aux`. `values` has shape (m,), every leaf of
      `jac` has shape (m, *leaf.shape) and the dtype of its parameter.

    Raises:
      ValueError: an empty sequence, or (when traced) an objective whose value is not
        a scalar, or not a vector where one function is given.

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
    if callable(objectives):
        return _one_function(objectives, has_aux)
    if not objectives:
        raise ValueError(
            "value_and_jac got an empty sequence; expected at least one objective."
        )
    return _one_pass_each(tuple(objectives), has_aux)


def _one_function(function: Objective, has_aux: bool) -> Callable[..., Any]:
    def vector(params, *args, **kwargs):
        values, aux = _split_aux(function(params, *args, **kwargs), has_aux, function)
        array = jax.tree.structure(values).num_nodes == 1  # no list of scalars
        if not array or jnp.ndim(values) != 1:
            kind = type(values).__name__
            got = f"shape {jnp.shape(values)}" if array else f"type {kind}"
            raise ValueError(
                f"The objectives {_name(function)} returned values of {got}; "
                "expected an array of shape (m,), one entry per objective: stack the "
                "scalars with jnp.stack, or pass a sequence of scalar functions."
            )
        return values, (values, aux)

    def value_and_jac_fn(params, *args, **kwargs):
        jac, (values, aux) = jax.jacrev(vector, has_aux=True)(params, *args, **kwargs)
        return ((values, aux) if has_aux else values), jac

    return value_and_jac_fn


def _one_pass_each(functions: tuple[Objective, ...], has_aux: bool):
    def scalar(index: int, function: Objective) -> Objective:
        def value(params, *args, **kwargs):
            result = function(params, *args, **kwargs)
            value, aux = _split_aux(result, has_aux and index == 0, function)
            if jnp.ndim(value) != 0:
                raise ValueError(
                    f"Objective {index} ({_name(function)}) returned a value of shape "
                    f"{jnp.shape(value)}; expected a scalar: take its mean or its sum."
                )
            return jnp.asarray(value), aux

        return value

    def value_and_jac_fn(params, *args, **kwargs):
        passes = [
            jax.value_and_grad(scalar(*pair), has_aux=True)(params, *args, **kwargs)
            for pair in enumerate(functions)
        ]
        dtype = wide_dtype(value for (value, _), _ in passes)
        values = jnp.stack([value.astype(dtype) for (value, _), _ in passes])
        jac = jax.tree.map(lambda *rows: jnp.stack(rows), *(grad for _, grad in passes))
        (_, aux), _ = passes[0]
        return ((values, aux) if has_aux else values), jac

    return value_and_jac_fn


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


def l1(params: PyTree, *args: Any, where: Where = 2, at_zero: float = 1.0) -> jax.Array:
    """Sum of absolute values of the selected leaves, the complexity of the paper.

    It is an objective: ``bopt.value_and_jac([loss, bopt.l1])``. Its gradient is
    sign(w), and `at_zero` where w is 0, which after pruning is almost everywhere.

    `at_zero` matters when weights follow from norms. With 1, as `jax.grad` of
    `jax.numpy.abs`, the norm of the gradient is constant while entries are pruned. With
    0, the paper's choice, it shortens, so the l1 norm gets more weight and prunes more:
    right with ``weigh_by="gradients"`` of `bopt.madam`; with ``weigh_by="directions"``
    (the default) nothing stops this before the network is dead.

    Args:
      params: a pytree of arrays.
      *args: ignored (the batch, which every objective is called with).
      where: a selection (see `bopt.selections`), by default leaves of rank 2.
      at_zero: the derivative at 0, a subgradient in [-1, 1]: 1 as in `jax.numpy.abs`,
        0 as in the paper's code.

    Returns:
      A scalar, accumulated in float32 or the parameters' dtype if that is wider.

    Raises:
      ValueError: the selection matches nothing, or `at_zero` is out of range.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"kernel": jnp.array([[3.0, -1.0]]), "bias": jnp.array([5.0])}
      >>> print(bopt.l1(params), bopt.l1(params, where="*"))
      4.0 9.0

    Source: arXiv 2008.13590, section 3.
    """
    del args
    if not -1 <= at_zero <= 1:
        raise ValueError(
            f"l1 got at_zero={at_zero}; expected a subgradient of |w| at 0, from -1 to "
            "1."
        )

    def magnitude(leaf):
        sign = jnp.where(leaf == 0, jnp.asarray(at_zero, leaf.dtype), jnp.sign(leaf))
        return leaf * jax.lax.stop_gradient(sign)

    return _sum_over(magnitude, params, where)


def l2(params: PyTree, *args: Any, where: Where = 2) -> jax.Array:
    """Sum of squares of the selected leaves, without root or half, as in Keras.

    Penalties can be added: the "l1 dense + l2 conv" of the paper's code is
    ``lambda params, *_: bopt.l1(params, where=2) + bopt.l2(params, where=4)``.

    Args:
      params: a pytree of arrays.
      *args: ignored (the batch, which every objective is called with).
      where: a selection (see `bopt.selections`), by default leaves of rank 2.

    Returns:
      A scalar, accumulated in float32 or the parameters' dtype if that is wider.

    Raises:
      ValueError: the selection matches nothing.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"conv": jnp.full((1, 1, 1, 2), 3.0), "dense": jnp.ones((1, 2))}
      >>> print(bopt.l2(params, where=4))
      18.0
    """
    del args
    return _sum_over(jnp.square, params, where)


def _sum_over(function: Callable[[jax.Array], jax.Array], params: PyTree, where: Where):
    """Sum of a function over the entries of the selected leaves."""
    leaves = [jnp.asarray(leaf) for leaf in selected_leaves(where, params)]
    wide = wide_dtype(leaves)
    return sum(
        (jnp.sum(function(leaf.astype(wide))) for leaf in leaves), jnp.zeros((), wide)
    )
