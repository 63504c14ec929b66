"""From the options to an optimizer: `optax.chain` of bopt's links and Optax's."""

import jax
import optax

import bopt
from experiments.config import KERNELS, Config


def schedule(config: Config, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate of each step.

    Args:
      config: resolved options.
      steps_per_epoch: optimizer steps an epoch.

    Returns:
      A schedule: step -> learning rate. The logistic decay over the epochs and the
      time decay over the steps multiply, as they do in Keras.

    Example:
      >>> from experiments.config import Config, resolve
      >>> from experiments.training.optimizers import schedule
      >>> float(schedule(resolve(Config(learning_rate=0.5), "mnist"), 1718)(0))
      0.5
    """
    rate, epochs = config.learning_rate, config.epochs
    assert rate is not None and epochs is not None and config.decay is not None
    over_steps = bopt.time_decay(1.0, config.decay)
    if config.schedule == "constant" or epochs == 0:
        return lambda step: rate * over_steps(step)
    over_epochs = bopt.logistic_decay(rate, epochs, steps_per_epoch)
    return lambda step: over_epochs(step) * over_steps(step)


def compose(
    config: Config, steps_per_epoch: int, weights: jax.Array | None = None
) -> optax.GradientTransformationExtraArgs:
    """The whole optimizer, from a jacobian to an update with exact zeros.

    Args:
      config: resolved options.
      steps_per_epoch: optimizer steps an epoch.
      weights: (2,) of the objectives, fixed and perhaps traced; None: as `config` says.

    Returns:
      An `optax.GradientTransformationExtraArgs` for two objectives.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from experiments.config import Config, resolve
      >>> from experiments.training.optimizers import compose
      >>> optimizer = compose(resolve(Config(), "mnist"), 1718)
      >>> state = optimizer.init({"kernel": jnp.ones((2, 2))})
      >>> optax.tree.get(state, "PruneState").mask["kernel"].all().item()
      True
    """
    rate = schedule(config, steps_per_epoch)
    first = _multi_gradient(config, rate, weights)
    if config.split:  # the same for both groups, each with a state of its own
        first = optax.partition({"dense": first, "conv": first}, _groups)
    links = [first]
    if config.prune:
        links.append(_pruning(config, steps_per_epoch))
    return optax.chain(*links)


def _pruning(config: Config, steps_per_epoch: int):
    where, regrow = KERNELS[config.prune_where], config.regrow
    if config.sparsity is None:
        return bopt.prune(config.threshold, where=where, regrow=regrow)
    assert config.epochs is not None
    steps = config.epochs * steps_per_epoch
    if config.sparsity_schedule == "once":
        middle = steps // 2
        return bopt.prune_to(
            config.sparsity, where=where, start=middle, stop=middle + 1
        )
    rise = max(1, 3 * steps // 4)
    schedule = bopt.cubic_sparsity(config.sparsity, rise)
    every = max(1, min(100, rise // 10))  # as published, or in at least ten steps
    return bopt.prune_to(schedule, where=where, regrow=regrow, every=every)


def _groups(tree):
    """Each leaf's group: dense layers, or all others. By path, for a rank is another
    in a jacobian."""
    dense = bopt.select("*Dense_*", tree)
    return jax.tree.map(lambda is_dense: "dense" if is_dense else "conv", dense)


def _multi_gradient(config: Config, rate: optax.Schedule, weights: jax.Array | None):
    weighting = _weighting(config) if weights is None else bopt.fixed(weights)
    weigh_by = config.weigh_by or "gradients"
    match config.optimizer:
        case "madam":
            return bopt.madam(
                rate, amsgrad=config.amsgrad, weighting=weighting, weigh_by=weigh_by
            )
        case "mrmsprop":
            return bopt.mrmsprop(rate, weighting=weighting, weigh_by=weigh_by)
        case "adam":
            after = optax.amsgrad(rate) if config.amsgrad else optax.adam(rate)
        case "rmsprop":
            # As mrmsprop: Keras' epsilon, outside the root.
            after = optax.rmsprop(rate, decay=0.9, eps=1e-7, eps_in_sqrt=False)
        case _:
            after = optax.sgd(rate, config.momentum, config.nesterov)
    return optax.chain(bopt.smgd(weighting), after)


def _weighting(config: Config) -> bopt.Weighting:
    if config.l1 is not None:
        return bopt.fixed((1.0, config.l1))
    if config.weights is not None:
        return bopt.fixed(config.weights)
    return bopt.min_norm(None if config.normalize == "none" else config.normalize)
