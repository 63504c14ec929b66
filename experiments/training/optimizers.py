"""Optimizers: options to an `optax.chain` of bopt's and Optax's transformations."""

import functools
from typing import Any

import jax
import optax

import bopt
from experiments.config.defaults import TO_SPARSITY
from experiments.config.options import Config, Objectives, Optimizer
from experiments.runs.records import KERNELS

_GROUPS = ("dense", "conv")  # of --split


def schedule(options: Optimizer, steps_per_epoch: int) -> optax.Schedule:
    """Return the learning rate schedule: that of the options times the time decay over
    the steps, as in Keras."""
    rate, epochs, decay = options.learning_rate, options.epochs, options.decay
    assert rate is not None and epochs is not None and decay is not None
    over_steps = bopt.time_decay(1.0, decay)
    if options.schedule == "hold_cosine":
        held = bopt.hold_cosine(rate, max(1, epochs * steps_per_epoch))
        return lambda step: held(step) * over_steps(step)
    if options.schedule == "constant" or epochs == 0:
        return lambda step: rate * over_steps(step)
    over_epochs = bopt.logistic_decay(rate, epochs, steps_per_epoch)
    return lambda step: over_epochs(step) * over_steps(step)


def compose(
    config: Config,
    steps_per_epoch: int,
    weights: jax.Array | None = None,
    units: bopt.units.Units | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Return the whole optimizer: a jacobian in, an update with exact zeros out.

    `weights` (2,), possibly traced, replace the options' own: fixed weights of the
    objectives or, with a rule of pruning to a sparsity, the shares of weights that are
    kept and pruned. `units` are those of the network, for `--pruning units`.
    """
    sparsity = config.pruning.sparsity
    if weights is not None and config.pruning.pruning in TO_SPARSITY:
        weights, sparsity = None, weights[1]
    first = _multi_gradient(config, steps_per_epoch, weights)
    if config.objectives.split:  # the same for both groups, each with its own state
        if config.objectives.split_loss == "whole":
            first = _by_penalty(first)
        else:
            first = optax.partition(dict.fromkeys(_GROUPS, first), _groups)
    if decay := config.optimizer.weight_decay:
        first = optax.chain(first, _decayed(config, steps_per_epoch, decay))
    if not config.pruning.prune:
        return optax.chain(first)
    return _pruned(first, config, steps_per_epoch, sparsity, units)


def _decayed(config: Config, steps_per_epoch: int, decay: float):
    rate = schedule(config.optimizer, steps_per_epoch)
    kernels = functools.partial(bopt.select, KERNELS[config.objectives.l1_where])
    return optax.add_decayed_weights(lambda step: -decay * rate(step), kernels)


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


def _pruned(
    link: optax.GradientTransformationExtraArgs,
    config: Config,
    steps_per_epoch: int,
    sparsity: Any,
    units: bopt.units.Units | None,
) -> optax.GradientTransformationExtraArgs:
    """Prune what an optimizer updates.

    Rules of the gradients wrap it, as they see what comes in; others follow it.
    """
    options, batch = config.pruning, config.optimizer.batch_size
    steps = (config.optimizer.epochs or 0) * steps_per_epoch
    by_gradients = options.pruning in ("saliency", "evidence", "units")
    rise = max(1, 3 * steps // (5 if by_gradients else 4))
    every = max(1, min(100, rise // 10))  # as published, or in at least ten steps
    own: dict[str, Any] = {"where": KERNELS[options.prune_where]}
    own["regrow"] = options.regrow
    if by_gradients:  # which vanish at the end: the last mask is held
        own |= {"optimizer": link, "stop": rise + every}
    match options.pruning, options.sparsity_schedule:
        case "threshold", _:
            assert options.threshold is not None
            pruning = bopt.prune(options.threshold, **own)
        case "units", _:
            assert units is not None and options.budget is not None
            return bopt.prune_units(
                optax.polynomial_schedule(1.0, options.budget, 3, rise),
                units=units,
                optimizer=link,
                multiple_of=options.multiple_of,
                every=every,
                stop=rise + every,
            )
        case "evidence", _:
            pruning = bopt.prune_by_evidence(
                examples=steps_per_epoch * batch,
                batch_size=batch,
                transition_steps=rise,
                every=every,
                **own,
            )
        case kind, reached:
            score = bopt.saliency() if kind == "saliency" else None
            if reached == "once":
                own |= {"start": steps // 2, "stop": steps // 2 + 1}
                pruning = bopt.prune_to(sparsity, score=score, **own)
            else:
                cubic = bopt.cubic_sparsity(sparsity, rise)
                pruning = bopt.prune_to(cubic, score=score, every=every, **own)
    return pruning if by_gradients else optax.chain(link, pruning)


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
