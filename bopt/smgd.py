"""Stochastic multi-gradient descent."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bopt._dtypes import wide_dtype
from bopt._leaves import check_same_leaves
from bopt._rows import combination, inner_products
from bopt.selections import PyTree, Where, path_name, select
from bopt.weightings import Weighting, min_norm
from bopt.weightings.weighting import WeightingFunction, as_weighting

WeighBy = Literal["gradients", "directions"]


class SmgdState(NamedTuple):
    """State of `smgd`.

    Attributes:
      weights: (m,) weights of the last step, in float32 or the parameters' dtype if
        that is wider; 1/m each before the first step. Read them from any chain with
        ``optax.tree.get(state, "SmgdState").weights``.
      weighting: the weighting's own state; ``()`` if it has none.
      preconditioner: the preconditioner's state, every leaf with a leading axis of
        length m; ``()`` without one. Where parameters are sharded by a spec, these
        leaves are by ``P(None, *spec)``.

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> state = optax.chain(bopt.smgd(), optax.sgd(0.1)).init({"w": jnp.ones((2, 2))})
      >>> print(optax.tree.get(state, "SmgdState").weights)
      [0.5 0.5]
    """

    weights: jax.Array
    weighting: Any
    preconditioner: Any


def smgd(
    weighting: Weighting | WeightingFunction | None = None,
    *,
    num_objectives: int = 2,
    where: Where | None = None,
    preconditioner: optax.GradientTransformation | None = None,
    weigh_by: WeighBy = "gradients",
) -> optax.GradientTransformationExtraArgs:
    """Combine the gradients of several objectives into one direction.

    It is the first link of a chain: its updates are a jacobian (`bopt.value_and_jac`),
    and the links after it get ordinary updates. Wrap a link *after* smgd in
    `optax.MultiSteps`, `optax.apply_if_finite`, `optax.masked` or `optax.contrib.sam`,
    never smgd itself:
    ``chain(smgd(), optax.apply_if_finite(optax.adam(1e-3), 5), prune())``.
    `optax.partition` may hold it, with labels given as a tree and smgd in every group:
    a leaf that no smgd sees keeps its row axis, and `optax.apply_updates` broadcasts
    that into the parameter without a word.

    To freeze parameters, keep smgd outermost and give it, and `bopt.prune`, the
    selection of those that are trained::

        labels = {"head": "trained", "body": "frozen"}
        trained = {"head": True, "body": False}
        optax.chain(
            bopt.smgd(where=trained),
            optax.partition(
                {"trained": optax.adam(1e-3), "frozen": optax.set_to_zero()}, labels
            ),
            bopt.prune(where=trained),
        )

    Inside `jax.shard_map` with replicated parameters, the loss takes its mean over the
    devices (`jax.lax.pmean`), and a penalty, which is the same on each, does not. The
    rows, and so the weights, are then those of one device.

    Args:
      weighting: computes the weights from the gram matrix and the objective values: a
        `bopt.Weighting`, or a function ``(gram, values) -> weights``;
        `bopt.min_norm()` by default.
      num_objectives: m, the length of the jacobian's leading axis.
      where: a selection (see `bopt.selections`) of the leaves that the gram matrix is
        made of, by their shapes without the leading axis; all by default. The
        direction has every leaf.
      preconditioner: a transformation of each objective's gradient, with one state per
        objective (`jax.vmap` over the rows), before they are combined.
        `optax.scale_by_adam()` makes MAdam, `optax.scale_by_rms()` MRMSprop. One that
        does not work under `jax.vmap`, such as `optax.contrib.scale_by_muon`, goes
        after smgd.
      weigh_by: rows of the gram matrix: the raw ``"gradients"`` (the paper), or the
        ``"directions"`` that are combined, after `preconditioner`.

    Returns:
      An `optax.GradientTransformationExtraArgs`. ``update(jac, state, params=None, *,
      values=None, **extra_args)`` takes a tree whose leaves have shape
      (m, *leaf.shape) and returns one without the leading axis, dtypes kept. `values`
      are the (m,) objective values, which some weightings need; extra arguments are
      passed on to `preconditioner`. Under `optax.inject_hyperparams`, name `weighting`,
      `num_objectives`, `where` and `preconditioner` in `static_args`. It is also an
      aggregator for `optax.experimental.aggregating.process`.

    Raises:
      ValueError: an unknown `weigh_by`, a `num_objectives` below 1, or a `weighting`
        or `preconditioner` of another kind; when traced, a leaf without a leading axis
        of length m (named), a selection that matches nothing, or as the weighting.

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
    if not isinstance(weigh_by, str) or weigh_by not in ("gradients", "directions"):
        raise ValueError(
            f"smgd got weigh_by={weigh_by!r}; expected 'gradients' or 'directions'."
        )
    m = num_objectives
    check_static("smgd", "num_objectives", m, int)
    if m < 1:
        raise ValueError(f"smgd got num_objectives={m}; expected at least 1.")
    weights_of = as_weighting(min_norm() if weighting is None else weighting)
    inner = preconditioner
    if inner is not None:
        if not isinstance(inner, optax.GradientTransformation):
            raise ValueError(
                f"smgd got preconditioner={inner!r}; expected a transformation such as "
                "optax.scale_by_adam()."
            )
        inner = optax.with_extra_args_support(inner)

    def init_fn(params: PyTree) -> SmgdState:
        dtype = wide_dtype(jax.tree.leaves(params))
        return SmgdState(
            weights=jnp.full(m, 1 / m, dtype),
            weighting=weights_of.init(m),
            preconditioner=() if inner is None else _stacked(inner.init(params), m),
        )

    def update_fn(updates, state, params=None, *, values=None, **extra_args):
        jac = updates
        _check_jacobian(jac, params, m)
        rows, inner_state = jac, ()
        if inner is not None:

            def one(row, own, inner=inner):
                return inner.update(row, own, params, **extra_args)

            rows, inner_state = jax.vmap(one, axis_size=m)(jac, state.preconditioner)
        weighed = jac if weigh_by == "gradients" else rows
        gram = inner_products(_selected(where, weighed), m)
        result = weights_of.update(gram, values, state.weighting)
        if not isinstance(result, tuple) or len(result) != 2:
            raise ValueError(
                f"The weighting's update returned {type(result).__name__}; expected "
                "(weights, state)."
            )
        weights, weighting_state = jnp.asarray(result[0]), result[1]
        if jnp.shape(weights) != (m,):
            raise ValueError(
                f"The weighting returned weights of shape {jnp.shape(weights)}; "
                f"expected ({m},), one per objective."
            )
        direction = jax.tree.map(lambda leaf: combination(weights, leaf), rows)
        weights = weights.astype(state.weights.dtype)
        return direction, SmgdState(weights, weighting_state, inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def stationarity(jac: PyTree, *, where: Where | None = None) -> jax.Array:
    """Measure how far parameters are from Pareto stationary.

    Parameters are Pareto stationary if some convex combination of the gradients
    vanishes: no direction improves all objectives. The measure is the norm of the
    combination of least norm, relative to the mean norm, with the same weights, of the
    gradients that it combines: 0 at a Pareto stationary point, 1 where no objective is
    worth trading for another, nearly independent of the gradients' lengths. Stochastic
    gradients of one batch are mostly noise: average the jacobian over many.

    Args:
      jac: a jacobian, see `bopt.value_and_jac`; leaves of shape (m, *leaf.shape).
      where: a selection of the leaves that count, as in `bopt.smgd`; all by default.

    Returns:
      A scalar in [0, 1], float32 or wider; 0 if a gradient vanishes, NaN if one is not
      finite.

    Raises:
      ValueError: a selection that matches nothing, or leaves of different numbers of
        rows (named).

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> conflict = {"w": jnp.array([[2.0, 0.0], [-1.0, 0.0]])}
      >>> agreement = {"w": jnp.array([[2.0, 0.0], [1.0, 0.0]])}
      >>> print(bopt.stationarity(conflict), bopt.stationarity(agreement))
      0.0 1.0

    Source: the necessary condition of J.-A. Desideri, *Multiple-gradient descent
    algorithm (MGDA)* (Comptes Rendus Mathematique 2012).
    """
    leaves = _selected(where, jac)
    m = next((len(leaf) for leaf in leaves if jnp.ndim(leaf)), 1)
    for path, leaf in jax.tree.leaves_with_path(jac):
        if jnp.shape(leaf)[:1] != (m,):
            raise ValueError(
                f"stationarity got an array of shape {jnp.shape(leaf)} at "
                f"'{path_name(path)}'; expected ({m}, ...), one row per objective: "
                "compute the jacobian with bopt.value_and_jac."
            )
    gram = inner_products(leaves, m)
    weights, _ = min_norm().update(gram, None, ())
    least = jnp.sqrt(jnp.maximum(weights @ gram @ weights, 0))
    norms = weights @ jnp.sqrt(jnp.diagonal(gram))
    return jnp.where(norms == 0, 0, least / jnp.where(norms == 0, 1, norms))


def check_static(factory: str, name: str, value: Any, kind: type) -> None:
    """Raise ValueError unless an argument that shapes the program is of Python."""
    if not isinstance(value, kind | np.generic):
        raise ValueError(
            f"{factory} got {name}={value!r}; expected a Python {kind.__name__}: under "
            f"optax.inject_hyperparams, name '{name}' in static_args."
        )


def _stacked(state: optax.OptState, m: int) -> optax.OptState:
    """Repeat each leaf along a new leading axis of length m."""
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (m, *jnp.shape(leaf))), state
    )


def _selected(where: Where | None, jac: PyTree) -> list[jax.Array]:
    """Leaves of the jacobian that a selection of parameters matches."""
    if where is None:
        return jax.tree.leaves(jac)
    row = jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[0], jac))
    chosen = jax.tree.leaves(select(where, row))
    return [leaf for leaf, c in zip(jax.tree.leaves(jac), chosen, strict=True) if c]


def _check_jacobian(jac: PyTree, params: PyTree | None, m: int) -> None:
    """Raise ValueError unless each leaf is a parameter's with a leading axis m."""
    leaves = jax.tree.leaves_with_path(jac)
    shapes: list[Any] = [None] * len(leaves)
    if params is not None:
        check_same_leaves("smgd", jac, params)
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
                "bopt.value_and_jac, and put smgd first in the chain, outside "
                "optax.MultiSteps, apply_if_finite, masked and sam"
            )
        elif got[1:] == shape:
            hint = f"pass num_objectives={got[0]} to smgd"
        raise ValueError(
            f"smgd got an update of shape {got} at '{path_name(path)}'; expected "
            f"{expected}, one row for each of {m} objectives: {hint}."
        )
