"""Masks in the optimizer's state, of `prune`, `prune_to` and `prune_n_m`."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from bopt._dtypes import wide_dtype
from bopt._leaves import check_same_leaves
from bopt.scores import Score, WorthFunction, as_score, magnitude
from bopt.selections import PyTree, Where, checked, path_names, select

Leaves = list[jax.Array]
Rule = Callable[[Leaves, Leaves, jax.Array], Leaves]


class PruneState(NamedTuple):
    """State of `prune`, `prune_to` and `prune_n_m`.

    Attributes:
      mask: a tree like the parameters: a boolean array per selected leaf, True = kept;
        `optax.MaskedNode` for the other leaves. Unlike the static masks of
        `optax.masked`, these change during training. Read them from any chain with
        ``optax.tree.get(state, "PruneState").mask``.
      step: scalar int32, the number of updates so far.
      score: the score's own state; ``()`` if it has none.
      optimizer: the state of the optimizer that is pruned; ``()`` in a chain.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> bopt.prune().init({"kernel": jnp.ones((1, 2)), "bias": jnp.ones(2)}).mask
      {'bias': MaskedNode(), 'kernel': Array([[ True,  True]], dtype=bool)}
    """

    mask: PyTree
    step: ArrayLike
    score: Any = ()
    optimizer: Any = ()


def pruning(
    name: str,
    new_mask: Rule,
    score: Score | WorthFunction | None,
    optimizer: optax.GradientTransformation | None,
    where: Where,
    keep_zeros: bool,
    every: int,
    start: int,
    stop: int | None,
) -> optax.GradientTransformationExtraArgs:
    """The transformation of a rule from masks, new scores and step to masks."""
    checked(where)
    _check_timing(name, every, start, stop)
    own = magnitude() if score is None else as_score(score)
    if optimizer is None and own.gradients:
        raise ValueError(
            f"{name} got a score that needs gradients, which the last link of a chain "
            f"does not see; expected the optimizer: {name}(..., optimizer=optax.chain("
            "...))."
        )
    inner = optax.identity() if optimizer is None else optimizer
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: PyTree) -> PruneState:
        def mask(chosen, leaf):
            if not chosen:
                return optax.MaskedNode()
            return leaf != 0 if keep_zeros else jnp.ones_like(leaf, dtype=bool)

        masks = jax.tree.map(mask, select(where, params), params)
        return PruneState(
            mask=masks,
            step=jnp.zeros((), jnp.int32),
            score=own.init(_selected(masks, params)),
            optimizer=() if optimizer is None else inner.init(params),
        )

    def update_fn(updates, state, params=None, **extra_args):
        if params is None:
            call = "call update(updates, state, params)"
            raise ValueError(f"{name} rewrites updates from the parameters: {call}.")
        step = jnp.asarray(state.step)
        gradients, inner_state = None, ()
        if optimizer is not None:
            if own.gradients:
                check_same_leaves(name, updates, params)
                gradients = _gradients(state.mask, updates, params)
            updates, inner_state = inner.update(
                updates, state.optimizer, params, **extra_args
            )
        check_updates(name, state.mask, updates, params)
        before = _selected(state.mask, params)

        def scored():
            return own.update(gradients, before, state.score)

        if own.gradients and stop is not None:  # of no use once the last mask is held
            score_state = jax.lax.cond(step < stop, scored, lambda: state.score)
        else:
            score_state = scored()

        def rewrite(mask, update, param):
            if _is_masked(mask):
                return update
            # -param must not be rounded to an update of lower precision.
            same = update.dtype == param.dtype
            dtype = param.dtype if same else wide_dtype([update, param])
            return jnp.where(mask, update.astype(dtype), -param.astype(dtype))

        masks, structure = jax.tree.flatten(state.mask)

        def pruned():
            changes = _selected(state.mask, updates)
            moved = [
                jnp.asarray(optax.apply_updates(param, update))
                for param, update in zip(before, changes, strict=True)
            ]
            return new_mask(masks, own.worth(moved, score_state), step)

        if (every, start, stop) == (1, 0, None):  # faster to compile, and without jit
            masks = pruned()
        else:
            due = (step >= start) & ((step - start) % every == 0)
            if stop is not None:
                due &= step < stop
            masks = jax.lax.cond(due, pruned, lambda: masks)
        mask = jax.tree.unflatten(structure, masks)
        updates = jax.tree.map(rewrite, mask, updates, params, is_leaf=_is_masked)
        after = optax.safe_increment(step)
        return updates, PruneState(mask, after, score_state, inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _selected(mask: PyTree, tree: PyTree) -> list[Any]:
    """Leaves of a tree that have a mask."""
    chosen = jax.tree.map(
        lambda mask, leaf: mask if _is_masked(mask) else leaf,
        mask,
        tree,
        is_leaf=_is_masked,
    )
    return jax.tree.leaves(chosen)


def _gradients(mask: PyTree, updates: PyTree, params: PyTree) -> list[jax.Array]:
    """Gradients of objective 0: the updates that come in, or row 0 of a jacobian."""
    pairs = zip(_selected(mask, updates), _selected(mask, params), strict=True)
    return [
        jnp.asarray(update)[0] if jnp.ndim(update) > jnp.ndim(param) else update
        for update, param in pairs
    ]


def known(value: Any) -> TypeGuard[float]:
    """True for a number that can be checked now, unlike a traced array."""
    return isinstance(value, int | float | np.number)


def check_at_least_0(name: str, key: str, value: Any) -> None:
    if known(value) and not value >= 0:
        raise ValueError(f"{name} got {key}={value}; expected at least 0.")


def _check_timing(name: str, every: Any, start: Any, stop: Any) -> None:
    if known(every) and every < 1:
        raise ValueError(f"{name} got every={every}; expected at least 1 step.")
    check_at_least_0(name, "start", start)
    if known(stop) and known(start) and stop <= start:
        got = f"stop={stop} with start={start}"
        raise ValueError(f"{name} got {got}; expected stop > start.")


def check_updates(name: str, mask: PyTree, updates: PyTree, params: PyTree) -> None:
    """Raise ValueError unless each update has the shape of its parameter."""

    def check(_, leaf_name, update, param):
        # All leaves: a jacobian's row axis would broadcast silently into the parameter.
        if _is_masked(update) or jnp.shape(update) == jnp.shape(param):
            return
        hint = f"{name} goes last in the chain, after all links that change updates"
        if jnp.shape(update)[1:] == jnp.shape(param):
            hint = (
                "this is a jacobian: put bopt.smgd() first in the chain, outside "
                "optax.masked, optax.MultiSteps and optax.apply_if_finite"
            )
        raise ValueError(
            f"{name} got an update of shape {jnp.shape(update)} at "
            f"'{leaf_name}'; expected {jnp.shape(param)}, the shape of the "
            f"parameter: {hint}."
        )

    check_same_leaves(name, updates, params)
    names = path_names(params)
    jax.tree.map(check, mask, names, updates, params, is_leaf=_is_masked)
