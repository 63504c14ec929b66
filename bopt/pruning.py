"""Pruning during training: entries become exact zeros, by threshold or by number."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from bopt._dtypes import wide_dtype
from bopt._largest import largest, ranked
from bopt._leaves import check_same_leaves
from bopt.scores import Score, WorthFunction, as_score, magnitude
from bopt.selections import PyTree, Where, checked, path_names, select


class PruneState(NamedTuple):
    """State of `prune` and `prune_to`.

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


def prune(
    threshold: optax.ScalarOrSchedule = 1e-3,
    *,
    score: Score | WorthFunction | None = None,
    optimizer: optax.GradientTransformation | None = None,
    where: Where = 2,
    regrow: bool = True,
    keep_zeros: bool = False,
    every: int = 1,
    start: int = 0,
    stop: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Prune entries that an update leaves at or below a threshold.

    It is the last link of a chain: the update of a pruned entry becomes ``-param``, so
    that the new parameter is exactly 0. On a pruning step the mask is recomputed as
    ``not |param + update| <= threshold``, which keeps NaN visible; otherwise the last
    mask is held. Scores that see gradients cannot do so from there: give it the
    `optimizer` instead, and it is a whole optimizer. A pruned entry comes back only if
    one step moves it past the threshold, which hardly happens with Adam at a smaller
    learning rate.

    Args:
      threshold: largest score that is pruned; a float or a schedule over the updates
        so far.
      score: score of the entries, see `bopt.scores`: a `Score`, such as
        `bopt.saliency()`, or a function of a leaf; by default their magnitude.
      optimizer: the optimizer whose updates are pruned, such as
        ``optax.chain(bopt.smgd(), optax.adam(1e-3))``. Its input, gradients or a
        jacobian (whose row 0 counts), is what the score sees. None: a chain's last
        link.
      where: a selection (see `bopt.selections`), by default leaves of rank 2.
      regrow: if True, a pruned entry may come back on a later pruning step.
      keep_zeros: if True, entries that are 0 at init start pruned, and `regrow` is
        False: a pruned network is trained on, with a new optimizer, without its zeros
        coming back.
      every: steps between two pruning steps.
      start: the first pruning step, counted from 0.
      stop: the step from which the last mask is held; None: never.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose ``update`` needs `params`.
      Under `optax.inject_hyperparams`, name `score`, `optimizer`, `where`, `every`,
      `start` and `stop` in `static_args`.

    Raises:
      ValueError: a negative `start`, or `threshold` of magnitudes, `every` below 1,
        `stop` not after `start`, a score that needs gradients without `optimizer`; at
        init, a selection that matches nothing; when traced, missing
        `params`, or an update of another shape than its parameter (named).

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

    Source: "intra-training pruning" of arXiv 2008.13590, whose code also prunes the
    biases of the dense layers.
    """
    if score is None:
        _check_at_least_0("prune", "threshold", threshold)
    regrow = regrow and not keep_zeros

    def new_mask(masks, worth, step):
        limit = threshold(step) if callable(threshold) else threshold

        def kept(worth, mask):
            # Not "worth > limit", which would prune NaN.
            above = ~(worth <= jnp.asarray(limit).astype(worth.dtype))
            return above if regrow else above & mask

        return [kept(*pair) for pair in zip(worth, masks, strict=True)]

    timing = every, start, stop
    return _pruning("prune", new_mask, score, optimizer, where, keep_zeros, *timing)


def prune_to(
    sparsity: optax.ScalarOrSchedule,
    *,
    score: Score | WorthFunction | None = None,
    optimizer: optax.GradientTransformation | None = None,
    where: Where = 2,
    scope: Literal["global", "layer"] = "global",
    regrow: bool = True,
    keep_zeros: bool = False,
    every: int = 1,
    start: int = 0,
    stop: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Prune the entries of smallest magnitude, or score, up to a given sparsity.

    Like `prune` it is the last link of a chain and has the same state, but a pruning
    step keeps exactly the k entries of largest ``|param + update|``, or of the highest
    score of ``param + update``, where k is their number n less the nearest integer to
    ``sparsity * n``. The first of equal entries in the tree's order are kept; NaN
    counts as largest, so that it stays visible.

    Gradual pruning takes a schedule, such as `bopt.cubic_sparsity`, and ``every=100``
    or so, which saves most of the search; one-shot pruning ``start=t, stop=t + 1``.

    Args:
      sparsity: share of the selected entries to set to 0, from 0 to 1; a float, or a
        schedule over the updates so far, whose values are clipped.
      score: as `prune`.
      optimizer: as `prune`.
      where: a selection (see `bopt.selections`), by default leaves of rank 2.
      scope: ``"global"``: the entries of all selected leaves compete; ``"layer"``: each
        leaf gets the sparsity by itself.
      regrow: if True, a pruned entry may come back on a later pruning step. If False,
        fewer than k entries are kept where fewer are left.
      keep_zeros: as `prune`.
      every: steps between two pruning steps.
      start: the first pruning step, counted from 0.
      stop: the step from which the last mask is held; None: never.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose ``update`` needs `params`.
      Under `optax.inject_hyperparams`, name `score`, `optimizer`, `where`, `scope`,
      `every`, `start` and `stop` in `static_args`.

    Raises:
      ValueError: a `sparsity` outside [0, 1] or an unknown `scope`; else as `prune`.

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
    regrow = regrow and not keep_zeros

    def new_mask(masks, worth, step):
        share = sparsity(step) if callable(sparsity) else sparsity
        # Entries that may not come back rank below all others.
        ranks = ranked(worth, [mask | regrow for mask in masks])
        groups = [ranks] if scope == "global" else [[leaf] for leaf in ranks]

        def number(size):
            # NumPy rounds a Python number in float64, JAX in float32.
            numpy = np if _known(share) else jnp
            return size - numpy.round(numpy.clip(share, 0, 1) * size).astype(int)

        kept = [
            mask
            for group in groups
            for mask in largest(group, number(sum(leaf.size for leaf in group)))
        ]
        return [mask & (old | regrow) for mask, old in zip(kept, masks, strict=True)]

    timing = every, start, stop
    return _pruning("prune_to", new_mask, score, optimizer, where, keep_zeros, *timing)


def _pruning(
    name: str,
    new_mask: Callable[[list[jax.Array], list[jax.Array], jax.Array], list[jax.Array]],
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
        step, gradients, inner_state = state.step, None, ()
        if optimizer is not None:
            if own.gradients:
                gradients = _gradients(state.mask, updates, params)
            updates, inner_state = inner.update(
                updates, state.optimizer, params, **extra_args
            )
        _check_updates(name, state.mask, updates, params)
        before = _selected(state.mask, params)
        score_state = own.update(gradients, before, state.score)

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
            after = [
                jnp.asarray(optax.apply_updates(param, update))
                for param, update in zip(before, changes, strict=True)
            ]
            return new_mask(masks, own.worth(after, score_state), step)

        if (every, start, stop) == (1, 0, None):  # faster to compile, and without jit
            masks = pruned()
        else:
            due = (step >= start) & ((step - start) % every == 0)
            if stop is not None:
                due &= step < stop
            masks = jax.lax.cond(due, pruned, lambda: masks)
        mask = jax.tree.unflatten(structure, masks)
        updates = jax.tree.map(rewrite, mask, updates, params, is_leaf=_is_masked)
        step = optax.safe_increment(step)
        return updates, PruneState(mask, step, score_state, inner_state)

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


def _known(value: Any) -> TypeGuard[float]:
    """True for a number that can be checked now, unlike a traced array."""
    return isinstance(value, int | float | np.number)


def _check_at_least_0(name: str, key: str, value: Any) -> None:
    if _known(value) and not value >= 0:
        raise ValueError(f"{name} got {key}={value}; expected at least 0.")


def _check_timing(name: str, every: Any, start: Any, stop: Any) -> None:
    if _known(every) and every < 1:
        raise ValueError(f"{name} got every={every}; expected at least 1 step.")
    _check_at_least_0(name, "start", start)
    if _known(stop) and _known(start) and stop <= start:
        got = f"stop={stop} with start={start}"
        raise ValueError(f"{name} got {got}; expected stop > start.")


def _check_updates(name: str, mask: PyTree, updates: PyTree, params: PyTree) -> None:
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
