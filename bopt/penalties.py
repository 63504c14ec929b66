"""Penalties: functions of the parameters, to be minimized beside a data loss."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bopt._dtypes import wide_dtype
from bopt.selections import PyTree, Where, selected_leaves
from bopt.units.description import Units


def l1(params: PyTree, *args: Any, where: Where = 2, at_zero: float = 1.0) -> jax.Array:
    """Sum of absolute values of the selected leaves, the complexity of the paper.

    It is an objective: ``bopt.value_and_jac([loss, bopt.l1])``. Its gradient is
    sign(w), and `at_zero` where w is 0, which after pruning is almost everywhere.

    `at_zero` matters when weights follow from norms. With 1, as `jax.grad` of
    `jax.numpy.abs`, the norm of the gradient is constant while entries are pruned. With
    0, as in the paper's code, it shortens, so the l1 norm gets more weight and prunes
    more: right with ``weigh_by="gradients"`` of `bopt.madam`; with
    ``weigh_by="directions"`` (the default) nothing stops this before the network is
    dead.

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
    return _sum_over(_magnitude("l1", at_zero), params, where)


def l2(params: PyTree, *args: Any, where: Where = 2) -> jax.Array:
    """Sum of squares of the selected leaves, without root or half, as in Keras.

    Penalties can be added: the l1 norm of the dense kernels plus this sum of the
    convolution kernels is
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


def log_penalty(
    params: PyTree,
    *args: Any,
    where: Where = 2,
    eps: float = 0.1,
    at_zero: float = 1.0,
) -> jax.Array:
    """Sum of ``eps * log(1 + |w| / eps)``: as `l1` near 0, with less and less slope.

    The derivative is 1 / (1 + |w| / eps): small entries are drawn to 0 as by the l1
    norm, large ones are hardly biased.

    Args:
      params: a pytree of arrays.
      *args: ignored (the batch, which every objective is called with).
      where: a selection (see `bopt.selections`), by default leaves of rank 2.
      eps: magnitude at which the slope is a half.
      at_zero: the derivative at 0, as in `l1`.

    Returns:
      A scalar, accumulated in float32 or the parameters' dtype if that is wider.

    Raises:
      ValueError: an `eps` that is not positive; else as `l1`.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"kernel": jnp.array([[0.001, -2.0]])}
      >>> print(f"{bopt.log_penalty(params):.4f}")
      0.3054

    Source: E. J. Candes, M. B. Wakin, S. P. Boyd, *Enhancing sparsity by reweighted l1
    minimization* (2008), section 2.2.
    """
    del args
    _check_positive("log_penalty", "eps", eps)
    absolute = _magnitude("log_penalty", at_zero)
    return _sum_over(lambda leaf: eps * jnp.log1p(absolute(leaf) / eps), params, where)


def mcp(
    params: PyTree,
    *args: Any,
    where: Where = 2,
    gamma: float = 0.1,
    at_zero: float = 1.0,
) -> jax.Array:
    """Minimax concave penalty: the l1 norm's slope at 0, none beyond `gamma`.

    It sums ``|w| - w^2 / (2 gamma)`` for ``|w| <= gamma`` and ``gamma / 2`` beyond, so
    that entries larger than `gamma` are not biased at all.

    Args:
      params: a pytree of arrays.
      *args: ignored (the batch, which every objective is called with).
      where: a selection (see `bopt.selections`), by default leaves of rank 2.
      gamma: magnitude from which on the slope is 0.
      at_zero: the derivative at 0, as in `l1`.

    Returns:
      A scalar, accumulated in float32 or the parameters' dtype if that is wider.

    Raises:
      ValueError: a `gamma` that is not positive; else as `l1`.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"kernel": jnp.array([[0.1, -2.0]])}
      >>> print(f"{bopt.mcp(params):.4f}")
      0.1000

    Source: C.-H. Zhang, *Nearly unbiased variable selection under minimax concave
    penalty* (Annals of Statistics 2010), eq. 2.1 with lambda 1.
    """
    del args
    _check_positive("mcp", "gamma", gamma)
    absolute = _magnitude("mcp", at_zero)

    def penalty(leaf):
        inside = jnp.minimum(absolute(leaf), gamma)
        return inside - inside**2 / (2 * gamma)

    return _sum_over(penalty, params, where)


def hoyer_square(params: PyTree, *args: Any, where: Where = 2) -> jax.Array:
    """Sum over the leaves of (sum of magnitudes)^2 / (sum of squares).

    A leaf of n entries has from 1 (a single nonzero entry) to n (all alike), whatever
    its scale: an estimate of the number of entries that matter.

    Args:
      params: a pytree of arrays.
      *args: ignored (the batch, which every objective is called with).
      where: a selection (see `bopt.selections`), by default leaves of rank 2.

    Returns:
      A scalar, accumulated in float32 or the parameters' dtype if that is wider; a leaf
      of zeros counts as 0.

    Raises:
      ValueError: the selection matches nothing.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> print(bopt.hoyer_square({"kernel": jnp.array([[3.0, -3.0, 0.0]])}))
      2.0

    Source: H. Yang, W. Wen, H. Li, *DeepHoyer* (ICLR 2020), eq. 3.
    """
    del args

    def ratio(leaf):
        squares = jnp.sum(jnp.square(leaf))
        none = squares == 0
        return jnp.sum(jnp.abs(leaf)) ** 2 / jnp.where(none, 1, squares)

    return _sum_over(ratio, params, where)


def group_lasso(params: PyTree, *args: Any, units: Units) -> jax.Array:
    """Sum over units of the norm of all their entries, which draws whole units to 0.

    The norm of n entries counts sqrt(n) times, so that small units have no advantage.
    Entries between two layers belong to a unit of each. As an objective it is given its
    units: ``functools.partial(bopt.group_lasso, units=units)``.

    Args:
      params: a pytree of arrays.
      *args: ignored (the batch, which every objective is called with).
      units: the units, see `bopt.units.find`.

    Returns:
      A scalar, accumulated in float32 or the parameters' dtype if that is wider. The
      derivative at a unit of zeros is 0.

    Raises:
      ValueError: parameters of another shape than those of `units` (named).

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> from bopt.units import Layer, Slice
      >>> params = {"w0": jnp.array([[2.0, 0.0]]), "w1": jnp.array([[1.5], [0.0]])}
      >>> units = bopt.units.describe(
      ...     params, [Layer("hidden", 2, (Slice("w0"),), (Slice("w1", -2),))])
      >>> print(f"{bopt.group_lasso(params, units=units):.4f}")  # sqrt(2) * 2.5
      3.5355

    Source: M. Yuan, Y. Lin, *Model selection and estimation in regression with grouped
    variables* (2006), eq. 2.3; for units W. Wen, C. Wu, Y. Wang, Y. Chen, H. Li,
    *Learning structured sparsity in deep neural networks* (arXiv 1608.03665), eq. 2.
    """
    del args
    units.check("group_lasso", params)
    leaves = units.leaves(params)
    wide = wide_dtype(list(leaves.values()))
    total = jnp.zeros((), wide)
    for layer in units.layers:
        squares = jnp.zeros(layer.number, wide)
        entries = np.zeros(layer.number, int)
        for part in layer.incoming + layer.outgoing:
            leaf = leaves[part.path].astype(wide)
            squares += units.totals(part, jnp.square(leaf), layer.number)
            owners = np.array(part.owners)
            owned = np.bincount(owners[owners >= 0], minlength=layer.number)
            entries += owned * (leaf.size // leaf.shape[part.axis])
        zero = squares == 0  # where the square root has no derivative
        norms = jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, entries * squares)))
        total += jnp.sum(norms)
    return total


def _magnitude(name: str, at_zero: float) -> Callable[[jax.Array], jax.Array]:
    """|w| with a given derivative at 0."""
    if not -1 <= at_zero <= 1:
        raise ValueError(
            f"{name} got at_zero={at_zero}; expected a subgradient of |w| at 0, from "
            "-1 to 1."
        )

    def magnitude(leaf):
        sign = jnp.where(leaf == 0, jnp.asarray(at_zero, leaf.dtype), jnp.sign(leaf))
        return leaf * jax.lax.stop_gradient(sign)

    return magnitude


def _check_positive(name: str, key: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} got {key}={value}; expected a positive number.")


def _sum_over(function: Callable[[jax.Array], jax.Array], params: PyTree, where: Where):
    """Sum of a function over the entries of the selected leaves."""
    leaves = [jnp.asarray(leaf) for leaf in selected_leaves(where, params)]
    wide = wide_dtype(leaves)
    return sum(
        (jnp.sum(function(leaf.astype(wide))) for leaf in leaves), jnp.zeros((), wide)
    )
