"""Stochastic multi-gradient descent."""

import functools
import operator
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from bopt._dtypes import wide_dtype
from bopt.selections import PyTree, path_name
from bopt.weightings import Weighting, min_norm

WeighBy = Literal["gradients", "directions"]


class SmgdState(NamedTuple):
    """State of `smgd`.

    Attributes:
      weights: (m,) weights of the last step, in float32 or the parameters' dtype if
        that is wider; 1/m each before the first step. Read them from any chain with
        ``optax.tree.get(state, "SmgdState").weights``.
      inner: m states of `precondition`, one per objective; empty without it.

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> state = optax.chain(bopt.smgd(), optax.sgd(0.1)).init({"w": jnp.ones((2, 2))})
      >>> print(optax.tree.get(state, "SmgdState").weights)
      [0.5 0.5]
    """

    weights: jax.Array
    inner: tuple[optax.OptState, ...]


def smgd(
    weighting: Weighting | None = None,
    *,
    num_objectives: int = 2,
    precondition: optax.GradientTransformation | None = None,
    weigh_by: WeighBy = "gradients",
) -> optax.GradientTransformationExtraArgs:
    """Combine the gradients of several objectives into one direction.

    It is the first link of a chain: its updates are a jacobian (`bopt.value_and_jac`),
    and the links after it get ordinary updates. Wrap a link *after* smgd in
    `optax.MultiSteps`, `optax.apply_if_finite` or `optax.masked`, never smgd itself:
    ``chain(smgd(), optax.apply_if_finite(optax.adam(1e-3), 5), prune())``.
    `optax.partition` may hold it, with labels given as a tree.

    Args:
      weighting: computes the weights from the gram matrix and the objective values;
        `bopt.min_norm()` by default.
      num_objectives: m, the length of the jacobian's leading axis.
      precondition: a transformation of each objective's gradient, with one state per
        objective, before they are combined. `optax.scale_by_adam()` makes MAdam,
        `optax.scale_by_rms()` MRMSprop.
      weigh_by: rows of the gram matrix: the raw ``"gradients"`` (the paper), or the
        ``"directions"`` that are combined, after `precondition`.

    Returns:
      An `optax.GradientTransformationExtraArgs`. ``update(jac, state, params=None, *,
      values=None, **extra_args)`` takes a tree whose leaves have shape
      (m, *leaf.shape) and returns one without the leading axis, dtypes kept. `values`
      are the (m,) objective values, which some weightings need; extra arguments are
      passed on to `precondition`. Under `optax.inject_hyperparams`, name `weighting`,
      `num_objectives` and `precondition` in `static_args`. It is also an aggregator
      for `optax.experimental.aggregating.process`.

    Raises:
      ValueError: an unknown `weigh_by` or a `num_objectives` below 1; when traced, a
        leaf without a leading axis of length m (named), or as the weighting.

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> def loss(params, x):
      ...     return jnp.sum((params["w"] - x) ** 2)
      >>> params = {"w": jnp.array([[3.0, 1.0]])}
      >>> optimizer = optax.chain(bopt.smgd(), optax.sgd(0.1), bopt.prune())
      >>> state = optimizer.init(params)
      >>> values, jac = bopt.value_and_jac([loss, bopt.l1])(params, 2.0)
      >>> updates, state = optimizer.update(jac, state, params, values=values)
      >>> print(optax.tree.get(state, "SmgdState").weights)
      [0.2 0.8]
      >>> print(optax.apply_updates(params, updates)["w"])
      [[2.88 0.96]]

    Source: S. Liu, L. N. Vicente, *The stochastic multi-gradient algorithm for
    multi-objective optimization* (Annals of Operations Research 2021); preconditioned
    as MAdam and MRMSprop in the code of arXiv 2008.13590.
    """
    if weigh_by not in ("gradients", "directions"):
        raise ValueError(
            f"smgd got weigh_by={weigh_by!r}; expected 'gradients' or 'directions'."
        )
    m = num_objectives
    if m < 1:
        raise ValueError(f"smgd got num_objectives={m}; expected at least 1.")
    weighting = min_norm() if weighting is None else weighting
    inner = precondition and optax.with_extra_args_support(precondition)

    def init_fn(params: PyTree) -> SmgdState:
        dtype = wide_dtype(jax.tree.leaves(params))
        return SmgdState(
            weights=jnp.full(m, 1 / m, dtype),
            inner=() if inner is None else tuple(inner.init(params) for _ in range(m)),
        )

    def update_fn(updates, state, params=None, *, values=None, **extra_args):
        jac = updates
        _check_jacobian(jac, params, m)
        gradients = [jax.tree.map(lambda leaf, i=i: leaf[i], jac) for i in range(m)]
        rows, inner_states = gradients, ()
        if inner is not None:
            pairs = (
                inner.update(row, inner_state, params, **extra_args)
                for row, inner_state in zip(gradients, state.inner, strict=True)
            )
            rows, inner_states = zip(*pairs, strict=True)
        weighed = gradients if weigh_by == "gradients" else rows
        weights = weighting(_gram(weighed), values)
        if jnp.shape(weights) != (m,):
            raise ValueError(
                f"The weighting returned weights of shape {jnp.shape(weights)}; "
                f"expected ({m},), one per objective."
            )
        direction = jax.tree.map(lambda *leaves: _combine(weights, leaves), *rows)
        weights = weights.astype(state.weights.dtype)
        return direction, SmgdState(weights, inner_states)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _gram(rows: Sequence[PyTree]) -> jax.Array:
    """(m, m) inner products of m trees, summed leaf by leaf."""
    dtype = wide_dtype(jax.tree.leaves(rows))
    m = len(rows)
    leaves = [[leaf.astype(dtype) for leaf in jax.tree.leaves(row)] for row in rows]

    def inner(i: int, j: int) -> jax.Array:
        products = (
            # The default precision of accelerators is too coarse for weights of 1e-5.
            jnp.vdot(a, b, precision=lax.Precision.HIGHEST)
            for a, b in zip(leaves[i], leaves[j], strict=True)
        )
        return sum(products, jnp.zeros((), dtype))

    upper = {(i, j): inner(i, j) for i in range(m) for j in range(i, m)}
    full = [[upper[min(i, j), max(i, j)] for j in range(m)] for i in range(m)]
    return jnp.stack([jnp.stack(row) for row in full])


def _combine(weights: jax.Array, leaves: tuple[jax.Array, ...]) -> jax.Array:
    wide = wide_dtype([weights, *leaves])
    terms = (
        weight.astype(wide) * leaf.astype(wide)
        for weight, leaf in zip(weights, leaves, strict=True)
    )
    return functools.reduce(operator.add, terms).astype(leaves[0].dtype)


def _check_jacobian(jac: PyTree, params: PyTree | None, m: int) -> None:
    """Raise ValueError unless each leaf is a parameter's with a leading axis m."""
    leaves = jax.tree.leaves_with_path(jac)
    shapes: list[Any] = [None] * len(leaves)
    if params is not None and jax.tree.structure(params) == jax.tree.structure(jac):
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    for (path, leaf), shape in zip(leaves, shapes, strict=True):
        got = jnp.shape(leaf)
        if got[:1] == (m,) and shape in (None, got[1:]):
            continue
        expected = f"({m}, ...)" if shape is None else f"{(m, *shape)}"
        hint = "compute it with bopt.value_and_jac"
        if got == shape:
            hint = (
                "this is a gradient, not a jacobian: compute it with "
                "bopt.value_and_jac, and put smgd first in the chain"
            )
        elif got[1:] == shape:
            hint = f"pass num_objectives={got[0]} to smgd"
        raise ValueError(
            f"smgd got an update of shape {got} at '{path_name(path)}'; expected "
            f"{expected}, one row for each of {m} objectives: {hint}."
        )
