"""Learning-rate schedules of the original that `optax.schedules` lacks."""

import jax
import jax.numpy as jnp
import optax


def logistic_decay(
    init_value: float, epochs: int, steps_per_epoch: int = 1
) -> optax.Schedule:
    """The paper's schedule: level for half of the training, then down to a tenth.

    In epoch e of E (constant within an epoch) the value is
    ``init_value * (1 - 0.9 * sigmoid((e - 0.75 E) / (0.075 E)))``, and exactly
    `init_value` in epoch 0.

    Args:
      init_value: the value at the start.
      epochs: E, the number of epochs.
      steps_per_epoch: optimizer steps an epoch.

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
    """The original's time decay, that of Keras: ``init_value / (1 + decay * step)``.

    Args:
      init_value: the value at step 0.
      decay: decay per step, non-negative; 0: constant.

    Returns:
      A schedule: step -> value.

    Raises:
      ValueError: a negative `decay`.

    Example:
      >>> import bopt
      >>> float(bopt.time_decay(1.0, decay=0.5)(2))
      0.5

    Source: the ``decay`` argument of Keras' optimizers, used in the code of arXiv
    2008.13590.
    """
    if decay < 0:
        raise ValueError(f"time_decay got decay={decay}; expected at least 0.")

    def schedule(step):
        return init_value / (1 + decay * jnp.asarray(step).astype(float))

    return schedule
