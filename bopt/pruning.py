"""Intra-training pruning: small entries become exact zeros after every batch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from bopt._dtypes import wide_dtype
from bopt.selections import PyTree, Where, path_name, select


class PruneState(NamedTuple):
    """State of `prune`.

    Attributes:
      mask: a tree like the parameters: a boolean array a pruned leaf, True = kept;
        `optax.MaskedNode` for the leaves that are not pruned. Unlike the static masks
        of `optax.masked`, these change as training goes on. Read them from any chain
        with ``optax.tree.get(state, "PruneState").mask``.
      step: scalar int32, the number of updates so far.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> bopt.prune().init({"kernel": jnp.ones((1, 2)), "bias": jnp.ones(2)}).mask
      {'bias': MaskedNode(), 'kernel': Array([[ True,  True]], dtype=bool)}
    """

    mask: PyTree
    step: ArrayLike


def prune(
    threshold: optax.ScalarOrSchedule = 1e-3,
    *,
    where: Where = 2,
    regrow: bool = True,
    every: int = 1,
    start: int = 0,
    stop: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Sets entries to zero that an update leaves at or below a threshold.

    The last link of a chain: it rewrites the update to ``-param`` where an entry is
    pruned, so that the new parameter is exactly 0 whatever momentum the links before
    it hold. On a pruning step the mask is recomputed as
    ``not |param + update| <= threshold`` (a NaN is kept, and so is seen); between
    pruning steps and after `stop` the last mask is held.

    A pruned entry restarts from 0, so that it comes back only if one step moves it
    past the threshold: with Adam at a learning rate below `threshold` that hardly
    ever happens. For the same reason do not select biases, which start at 0.

    Args:
      threshold: entries with magnitude <= threshold are pruned, in units of the
        parameters; a float or a schedule over the updates so far.
      where: a selection (see `bopt.selections`) of the leaves to prune; by default
        those of rank 2, the dense kernels. The others cost no state.
      regrow: whether a pruned entry may come back on a later pruning step. If not,
        masks only shrink.
      every: steps between two pruning steps.
      start: the first pruning step, counted from 0.
      stop: the step from which the mask is held; None: never.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose ``update`` needs `params`.
      Under `optax.inject_hyperparams` name `where`, `every`, `start`, `stop` in
      `static_args`.

    Raises:
      ValueError: a negative `threshold` or `start`, `every` below 1, `stop` not after
        `start`; at init, a selection that matches nothing; when traced, `params`
        missing or an update of another shape than its parameter (it is named).

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> params = {"kernel": jnp.array([[1.0, 0.0005]]), "bias": jnp.array([0.0005])}
      >>> optimizer = optax.chain(optax.sgd(0.1), bopt.prune(1e-3))
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update(
      ...     {"kernel": jnp.ones((1, 2)) * 1e-3, "bias": jnp.zeros(1)}, state, params)
      >>> print(optax.apply_updates(params, updates)["kernel"])
      [[0.9999 0.    ]]
      >>> print(optax.tree.get(state, "PruneState").mask["kernel"])
      [[ True False]]

    Source: "intra-training pruning" of M. Reiners, K. Klamroth, F. Heldmann,
    M. Stiglmayr (arXiv 2008.13590).
    """
    _check_hyperparams(threshold, every, start, stop)

    def init_fn(params: PyTree) -> PruneState:
        mask = jax.tree.map(
            lambda chosen, leaf: (
                jnp.ones_like(leaf, dtype=bool) if chosen else optax.MaskedNode()
            ),
            select(where, params),
            params,
        )
        return PruneState(mask=mask, step=jnp.zeros((), jnp.int32))

    def update_fn(updates, state, params=None, **extra_args):
        del extra_args
        if params is None:
            raise ValueError(
                "prune rewrites updates from the parameters: call "
                "update(updates, state, params)."
            )
        step = state.step
        due = (step >= start) & ((step - start) % every == 0)
        if stop is not None:
            due &= step < stop
        limit = threshold(step) if callable(threshold) else threshold

        def new_mask(mask, update, param):
            if _is_masked(mask):
                return mask
            new = jnp.asarray(optax.apply_updates(param, update))
            wide = wide_dtype([new])
            # Written so that NaN compares as kept.
            kept = ~(jnp.abs(new).astype(wide) <= jnp.asarray(limit).astype(wide))
            return jnp.where(due, kept if regrow else kept & mask, mask)

        def rewrite(mask, update, param):
            if _is_masked(mask):
                return update
            # -param must not be rounded to an update of fewer digits.
            same = update.dtype == param.dtype
            dtype = param.dtype if same else wide_dtype([update, param])
            return jnp.where(mask, update.astype(dtype), -param.astype(dtype))

        _check_updates(state.mask, updates, params)
        mask = jax.tree.map(new_mask, state.mask, updates, params, is_leaf=_is_masked)
        updates = jax.tree.map(rewrite, mask, updates, params, is_leaf=_is_masked)
        return updates, PruneState(mask, optax.safe_increment(step))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _check_hyperparams(threshold, every, start, stop) -> None:
    """Raises ValueError for a wrong argument; traced ones cannot be looked at."""

    def wrong(value, is_wrong) -> bool:
        known = isinstance(value, int | float | np.number)
        return known and is_wrong(value)

    if wrong(threshold, lambda t: not t >= 0):
        raise ValueError(f"prune got threshold={threshold}; expected at least 0.")
    if wrong(every, lambda e: e < 1):
        raise ValueError(f"prune got every={every}; expected at least 1 step.")
    if wrong(start, lambda s: s < 0):
        raise ValueError(f"prune got start={start}; expected at least 0.")
    if stop is not None and wrong(stop, lambda s: wrong(start, lambda t: s <= t)):
        raise ValueError(
            f"prune got stop={stop} with start={start}; expected stop > start."
        )


def _check_updates(mask: PyTree, updates: PyTree, params: PyTree) -> None:
    def check(path, _, update, param):
        # Leaves that are not pruned are checked too: a jacobian's row axis would
        # broadcast into the parameters unseen.
        if _is_masked(update) or jnp.shape(update) == jnp.shape(param):
            return
        hint = "prune goes last in the chain and sees what the parameters will see"
        if jnp.shape(update)[1:] == jnp.shape(param):
            hint = (
                "this is a jacobian: put bopt.smgd() first in the chain, outside "
                "optax.masked, optax.MultiSteps and optax.apply_if_finite"
            )
        raise ValueError(
            f"prune got an update of shape {jnp.shape(update)} at '{path_name(path)}'; "
            f"expected {jnp.shape(param)}, the shape of the parameter: {hint}."
        )

    jax.tree.map_with_path(check, mask, updates, params, is_leaf=_is_masked)
