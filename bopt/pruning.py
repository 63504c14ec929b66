"""Pruning during training: entries become exact zeros, by threshold or by number."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bopt._largest import largest, ranked
from bopt._pruning import check_at_least_0, known, pruning
from bopt.scores import Score, WorthFunction
from bopt.selections import PyTree, Where, path_names, select


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
        check_at_least_0("prune", "threshold", threshold)
    regrow = regrow and not keep_zeros

    def new_mask(masks, worth, step):
        limit = threshold(step) if callable(threshold) else threshold

        def kept(worth, mask):
            # Not "worth > limit", which would prune NaN.
            above = ~(worth <= jnp.asarray(limit).astype(worth.dtype))
            return above if regrow else above & mask

        return [kept(*pair) for pair in zip(worth, masks, strict=True)]

    timing = every, start, stop
    return pruning("prune", new_mask, score, optimizer, where, keep_zeros, *timing)


def prune_to(
    sparsity: optax.ScalarOrSchedule,
    *,
    score: Score | WorthFunction | None = None,
    optimizer: optax.GradientTransformation | None = None,
    where: Where = 2,
    scope: Literal["global", "layer", "erdos_renyi"] = "global",
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
        leaf gets the sparsity by itself; ``"erdos_renyi"``: k entries in all, of each
        leaf a share that is proportional to ``sum(shape) / prod(shape)``, so that
        large layers become sparser (and none keeps more than all of its entries).
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
    M. Zhu, S. Gupta, *To prune, or not to prune* (arXiv 1710.01878); the shares of
    ``"erdos_renyi"`` are those of U. Evci, T. Gale, J. Menick, P. S. Castro, E. Elsen,
    *Rigging the lottery* (arXiv 1911.11134), section 3.
    """
    check_at_least_0("prune_to", "sparsity", sparsity)
    if known(sparsity) and sparsity > 1:
        raise ValueError(f"prune_to got sparsity={sparsity}; expected at most 1.")
    if scope not in ("global", "layer", "erdos_renyi"):
        raise ValueError(
            f"prune_to got scope={scope!r}; expected 'global', 'layer' or "
            "'erdos_renyi'."
        )
    regrow = regrow and not keep_zeros

    def new_mask(masks, worth, step):
        share = sparsity(step) if callable(sparsity) else sparsity
        # Entries that may not come back rank below all others.
        ranks = ranked(worth, [mask | regrow for mask in masks])
        total = sum(leaf.size for leaf in ranks)

        def number(size):
            # NumPy rounds a Python number in float64, JAX in float32.
            numpy = np if known(share) else jnp
            return size - numpy.round(numpy.clip(share, 0, 1) * size).astype(int)

        if scope == "global":
            kept = largest(ranks, number(total))
        else:
            numbers = (
                [number(leaf.size) for leaf in ranks]
                if scope == "layer"
                else _erdos_renyi([leaf.shape for leaf in ranks], number(total))
            )
            pairs = zip(ranks, numbers, strict=True)
            kept = [mask for leaf, own in pairs for mask in largest([leaf], own)]
        return [mask & (old | regrow) for mask, old in zip(kept, masks, strict=True)]

    timing = every, start, stop
    return pruning("prune_to", new_mask, score, optimizer, where, keep_zeros, *timing)


def _erdos_renyi(shapes: Sequence[tuple[int, ...]], total: Any) -> Any:
    """Numbers of entries, `total` in all, by the sums of the shapes."""
    numpy = np if isinstance(total, np.integer) else jnp
    sizes = np.array([math.prod(shape) for shape in shapes], float)
    sums = np.array([max(sum(shape), 1) for shape in shapes], float)
    order = np.argsort(sizes / sums)  # in which leaves become full
    sizes, sums = sizes[order], sums[order]
    # With the leaves before each full, all others have this factor of their sums.
    factors = (total - (np.cumsum(sizes) - sizes)) / np.cumsum(sums[::-1])[::-1]
    full = numpy.cumprod(factors * sums > sizes).sum()
    factor = factors[numpy.minimum(full, len(shapes) - 1)]
    shares = numpy.minimum(factor * sums, sizes)
    numbers = numpy.floor(shares)
    # Those of the largest remainders are rounded up.
    places = numpy.argsort(numpy.argsort(numbers - shares))
    numbers = (numbers + (places < total - numbers.sum())).astype(int)
    return numbers[np.argsort(order)]


def prune_n_m(
    n: int = 2,
    m: int = 4,
    *,
    axis: int = -2,
    score: Score | WorthFunction | None = None,
    optimizer: optax.GradientTransformation | None = None,
    where: Where = 2,
    regrow: bool = True,
    keep_zeros: bool = False,
    every: int = 1,
    start: int = 0,
    stop: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Keep n of each m consecutive entries along an axis, a pattern that GPUs exploit.

    Like `prune` it is the last link of a chain and has the same state. 2 of 4 entries
    along the axis over which a product sums is what sparse tensor cores compute at up
    to twice the speed. The first of equal entries are kept; NaN counts as largest.

    Args:
      n: number of entries to keep, from 1 to m.
      m: number of consecutive entries, which divides the length of the axis.
      axis: the axis over which a product with the leaf sums: -2 for kernels of Flax
        (inputs before outputs; convolutions too), -1 for weights of Equinox.
      score: as `prune`.
      optimizer: as `prune`.
      where: a selection (see `bopt.selections`), by default leaves of rank 2.
      regrow: if True, a pruned entry may come back on a later pruning step. If False,
        fewer than n entries are kept where fewer are left.
      keep_zeros: as `prune`.
      every: steps between two pruning steps.
      start: the first pruning step, counted from 0.
      stop: the step from which the last mask is held; None: never.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose ``update`` needs `params`.
      Under `optax.inject_hyperparams`, name all arguments in `static_args`.

    Raises:
      ValueError: an `n` that is not from 1 to `m`; at init, a leaf (named) without the
        axis, or whose length `m` does not divide; else as `prune`.

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> params = {"kernel": jnp.array([[4.0], [-1.0], [2.0], [3.0]])}
      >>> pruning = bopt.prune_n_m(2, 4)
      >>> updates, _ = pruning.update(
      ...     {"kernel": jnp.zeros((4, 1))}, pruning.init(params), params)
      >>> print(optax.apply_updates(params, updates)["kernel"].ravel())
      [4. 0. 0. 3.]

    Source: A. Zhou et al., *Learning N:M fine-grained structured sparse neural networks
    from scratch* (arXiv 2102.04010).
    """
    if not 1 <= n <= m:
        raise ValueError(f"prune_n_m got n={n}, m={m}; expected 1 <= n <= m.")
    regrow = regrow and not keep_zeros

    def kept(worth, mask):
        (rank,) = ranked([worth], [mask | regrow])
        last = jnp.moveaxis(rank, axis, -1)
        groups = last.reshape(*last.shape[:-1], -1, m)
        # How many entries of its group come before each.
        places = jnp.broadcast_to(jnp.arange(m), groups.shape)
        own, other = groups[..., :, None], groups[..., None, :]
        first = places[..., None, :] < places[..., :, None]
        before = ((other > own) | ((other == own) & first)).sum(-1)
        best = jnp.moveaxis((before < n).reshape(last.shape), -1, axis)
        return best & (mask | regrow)

    def new_mask(masks, worth, step):
        del step
        return [kept(*pair) for pair in zip(worth, masks, strict=True)]

    def check(chosen: bool, name: str, leaf: Any) -> None:
        shape = jnp.shape(leaf)
        if chosen and not (-len(shape) <= axis < len(shape) and shape[axis] % m == 0):
            raise ValueError(
                f"prune_n_m got axis={axis} with '{name}' of shape {shape}; expected "
                f"an axis whose length {m} divides: choose another axis, m or where."
            )

    timing = every, start, stop
    inner = pruning("prune_n_m", new_mask, score, optimizer, where, keep_zeros, *timing)

    def init_fn(params: PyTree) -> optax.OptState:
        jax.tree.map(check, select(where, params), path_names(params), params)
        return inner.init(params)

    return optax.GradientTransformationExtraArgs(init_fn, inner.update)
