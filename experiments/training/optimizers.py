"""Optimizers: options to an `optax.chain` of bopt's and Optax's transformations."""

import jax
import optax

import bopt
from experiments.config.options import Config, Objectives, Optimizer, Pruning
from experiments.runs.records import KERNELS

_GROUPS = ("dense", "conv")  # of --split


def schedule(options: Optimizer, steps_per_epoch: int) -> optax.Schedule:
    """Return the learning rate schedule: the logistic decay over the epochs times the
    time decay over the steps, as in Keras."""
    rate, epochs, decay = options.learning_rate, options.epochs, options.decay
    assert rate is not None and epochs is not None and decay is not None
    over_steps = bopt.time_decay(1.0, decay)
    if options.schedule == "constant" or epochs == 0:
        return lambda step: rate * over_steps(step)
    over_epochs = bopt.logistic_decay(rate, epochs, steps_per_epoch)
    return lambda step: over_epochs(step) * over_steps(step)


def compose(
    config: Config, steps_per_epoch: int, weights: jax.Array | None = None
) -> optax.GradientTransformationExtraArgs:
    """Return the whole optimizer: a jacobian in, an update with exact zeros out.

    Fixed `weights` (2,) of the objectives, possibly traced, replace the options' own.
    """
    first = _multi_gradient(config, steps_per_epoch, weights)
    if config.objectives.split:  # the same for both groups, each with its own state
        if config.objectives.split_loss == "whole":
            first = _by_penalty(first)
        else:
            first = optax.partition(dict.fromkeys(_GROUPS, first), _groups)
    links = [first]
    if config.pruning.prune:
        steps = (config.optimizer.epochs or 0) * steps_per_epoch
        links.append(_pruning(config.pruning, steps))
    return optax.chain(*links)


def _multi_gradient(config: Config, steps_per_epoch: int, weights: jax.Array | None):
    options, objectives = config.optimizer, config.objectives
    rate = schedule(options, steps_per_epoch)
    weighting = _weighting(objectives) if weights is None else bopt.fixed(weights)
    weigh_by = objectives.weigh_by or "gradients"
    keras_adam = bopt.scale_by_keras_adam(amsgrad=options.amsgrad)
    keras = options.update_rule == "keras"
    match options.optimizer:
        case "madam" if keras:
            link = bopt.smgd(weighting, preconditioner=keras_adam, weigh_by=weigh_by)
            return optax.chain(link, optax.scale_by_learning_rate(rate))
        case "madam":
            return bopt.madam(
                rate, amsgrad=options.amsgrad, weighting=weighting, weigh_by=weigh_by
            )
        case "mrmsprop":
            return bopt.mrmsprop(rate, weighting=weighting, weigh_by=weigh_by)
        case "adam" if keras:
            after = optax.chain(keras_adam, optax.scale_by_learning_rate(rate))
        case "adam":
            after = optax.amsgrad(rate) if options.amsgrad else optax.adam(rate)
        case "rmsprop":
            # As mrmsprop: Keras' epsilon, outside the root.
            after = optax.rmsprop(rate, decay=0.9, eps=1e-7, eps_in_sqrt=False)
        case _ if keras:
            after = optax.chain(
                optax.scale_by_learning_rate(rate),
                optax.trace(options.momentum or 0.0, options.nesterov),
            )
        case _:
            after = optax.sgd(rate, options.momentum, options.nesterov)
    return optax.chain(bopt.smgd(weighting), after)


def _weighting(options: Objectives):
    if options.l1 is not None:
        return bopt.fixed((1.0, options.l1))
    if options.weights is not None:
        return bopt.fixed(options.weights)
    return bopt.min_norm(None if options.normalize == "none" else options.normalize)


def _pruning(options: Pruning, steps: int):
    where, regrow = KERNELS[options.prune_where], options.regrow
    if options.sparsity is None:
        return bopt.prune(options.threshold, where=where, regrow=regrow)
    if options.sparsity_schedule == "once":
        middle = steps // 2
        return bopt.prune_to(
            options.sparsity, where=where, start=middle, stop=middle + 1
        )
    rise = max(1, 3 * steps // 4)
    cubic = bopt.cubic_sparsity(options.sparsity, rise)
    every = max(1, min(100, rise // 10))  # as published, or in at least ten steps
    return bopt.prune_to(cubic, where=where, regrow=regrow, every=every)


def _by_penalty(link: optax.GradientTransformationExtraArgs):
    """Weigh objective 0 against each group's part of objective 1, as a whole.

    Each group moves along the direction with its own weights, as the released code of
    arXiv 2008.13590 intends. The state is that of `optax.partition`.
    """

    def init_fn(params):
        return optax.transforms.PartitionState({n: link.init(params) for n in _GROUPS})

    def update_fn(updates, state, params=None, **extra_args):
        labels, directions, states = _groups(updates), {}, {}
        for name in _GROUPS:
            own = jax.tree.map(
                lambda label, rows, name=name: (
                    rows if label == name else rows.at[1].set(0)
                ),
                labels,
                updates,
            )
            directions[name], states[name] = link.update(
                own, state.inner_states[name], params, **extra_args
            )
        chosen = jax.tree.map(
            lambda label, *found: dict(zip(_GROUPS, found, strict=True))[label],
            labels,
            *directions.values(),
        )
        return chosen, optax.transforms.PartitionState(states)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _groups(tree):
    """Label each leaf by path, because its rank differs in a jacobian."""
    dense = bopt.select(KERNELS["dense_layers"], tree)
    return jax.tree.map(lambda is_dense: "dense" if is_dense else "conv", dense)
