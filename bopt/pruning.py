"""Intra-training pruning: small entries become exact zeros after every batch."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from bopt._dtypes import wide_dtype
from bopt.selections import PyTree, Where, path_name, select


class PruneState(NamedTuple):
    """State of `prune` and `prune_to`.

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
    _check_at_least_0("prune", "threshold", threshold)
    _check_timing("prune", every, start, stop)

    def new_mask(masks, magnitudes, step):
        limit = threshold(step) if callable(threshold) else threshold

        def kept(magnitude, mask):
            # Written so that NaN compares as kept.
            above = ~(magnitude <= jnp.asarray(limit).astype(magnitude.dtype))
            return above if regrow else above & mask

        return [kept(*pair) for pair in zip(magnitudes, masks, strict=True)]

    return _pruning("prune", new_mask, where, every, start, stop)


def prune_to(
    sparsity: optax.ScalarOrSchedule,
    *,
    where: Where = 2,
    scope: Literal["global", "layer"] = "global",
    regrow: bool = True,
    every: int = 1,
    start: int = 0,
    stop: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Sets the smallest entries to zero, as many as a wanted sparsity needs.

    Magnitude pruning: like `prune` the last link of a chain, with the same state, but
    on a pruning step exactly k entries are kept, those of largest
    ``|param + update|``. Of n entries, k is n less the nearest integer to
    ``sparsity * n``. Of equal entries the first ones in the tree's order are kept; a
    NaN counts as largest, and so is seen.

    Gradual pruning is a schedule, e.g. `bopt.cubic_sparsity`, with ``every=100`` or so
    (each pruning step sorts the magnitudes). One-shot pruning of a trained network is a
    single pruning step, ``start=t, stop=t + 1``, after which the mask is held.

    Args:
      sparsity: share of the selected entries that become 0, from 0 to 1; a float or a
        schedule over the updates so far. What a schedule gives, or an array holds, is
        clipped to that range.
      where: a selection (see `bopt.selections`) of the leaves to prune; by default
        those of rank 2, the dense kernels. The others cost no state.
      scope: ``"global"``: the entries of all selected leaves compete; ``"layer"``: each
        leaf gets the sparsity by itself.
      regrow: whether a pruned entry may come back on a later pruning step. If not,
        masks only shrink: where more are to be kept than are left, those are.
      every: steps between two pruning steps.
      start: the first pruning step, counted from 0.
      stop: the step from which the mask is held; None: never.

    Returns:
      An `optax.GradientTransformationExtraArgs` with a `PruneState`, whose ``update``
      needs `params`. Under `optax.inject_hyperparams` name `where`, `scope`, `every`,
      `start`, `stop` in `static_args`.

    Raises:
      ValueError: a `sparsity` outside [0, 1], an unknown `scope`, a negative `start`,
        `every` below 1, `stop` not after `start`; at init, a selection that matches
        nothing; when traced, `params` missing or an update of another shape than its
        parameter (it is named).

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> params = {"kernel": jnp.array([[4.0, -1.0, 2.0, 3.0]])}
      >>> optimizer = optax.chain(optax.sgd(0.1), bopt.prune_to(0.5))
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update(
      ...     {"kernel": jnp.zeros((1, 4))}, state, params)
      >>> print(optax.apply_updates(params, updates)["kernel"])
      [[4. 0. 0. 3.]]

    Source: S. Han, J. Pool, J. Tran, W. J. Dally, *Learning both weights and
    connections for efficient neural networks* (arXiv 1506.02626); with a schedule,
    M. Zhu, S. Gupta, *To prune, or not to prune* (arXiv 1710.01878).
    """
    _check_at_least_0("prune_to", "sparsity", sparsity)
    if _known(sparsity) and sparsity > 1:
        raise ValueError(f"prune_to got sparsity={sparsity}; expected at most 1.")
    if scope not in ("global", "layer"):
        raise ValueError(f"prune_to got scope={scope!r}; expected 'global' or 'layer'.")
    _check_timing("prune_to", every, start, stop)

    def new_mask(masks, magnitudes, step):
        share = sparsity(step) if callable(sparsity) else sparsity
        # What may not come back is smaller than all that may be kept.
        flat = [
            jnp.where(mask | regrow, magnitude, -1).ravel()
            for mask, magnitude in zip(masks, magnitudes, strict=True)
        ]
        groups = [jnp.concatenate(flat)] if scope == "global" else flat
        kept = jnp.concatenate([_largest(group, share) for group in groups])
        ends = np.cumsum([magnitude.size for magnitude in magnitudes])[:-1]
        pairs = zip(jnp.split(kept, ends), masks, strict=True)
        return [part.reshape(mask.shape) & (mask | regrow) for part, mask in pairs]

    return _pruning("prune_to", new_mask, where, every, start, stop)


def _largest(magnitudes: jax.Array, share: ArrayLike) -> jax.Array:
    """True but for the smallest share of entries; of equal ones the first are kept."""
    size = magnitudes.size
    # A number is rounded here, with all its digits.
    numpy = np if _known(share) else jnp
    number = size - numpy.round(numpy.clip(share, 0, 1) * size).astype(int)
    ranked = jnp.where(jnp.isnan(magnitudes), jnp.inf, magnitudes)
    limit = jnp.append(jnp.sort(ranked), jnp.inf)[size - number]
    above = ranked > limit
    equal = (ranked == limit) & (number > 0)
    return above | (equal & (jnp.cumsum(equal) <= number - above.sum()))


def _pruning(
    name: str,
    new_mask: Callable[[list[jax.Array], list[jax.Array], jax.Array], list[jax.Array]],
    where: Where,
    every: int,
    start: int,
    stop: int | None,
) -> optax.GradientTransformationExtraArgs:
    """The transform of a rule: from the selected leaves' masks, the magnitudes of what
    the update would make of them, and the step, to new masks."""

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
                f"{name} rewrites updates from the parameters: call "
                "update(updates, state, params)."
            )
        _check_updates(name, state.mask, updates, params)
        step = state.step

        def magnitude(mask, update, param):
            if _is_masked(mask):
                return mask
            new = jnp.asarray(optax.apply_updates(param, update))
            return jnp.abs(new).astype(wide_dtype([new]))

        def rewrite(mask, update, param):
            if _is_masked(mask):
                return update
            # -param must not be rounded to an update of fewer digits.
            same = update.dtype == param.dtype
            dtype = param.dtype if same else wide_dtype([update, param])
            return jnp.where(mask, update.astype(dtype), -param.astype(dtype))

        trees = (state.mask, updates, params)
        masks, structure = jax.tree.flatten(state.mask)
        magnitudes = jax.tree.map(magnitude, *trees, is_leaf=_is_masked)
        magnitudes = jax.tree.leaves(magnitudes)
        if (every, start, stop) == (1, 0, None):  # quicker to compile, and without jit
            masks = new_mask(masks, magnitudes, step)
        else:
            due = (step >= start) & ((step - start) % every == 0)
            if stop is not None:
                due &= step < stop
            masks = jax.lax.cond(
                due, lambda: new_mask(masks, magnitudes, step), lambda: masks
            )
        mask = jax.tree.unflatten(structure, masks)
        updates = jax.tree.map(rewrite, mask, updates, params, is_leaf=_is_masked)
        return updates, PruneState(mask, optax.safe_increment(step))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _known(value: Any) -> TypeGuard[float]:
    """Whether it is a number; traced ones cannot be looked at."""
    return isinstance(value, int | float | np.number)


def _check_at_least_0(name: str, key: str, value: Any) -> None:
    if _known(value) and not value >= 0:
        raise ValueError(f"{name} got {key}={value}; expected at least 0.")


def _check_timing(name: str, every: Any, start: Any, stop: Any) -> None:
    if _known(every) and every < 1:
        raise ValueError(f"{name} got every={every}; expected at least 1 step.")
    _check_at_least_0(name, "start", start)
    if _known(stop) and _known(start) and stop <= start:
        raise ValueError(
            f"{name} got stop={stop} with start={start}; expected stop > start."
        )


def _check_updates(name: str, mask: PyTree, updates: PyTree, params: PyTree) -> None:
    def check(path, _, update, param):
        # Leaves that are not pruned are checked too: a jacobian's row axis would
        # broadcast into the parameters unseen.
        if _is_masked(update) or jnp.shape(update) == jnp.shape(param):
            return
        hint = f"{name} goes last in the chain and sees what the parameters will see"
        if jnp.shape(update)[1:] == jnp.shape(param):
            hint = (
                "this is a jacobian: put bopt.smgd() first in the chain, outside "
                "optax.masked, optax.MultiSteps and optax.apply_if_finite"
            )
        raise ValueError(
            f"{name} got an update of shape {jnp.shape(update)} at "
            f"'{path_name(path)}'; expected {jnp.shape(param)}, the shape of the "
            f"parameter: {hint}."
        )

    jax.tree.map_with_path(check, mask, updates, params, is_leaf=_is_masked)
