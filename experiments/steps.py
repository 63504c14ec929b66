"""What runs on the device: the objectives, the training steps, the evaluation."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import bopt

EVALUATION_BATCH = 500


class Carry(NamedTuple):
    """What a training step takes and gives; lives on the device, donated.

    Attributes:
      params: the parameters.
      opt_state: the optimizer's state.
      objectives: (m,) sums of the objective values over the epoch's steps so far.
      weights: (m,) sums of the weights.
      bad_step: first step of the epoch whose objectives were not finite, or -1.
    """

    params: Any
    opt_state: Any
    objectives: jax.Array
    weights: jax.Array
    bad_step: jax.Array


def make_objectives(
    model: Any, conv_l2: float, l1_at_zero: float
) -> list[Callable[..., jax.Array]]:
    """The two objectives, functions of (params, images, labels).

    Args:
      model: a Flax Linen module from images to logits.
      conv_l2: coefficient of the squared l2 norm of the convolution kernels.
      l1_at_zero: the derivative of the l1 norm at 0, see `bopt.l1`.

    Returns:
      The data loss, cross entropy and penalty of the convolutions; and the l1 norm of
      the dense kernels. Images are floats in [0, 1].

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bopt.models import LeNet5
      >>> from experiments.steps import make_objectives
      >>> images, labels = jnp.zeros((2, 28, 28, 1)), jnp.zeros(2, jnp.uint8)
      >>> params = LeNet5().init(jax.random.key(0), images)
      >>> loss, l1 = make_objectives(LeNet5(), conv_l2=0.0, l1_at_zero=0.0)
      >>> print(loss(params, images, labels).round(4))  # log 10
      2.3026
    """

    def data_loss(params, images, labels):
        loss = _cross_entropy(model.apply(params, images), labels).mean()
        return loss + conv_l2 * bopt.l2(params, where=4) if conv_l2 else loss

    return [data_loss, functools.partial(bopt.l1, at_zero=l1_at_zero)]


def make_steps(
    objectives: list[Callable[..., jax.Array]],
    optimizer: optax.GradientTransformationExtraArgs,
    batch_size: int,
) -> Callable[..., Carry]:
    """A function that trains: ``(carry, images, labels, order, start, stop) -> carry``.

    Steps `start` to `stop` (traced) of an epoch whose images are taken in the given
    `order`. A loop, not a scan: chunks of any length share one compilation.

    Args:
      objectives: see `make_objectives`.
      optimizer: from their jacobian to updates; it holds a `bopt.smgd`.
      batch_size: images a step.

    Returns:
      A function for `jax.jit`.
    """
    value_and_jac = bopt.value_and_jac(objectives)

    def steps(carry, images, labels, order, start, stop):
        def step(number, carry):
            chosen = jax.lax.dynamic_slice(order, (number * batch_size,), (batch_size,))
            batch = unit(images[chosen]), labels[chosen]
            values, jac = value_and_jac(carry.params, *batch)
            updates, opt_state = optimizer.update(
                jac, carry.opt_state, carry.params, values=values
            )
            bad = (carry.bad_step < 0) & ~jnp.isfinite(values).all()
            return Carry(
                optax.apply_updates(carry.params, updates),
                opt_state,
                carry.objectives + values,
                carry.weights + optax.tree.get(opt_state, "SmgdState").weights,
                jnp.where(bad, number, carry.bad_step),
            )

        return jax.lax.fori_loop(start, stop, step, carry)

    return steps


def make_evaluate(model: Any) -> Callable[..., jax.Array]:
    """A function that evaluates: ``(params, images, labels, start, stop) -> (2,)``.

    Args:
      model: a Flax Linen module from images to logits.

    Returns:
      A function for `jax.jit`: mean accuracy and mean cross entropy of the images
      `start` to `stop` (traced), stacked.
    """

    def evaluate(params, images, labels, start, stop):
        def batch(number, sums):
            index = start + number * EVALUATION_BATCH + jnp.arange(EVALUATION_BATCH)
            counted = index < stop
            index = jnp.minimum(index, stop - 1)
            logits = model.apply(params, unit(images[index]))
            right = logits.argmax(-1) == labels[index]
            losses = _cross_entropy(logits, labels[index])
            return sums + jnp.stack([(counted * right).sum(), (counted * losses).sum()])

        batches = (stop - start + EVALUATION_BATCH - 1) // EVALUATION_BATCH
        return jax.lax.fori_loop(0, batches, batch, jnp.zeros(2)) / (stop - start)

    return evaluate


def unit(images: jax.Array) -> jax.Array:
    """Images as floats in [0, 1] instead of integers in [0, 255].

    Example:
      >>> import jax.numpy as jnp
      >>> from experiments.steps import unit
      >>> print(unit(jnp.array([255], jnp.uint8)))
      [1.]
    """
    return images.astype(jnp.float32) / 255


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.losses.softmax_cross_entropy_with_integer_labels(
        logits, labels.astype(jnp.int32)
    )
