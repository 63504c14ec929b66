"""The jitted training step: objectives, initialization, steps, evaluation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import bopt
from experiments.config.options import Objectives, Pruning
from experiments.data import Dataset
from experiments.errors import ConfigError
from experiments.runs.records import KERNELS
from experiments.training.images import augmented

EVALUATION_BATCH = 200


class Carry(NamedTuple):
    """State of a training on the device; donated to every step.

    Attributes:
      params: the parameters.
      model_state: the network's other collections, such as batch statistics; or {}.
      opt_state: the optimizer's state.
      objectives: (m,) sums of the objective values over the epoch's steps.
      weights: (m,) sums of the weights; with groups of layers, group -> sums.
      jac: sums of the jacobian over the epoch's steps.
      stationarity: of these sums, see `bopt.stationarity`.
      bad_step: first step of the epoch with non-finite objectives, or -1.
      key: (2,) uint32, data of the random key of all steps.
    """

    params: Any
    model_state: Any
    opt_state: Any
    objectives: jax.Array
    weights: Any
    jac: Any
    stationarity: jax.Array
    bad_step: jax.Array
    key: jax.Array


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Return the number of batches per epoch; an incomplete last one is left out."""
    if batch_size > len(dataset.train):
        raise ConfigError(
            f"--batch-size is {batch_size}, but there are {len(dataset.train)} "
            "training images; expected at most this number."
        )
    return len(dataset.train) // batch_size


def make_penalties(
    options: Objectives, own: Callable[[Any], Any] | None = None
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the penalty in objective 0 and the complexity, objective 1.

    Both are functions of the parameters. The penalty is `conv_l2` times the squared l2
    norm of the convolution kernels. The complexity is the l1 norm of the kernels that
    `l1_where` selects, or with `complexity="log"` their log penalty; with
    `conv_l2_both` plus the penalty; with `split` plus the squared l2 norm of the
    convolution kernels, or with `split_loss="whole"` of all parameters outside of the
    dense layers. A user's `own` complexity takes its place.

    Example:
      >>> import jax.numpy as jnp
      >>> from experiments.config.options import Objectives
      >>> from experiments.training.step import make_penalties
      >>> penalty, complexity = make_penalties(Objectives(conv_l2=0.5))
      >>> params = {"conv": jnp.ones((1, 1, 1, 4)), "dense": jnp.ones((3, 1))}
      >>> print(penalty(params), complexity(params))
      2.0 3.0
    """

    whole = options.split_loss == "whole"
    others = bopt.complement(KERNELS["dense_layers"]) if whole else KERNELS["conv"]

    def penalty(params):
        kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
        if not (options.conv_l2 and kernels):
            return 0.0
        return options.conv_l2 * bopt.l2(kernels, where=4)

    def chosen(params, *_):
        where = KERNELS[options.l1_where]
        norm = bopt.l1 if options.complexity == "l1" else bopt.log_penalty
        total = norm(params, where=where, at_zero=options.l1_at_zero)
        total = total + penalty(params) if options.conv_l2_both else total
        return total + bopt.l2(params, where=others) if options.split else total

    return penalty, own or chosen


def make_objectives(
    model: Any, penalty: Callable[[Any], Any], complexity: Callable[..., Any]
) -> list[Callable[..., Any]]:
    """Return both objectives, of (params, model_state, images, labels, key).

    The first, mean cross entropy plus penalty, returns ``(value, model_state)``. The
    second is the complexity of the parameters. The key is for dropout.
    """

    def data_loss(params, model_state, images, labels, key):
        logits, updated = model.apply(
            {**params, **model_state},
            images,
            train=True,
            mutable=list(model_state),
            rngs={"dropout": key},
        )
        return _cross_entropy(logits, labels).mean() + penalty(params), updated

    return [data_loss, lambda params, *_: complexity(params)]


def make_init(
    model: Any,
    optimizer: optax.GradientTransformationExtraArgs,
    image: jax.Array,
    pruning: Pruning,
) -> Callable[[jax.Array], Carry]:
    """Return a function that starts a training: ``key -> carry``."""

    def init(key):
        model_state = model.init(key, image)
        params = {"params": model_state.pop("params")}
        if pruning.prune_initial:
            assert pruning.threshold is not None
            where = KERNELS[pruning.prune_where]
            once = bopt.prune(pruning.threshold, where=where)
            zeros = optax.tree.zeros_like(params)
            updates, _ = once.update(zeros, once.init(params), params)
            params = optax.apply_updates(params, updates)
        opt_state = optimizer.init(params)
        sums = jax.tree.map(jnp.zeros_like, current_weights(opt_state))
        return Carry(
            params,
            model_state,
            opt_state,
            jnp.zeros(2),
            sums,
            jax.tree.map(lambda leaf: jnp.zeros((2, *leaf.shape), leaf.dtype), params),
            jnp.zeros([]),
            jnp.array(-1),
            jax.random.key_data(key),
        )

    return init


def make_steps(
    objectives: list[Callable[..., Any]],
    optimizer: optax.GradientTransformationExtraArgs,
    scale: Callable[[jax.Array], jax.Array],
    split_batch: Callable[[jax.Array], jax.Array],
    *,
    batch_size: int,
    augment: bool,
) -> Callable[..., Carry]:
    """Return a function that trains: ``(carry, order, images, labels, epoch, start,
    stop) -> carry``.

    It does the steps `start` to `stop` of an `epoch` (all traced) on the images in the
    given `order`. Randomness depends on the carry's key, the epoch and the step only. A
    loop, not a scan, so that chunks of any length share one compilation. Step 0 resets
    the sums over the epoch and `bad_step`.
    """
    value_and_jac = bopt.value_and_jac(objectives, has_aux=True)

    def steps(carry, order, images, labels, epoch, start, stop):
        key = jax.random.wrap_key_data(carry.key)
        epoch_key = jax.random.fold_in(key, epoch)
        sums, begun = (carry.objectives, carry.weights, carry.jac), start > 0
        sums = jax.tree.map(lambda sum: jnp.where(begun, sum, 0), sums)
        objectives, weights, jac_sum = sums
        bad_step = jnp.where(begun, carry.bad_step, -1)
        carry = carry._replace(
            objectives=objectives, weights=weights, jac=jac_sum, bad_step=bad_step
        )

        def step(number, carry):
            keys = jax.random.split(jax.random.fold_in(epoch_key, number))
            chosen = jax.lax.dynamic_slice(order, (number * batch_size,), (batch_size,))
            chosen = split_batch(chosen)
            batch = images[chosen]
            if augment:
                batch = augmented(batch, keys[0])
            (values, model_state), jac = value_and_jac(
                carry.params, carry.model_state, scale(batch), labels[chosen], keys[1]
            )
            updates, opt_state = optimizer.update(
                jac, carry.opt_state, carry.params, values=values
            )
            weights = current_weights(opt_state)
            bad = (carry.bad_step < 0) & ~jnp.isfinite(values).all()
            return Carry(
                optax.apply_updates(carry.params, updates),
                model_state,
                opt_state,
                carry.objectives + values,
                jax.tree.map(jnp.add, carry.weights, weights),
                jax.tree.map(jnp.add, carry.jac, jac),
                carry.stationarity,
                jnp.where(bad, number, carry.bad_step),
                carry.key,
            )

        carry = jax.lax.fori_loop(start, stop, step, carry)
        return carry._replace(stationarity=bopt.stationarity(carry.jac))

    return steps


def current_weights(opt_state: optax.OptState) -> Any:
    """Return the last step's weights of the objectives, (m,).

    In an `optax.partition` with one `bopt.smgd` per group: group -> (m,).
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
    split_batch: Callable[[jax.Array], jax.Array],
    devices: int,
) -> Callable[..., jax.Array]:
    """Return a function that evaluates: ``(params, model_state, images, labels, start,
    stop) -> (2,)``.

    The result is the mean accuracy and the mean cross entropy of the images `start` to
    `stop` (traced), with fixed batch statistics and without dropout. A batch is split
    across `devices`.
    """
    size = -(-EVALUATION_BATCH // devices) * devices

    def evaluate(params, model_state, images, labels, start, stop):
        def batch(number, sums):
            index = split_batch(start + number * size + jnp.arange(size))
            counted = index < stop
            index = jnp.minimum(index, stop - 1)
            logits = model.apply({**params, **model_state}, scale(images[index]))
            right = logits.argmax(-1) == labels[index]
            losses = _cross_entropy(logits, labels[index])
            # One per image, or per character of a text.
            means = jnp.stack([right, losses]).reshape(2, size, -1).mean(-1)
            return sums + (counted[None] * means).sum(-1)

        batches = (stop - start + size - 1) // size
        return jax.lax.fori_loop(0, batches, batch, jnp.zeros(2)) / (stop - start)

    return evaluate


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.losses.softmax_cross_entropy_with_integer_labels(
        logits, labels.astype(jnp.int32)
    )
