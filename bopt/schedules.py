"""Schedules of learning rates and sparsities that `optax.schedules` lacks."""

from typing import cast

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from bopt._pruning import known


def logistic_decay(
    init_value: float, epochs: int, steps_per_epoch: int = 1
) -> optax.Schedule:
    """Decay to a tenth along a logistic curve, in the second half of the training.

    Epoch e of E has ``init_value * (1 - 0.9 * sigmoid((e - 0.75 E) / (0.075 E)))``, and
    epoch 0 exactly `init_value`.

    Args:
      init_value: the value at the start.
      epochs: E, the number of epochs.
      steps_per_epoch: number of optimizer steps per epoch.

    Returns:
      A schedule: step -> value.

    Raises:
      ValueError: `epochs` or `steps_per_epoch` below 1.

    Example:
      >>> import bopt
      >>> schedule = bopt.logistic_decay(1.0, epochs=20)
      >>> [round(float(schedule(epoch)), 3) for epoch in (0, 10, 15, 19)]
      [1.0, 0.969, 0.55, 0.158]

    Source: the learning-rate schedule in the code of arXiv 2008.13590.
    """
    if epochs < 1 or steps_per_epoch < 1:
        raise ValueError(
            f"logistic_decay got epochs={epochs}, steps_per_epoch={steps_per_epoch}; "
            "expected at least 1 of each."
        )

    def schedule(step):
        epoch = (jnp.asarray(step) // steps_per_epoch).astype(float)
        decayed = 1 - 0.9 * jax.nn.sigmoid((epoch - 0.75 * epochs) / (0.075 * epochs))
        return init_value * jnp.where(epoch == 0, 1.0, decayed)

    return schedule


def time_decay(init_value: float, decay: float) -> optax.Schedule:
    """Decay as ``init_value / (1 + decay * step)``.

    Args:
      init_value: the value at step 0.
      decay: non-negative decay per step.

    Returns:
      A schedule: step -> value.

    Raises:
      ValueError: a negative `decay`.

    Example:
      >>> import bopt
      >>> float(bopt.time_decay(1.0, decay=0.5)(2))
      0.5

    Source: the argument ``decay`` of Keras' optimizers.
    """
    if decay < 0:
        raise ValueError(f"time_decay got decay={decay}; expected at least 0.")

    def schedule(step):
        return init_value / (1 + decay * jnp.asarray(step).astype(float))

    return schedule


def cubic_sparsity(
    end_value: ArrayLike,
    transition_steps: int,
    *,
    init_value: float = 0.0,
    transition_begin: int = 0,
) -> optax.Schedule:
    """Raise a sparsity fast at first, then ever more slowly; for `bopt.prune_to`.

    It is ``end_value + (init_value - end_value) * (1 - t / T) ** 3``, t steps after
    `transition_begin` and until t = T = `transition_steps`.

    Args:
      end_value: the sparsity at the end, 0 to 1; it may be traced.
      transition_steps: T, the number of steps of the rise.
      init_value: the sparsity at the start, 0 to 1.
      transition_begin: the first step of the rise.

    Returns:
      A schedule: step -> sparsity, an `optax.polynomial_schedule` of power 3.

    Raises:
      ValueError: a value outside [0, 1], or `transition_steps` below 1.

    Example:
      >>> import bopt
      >>> schedule = bopt.cubic_sparsity(0.8, 100)
      >>> [round(float(schedule(step)), 3) for step in (0, 50, 100, 200)]
      [0.0, 0.7, 0.8, 0.8]

    Source: M. Zhu, S. Gupta, *To prune, or not to prune* (arXiv 1710.01878), eq. 1.
    """
    shares = [share for share in (init_value, end_value) if known(share)]
    if not all(0 <= share <= 1 for share in shares) or transition_steps < 1:
        raise ValueError(
            f"cubic_sparsity got init_value={init_value}, end_value={end_value}, "
            f"transition_steps={transition_steps}; expected sparsities from 0 to 1 and "
            "at least 1 step."
        )
    return optax.polynomial_schedule(
        init_value, cast(float, end_value), 3, transition_steps, transition_begin
    )


def hold_cosine(
    init_value: float, decay_steps: int, hold: float = 0.5
) -> optax.Schedule:
    """Hold a learning rate, then decay it to 0 along half a cosine.

    Args:
      init_value: the value until ``hold * decay_steps``.
      decay_steps: the step at which 0 is reached.
      hold: share of the steps before the decay, from 0 (a cosine decay) to below 1.

    Returns:
      A schedule: step -> value.

    Raises:
      ValueError: `decay_steps` below 1, or `hold` not from 0 to below 1.

    Example:
      >>> import bopt
      >>> schedule = bopt.hold_cosine(1.0, 100)
      >>> [round(float(schedule(step)), 3) for step in (0, 50, 75, 100, 200)]
      [1.0, 1.0, 0.5, 0.0, 0.0]

    Source: the decay is that of I. Loshchilov, F. Hutter, *SGDR* (arXiv 1608.03983).
    """
    if decay_steps < 1 or not 0 <= hold < 1:
        raise ValueError(
            f"hold_cosine got decay_steps={decay_steps}, hold={hold}; expected at "
            "least 1 step, and a share from 0 to below 1."
        )

    def schedule(step):
        share = jnp.asarray(step).astype(float) / decay_steps
        decayed = jnp.clip((share - hold) / (1 - hold), 0, 1)
        return init_value * 0.5 * (1 + jnp.cos(jnp.pi * decayed))

    return schedule
