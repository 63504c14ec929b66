"""Proximal steps: a penalty that is minimized exactly after each update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from bopt._dtypes import wide_dtype
from bopt._pruning import check_at_least_0, check_updates
from bopt.selections import PyTree, Where, path_names, select

Metric = Callable[[optax.OptState], PyTree]


class SoftThresholdState(NamedTuple):
    """State of `soft_threshold`.

    Attributes:
      step: scalar int32, the number of updates so far.
      optimizer: the state of the optimizer; ``()`` in a chain.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> print(bopt.soft_threshold(0.1).init({"kernel": jnp.ones((1, 1))}))
      SoftThresholdState(step=Array(0, dtype=int32), optimizer=())
    """

    step: ArrayLike
    optimizer: Any = ()


def soft_threshold(
    threshold: optax.ScalarOrSchedule,
    *,
    optimizer: optax.GradientTransformation | None = None,
    metric: Metric | None = None,
    where: Where = 2,
) -> optax.GradientTransformationExtraArgs:
    """Move entries toward 0 by a threshold, and to exactly 0 within it.

    After plain gradient descent with learning rate a, the threshold ``a * c`` is the
    proximal step of c times the l1 norm: leave the norm out of the objectives. It is
    the last link of a chain, but before `bopt.prune`. An optimizer that scales each
    entry of the gradient, such as Adam, measures distances in another metric, and the
    threshold of an entry is scaled in the same way: give it the `optimizer` and its
    `metric`, and it is a whole optimizer.

    Args:
      threshold: non-negative; a float, or a schedule over the updates so far, such as
        that of the learning rate times c.
      optimizer: the optimizer that moves the parameters; None: a chain's last link.
      metric: a function from the optimizer's state after the update to the scale of
        each entry's step: a tree like the parameters, such as `bopt.adam_metric()`;
        None: 1.
      where: a selection (see `bopt.selections`), by default leaves of rank 2.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose ``update`` needs `params`.
      Under `optax.inject_hyperparams`, name `optimizer`, `metric` and `where` in
      `static_args`.

    Raises:
      ValueError: a negative `threshold`, a `metric` without `optimizer`; when traced,
        missing `params`, or a metric of another shape than its parameter (named).

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> params = {"kernel": jnp.array([[1.0, -0.05]])}
      >>> optimizer = optax.chain(optax.sgd(0.1), bopt.soft_threshold(0.1 * 2.0))
      >>> updates, _ = optimizer.update(
      ...     {"kernel": jnp.zeros((1, 2))}, optimizer.init(params), params)
      >>> print(optax.apply_updates(params, updates)["kernel"])
      [[0.8 0. ]]

    Source: I. Daubechies, M. Defrise, C. De Mol, *An iterative thresholding algorithm
    for linear inverse problems* (arXiv math/0307152); in the metric of an adaptive
    optimizer, J. Yun, A. C. Lozano, E. Yang, *Adaptive proximal gradient methods for
    structured neural networks* (NeurIPS 2021).
    """
    check_at_least_0("soft_threshold", "threshold", threshold)
    if metric is not None and optimizer is None:
        raise ValueError(
            "soft_threshold got a metric without an optimizer; expected the optimizer "
            "whose state it reads: soft_threshold(..., optimizer=optax.chain(...))."
        )
    inner = optax.identity() if optimizer is None else optimizer
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: PyTree) -> SoftThresholdState:
        select(where, params)  # reports a selection that matches nothing
        own = () if optimizer is None else inner.init(params)
        return SoftThresholdState(jnp.zeros((), jnp.int32), own)

    def update_fn(updates, state, params=None, **extra_args):
        if params is None:
            call = "call update(updates, state, params)"
            raise ValueError(f"soft_threshold rewrites updates: {call}.")
        own = ()
        if optimizer is not None:
            updates, own = inner.update(updates, state.optimizer, params, **extra_args)
        chosen, names = select(where, params), path_names(params)
        check_updates("soft_threshold", chosen, updates, params)
        limit = threshold(state.step) if callable(threshold) else threshold
        scales = jax.tree.map(lambda _: 1, params) if metric is None else metric(own)

        def shrunk(chosen, name, scale, update, param):
            if not chosen:
                return update
            if jnp.shape(scale) not in ((), jnp.shape(param)):
                raise ValueError(
                    f"soft_threshold got a metric of shape {jnp.shape(scale)} at "
                    f"'{name}'; expected {jnp.shape(param)}, the parameter's."
                )
            dtype = wide_dtype([update, param])
            new = param.astype(dtype) + update.astype(dtype)
            size = jnp.abs(new)
            own = jnp.asarray(limit * scale).astype(size.dtype)
            # Not "size > own", which would turn NaN into 0.
            inside = size <= own
            share = own / jnp.where(inside, 1, size)
            moved = jnp.where(inside, -param.astype(dtype), update - new * share)
            return moved if update.dtype != param.dtype else moved.astype(param.dtype)

        updates = jax.tree.map(shrunk, chosen, names, scales, updates, params)
        step = optax.safe_increment(jnp.asarray(state.step))
        return updates, SoftThresholdState(step, own)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def adam_metric(b2: float = 0.999, eps: float = 1e-8) -> Metric:
    """The scale of each entry's step under Adam, for `soft_threshold`.

    Args:
      b2: the optimizer's decay of second moments.
      eps: the optimizer's epsilon.

    Returns:
      A function from a state that holds an `optax.ScaleByAdamState` to a tree like the
      parameters: ``1 / (sqrt(nu / (1 - b2 ** count)) + eps)``.

    Raises:
      ValueError: when called, no `optax.ScaleByAdamState` in the state.

    Example:
      >>> import bopt, jax.numpy as jnp, numpy as np, optax
      >>> adam = optax.adam(0.1)
      >>> optimizer = bopt.soft_threshold(
      ...     0.1 * 2.0, optimizer=adam, metric=bopt.adam_metric())
      >>> params = {"kernel": jnp.array([[1.0, -0.15]])}
      >>> updates, _ = optimizer.update(
      ...     {"kernel": jnp.array([[1.0, 2.0]])}, optimizer.init(params), params)
      >>> print(np.asarray(params["kernel"] + updates["kernel"]).round(2))
      [[ 0.7  -0.15]]

    Source: D. P. Kingma, J. Ba, *Adam* (arXiv 1412.6980).
    """

    def metric(state: optax.OptState) -> PyTree:
        adam = optax.tree.get(state, "ScaleByAdamState")
        if adam is None:
            raise ValueError(
                "adam_metric got a state without optax.ScaleByAdamState; expected that "
                "of an optimizer with optax.adam or optax.scale_by_adam."
            )
        correction = 1 - b2 ** adam.count.astype(float)
        return jax.tree.map(
            lambda nu: 1 / (jnp.sqrt(nu / correction.astype(nu.dtype)) + eps), adam.nu
        )

    return metric
