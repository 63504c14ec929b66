"""What runs on the device: the objectives, the training steps, the evaluation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import bopt
from experiments.config import KERNELS, Config
from experiments.data import Dataset
from experiments.errors import ConfigError
from experiments.training.images import augmented

EVALUATION_BATCH = 200


class Carry(NamedTuple):
    """What a training step takes and gives; lives on the device, donated.

    Attributes:
      params: the parameters.
      model_state: the network's other collections, such as batch statistics; or {}.
      opt_state: the optimizer's state.
      objectives: (m,) sums of the objective values over the epoch's steps so far.
      weights: (m,) sums of the weights; with groups of layers, group -> sums.
      bad_step: first step of the epoch whose objectives were not finite, or -1.
      key: (2,) uint32, the data of the key of all that is random in the steps.
    """

    params: Any
    model_state: Any
    opt_state: Any
    objectives: jax.Array
    weights: Any
    bad_step: jax.Array
    key: jax.Array


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Batches an epoch; an incomplete last one is left out.

    Args:
      dataset: the images.
      batch_size: images a step.

    Returns:
      At least 1.

    Raises:
      ConfigError: a batch larger than the training set.

    Example:
      >>> from experiments import data
      >>> from experiments.training.step import steps_per_epoch
      >>> steps_per_epoch(data.load("digits"), 32)
      40
    """
    if batch_size > len(dataset.train):
        raise ConfigError(
            f"--batch-size is {batch_size}, but there are {len(dataset.train)} "
            "training images; expected at most as many."
        )
    return len(dataset.train) // batch_size


def make_penalties(config: Config) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What the objectives hold besides the cross entropy, functions of the parameters.

    Args:
      config: resolved options.

    Returns:
      The penalty that is part of objective 0, `conv_l2` times the squared l2 norm of
      the convolution kernels; and objective 1, the l1 norm of the dense kernels (or of
      all), with `split` plus the squared l2 norm of the convolution kernels.

    Example:
      >>> import jax.numpy as jnp
      >>> from experiments.config import Config
      >>> from experiments.training.step import make_penalties
      >>> regularizer, complexity = make_penalties(Config(conv_l2=0.5))
      >>> params = {"conv": jnp.ones((1, 1, 1, 4)), "dense": jnp.ones((3, 1))}
      >>> print(regularizer(params), complexity(params))
      2.0 3.0
    """

    def regularizer(params):
        return config.conv_l2 * bopt.l2(params, where=4) if config.conv_l2 else 0.0

    def complexity(params, *_):
        where = KERNELS[config.l1_where]
        l1 = bopt.l1(params, where=where, at_zero=config.l1_at_zero)
        return l1 + bopt.l2(params, where=4) if config.split else l1

    return regularizer, complexity


def make_objectives(model: Any, config: Config) -> list[Callable[..., Any]]:
    """The two objectives, functions of (params, model_state, images, labels, key).

    Args:
      model: a Flax Linen module from (images, train) to logits.
      config: resolved options.

    Returns:
      The data loss, mean cross entropy plus penalty, which also returns the updated
      `model_state`: ``(value, model_state)``; and the complexity (`make_penalties`).
      Images are floats; the key is for dropout.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bopt.models import LeNet5
      >>> from experiments.config import Config
      >>> from experiments.training.step import make_objectives
      >>> key, images = jax.random.key(0), jnp.zeros((2, 28, 28, 1))
      >>> params = LeNet5().init(key, images)
      >>> loss, l1 = make_objectives(LeNet5(), Config(conv_l2=0.0))
      >>> value, _ = loss(params, {}, images, jnp.zeros(2), key)
      >>> print(value.round(4))  # log 10
      2.3026
    """
    regularizer, complexity = make_penalties(config)

    def data_loss(params, model_state, images, labels, key):
        logits, updated = model.apply(
            {**params, **model_state},
            images,
            train=True,
            mutable=list(model_state),
            rngs={"dropout": key},
        )
        loss = _cross_entropy(logits, labels).mean()
        return loss + regularizer(params), updated

    return [data_loss, complexity]


def make_init(
    model: Any, optimizer: optax.GradientTransformationExtraArgs, image: jax.Array
) -> Callable[[jax.Array], Carry]:
    """A function that starts a training: ``key -> carry``.

    Args:
      model: a Flax Linen module from (images, train) to logits.
      optimizer: from a jacobian of two objectives to updates; it holds a `bopt.smgd`.
      image: (1, H, W, C), of the shape that the network will be given.

    Returns:
      A function for `jax.jit`.
    """

    def init(key):
        model_state = model.init(key, image)
        params = {"params": model_state.pop("params")}
        opt_state = optimizer.init(params)
        sums = jax.tree.map(jnp.zeros_like, chosen_weights(opt_state))
        return Carry(
            params,
            model_state,
            opt_state,
            jnp.zeros(2),
            sums,
            jnp.array(-1),
            jax.random.key_data(key),
        )

    return init


def make_steps(
    objectives: list[Callable[..., Any]],
    optimizer: optax.GradientTransformationExtraArgs,
    scale: Callable[[jax.Array], jax.Array],
    config: Config,
    divided: Callable[[jax.Array], jax.Array],
) -> Callable[..., Carry]:
    """A function that trains: ``(carry, order, images, labels, epoch, start, stop)
    -> carry``.

    Steps `start` to `stop` of an `epoch` (all traced) whose images are taken in the
    given `order`. What is random in a step depends on the carry's key, the epoch and
    the step alone. A loop, not a scan: chunks of any length share one compilation. At
    step 0 the sums over the epoch begin anew.

    Args:
      objectives: see `make_objectives`.
      optimizer: from their jacobian to updates; it holds a `bopt.smgd`.
      scale: from stored images to the network's input.
      config: resolved options: batch size, augmentation.
      divided: divides the batch among devices, see `experiments.devices.divided`.

    Returns:
      A function for `jax.jit`.
    """
    value_and_jac = bopt.value_and_jac(objectives, has_aux=True)
    batch_size = config.batch_size

    def steps(carry, order, images, labels, epoch, start, stop):
        key = jax.random.wrap_key_data(carry.key)
        epoch_key = jax.random.fold_in(key, epoch)
        sums, begun = (carry.objectives, carry.weights), start > 0
        objectives, weights = jax.tree.map(lambda sum: jnp.where(begun, sum, 0), sums)
        carry = carry._replace(objectives=objectives, weights=weights)

        def step(number, carry):
            keys = jax.random.split(jax.random.fold_in(epoch_key, number))
            chosen = jax.lax.dynamic_slice(order, (number * batch_size,), (batch_size,))
            chosen = divided(chosen)
            batch = images[chosen]
            if config.augment:
                batch = augmented(batch, keys[0])
            (values, model_state), jac = value_and_jac(
                carry.params, carry.model_state, scale(batch), labels[chosen], keys[1]
            )
            updates, opt_state = optimizer.update(
                jac, carry.opt_state, carry.params, values=values
            )
            weights = chosen_weights(opt_state)
            bad = (carry.bad_step < 0) & ~jnp.isfinite(values).all()
            return Carry(
                optax.apply_updates(carry.params, updates),
                model_state,
                opt_state,
                carry.objectives + values,
                jax.tree.map(jnp.add, carry.weights, weights),
                jnp.where(bad, number, carry.bad_step),
                carry.key,
            )

        return jax.lax.fori_loop(start, stop, step, carry)

    return steps


def chosen_weights(opt_state: optax.OptState) -> Any:
    """The weights of the objectives in the last step.

    Args:
      opt_state: of an optimizer that holds one `bopt.smgd`, or, in an
        `optax.partition`, one a group.

    Returns:
      An array (m,); or group -> array.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> from experiments.training.step import chosen_weights
      >>> print(chosen_weights(bopt.madam(1e-3).init({"kernel": jnp.ones((2, 2))})))
      [0.5 0.5]
    """
    groups = optax.tree.get(opt_state, "PartitionState")
    if groups is None:
        return optax.tree.get(opt_state, "SmgdState").weights
    return {
        name: optax.tree.get(state, "SmgdState").weights
        for name, state in groups.inner_states.items()
    }


def make_evaluate(
    model: Any,
    scale: Callable[[jax.Array], jax.Array],
    divided: Callable[[jax.Array], jax.Array],
    devices: int,
) -> Callable[..., jax.Array]:
    """A function that evaluates: ``(params, model_state, images, labels, start, stop)
    -> (2,)``.

    Args:
      model: a Flax Linen module from (images, train) to logits.
      scale: from stored images to the network's input.
      divided: divides a batch among devices, see `experiments.devices.divided`.
      devices: how many these are.

    Returns:
      A function for `jax.jit`: mean accuracy and mean cross entropy of the images
      `start` to `stop` (traced), stacked. Batch statistics stay as they are, and
      nothing is dropped.
    """

    size = -(-EVALUATION_BATCH // devices) * devices

    def evaluate(params, model_state, images, labels, start, stop):
        def batch(number, sums):
            index = divided(start + number * size + jnp.arange(size))
            counted = index < stop
            index = jnp.minimum(index, stop - 1)
            logits = model.apply({**params, **model_state}, scale(images[index]))
            right = logits.argmax(-1) == labels[index]
            losses = _cross_entropy(logits, labels[index])
            return sums + jnp.stack([(counted * right).sum(), (counted * losses).sum()])

        batches = (stop - start + size - 1) // size
        return jax.lax.fori_loop(0, batches, batch, jnp.zeros(2)) / (stop - start)

    return evaluate


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.losses.softmax_cross_entropy_with_integer_labels(
        logits, labels.astype(jnp.int32)
    )
