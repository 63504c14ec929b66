"""experiments.training.optimizers: from the options to a chain and to a learning rate.

Each composed optimizer is compared with a chain written out by hand. (The file is not
called test_optimizers.py: pytest allows that name once, and tests/ has it.)
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bopt
from experiments.config import Config, parse, resolve
from experiments.option_checks import BASELINES, MULTI_GRADIENT
from experiments.training.optimizers import compose, schedule

STEPS_PER_EPOCH, EPOCHS = 3, 2
STEPS = STEPS_PER_EPOCH * EPOCHS


def resolved(**options) -> Config:
    return resolve(Config(epochs=EPOCHS, **options), "mnist")


# A tiny problem: kernels of rank 2 (pruned), one of which is pulled to 0, and a bias.
PARAMS = {
    "kernel": jnp.array([[0.5, -0.3, 0.02], [0.001, -0.011, 0.25]]),
    "bias": jnp.array([0.0, 0.01]),
}


def loss(params):
    kernel, bias = params["kernel"], params["bias"]
    return jnp.sum((kernel[:, :2] - 0.4) ** 2) + jnp.sum((bias - 1) ** 4) + 0.1


OBJECTIVES = jax.jit(bopt.value_and_jac([loss, bopt.l1]))


def trajectory(optimizer):
    """The parameters and weights after each step, as trees of NumPy arrays.

    The updates are not compiled: at this size that takes longer than running them.
    """
    params, state, result = PARAMS, optimizer.init(PARAMS), []
    for _ in range(STEPS):
        values, jac = OBJECTIVES(params)
        updates, state = optimizer.update(jac, state, params, values=values)
        params = optax.apply_updates(params, updates)
        weights = optax.tree.get(state, "SmgdState").weights
        result.append(jax.device_get((params, weights)))
    return result


def assert_same(found, expected):
    for (params, weights), (params_by_hand, weights_by_hand) in zip(
        found, expected, strict=True
    ):
        np.testing.assert_allclose(weights, weights_by_hand, rtol=1e-6, atol=1e-12)
        for name in PARAMS:
            np.testing.assert_allclose(
                params[name], params_by_hand[name], rtol=1e-6, atol=1e-9
            )
    moved = found[-1][0]["kernel"] - np.asarray(PARAMS["kernel"])
    assert np.abs(moved).max() > 1e-4  # the comparison is not one of standing still


# The learning rate


def logistic(epoch, epochs):
    """DESIGN's formula: lr * (1 - 0.9 * sigmoid((e - 0.75 E) / (0.075 E)))."""
    if epoch == 0:
        return 1.0
    return 1 - 0.9 / (1 + math.exp(-(epoch - 0.75 * epochs) / (0.075 * epochs)))


def at(rate: optax.Schedule, step) -> float:
    return np.asarray(rate(step)).item()


@pytest.mark.parametrize("optimizer", [*MULTI_GRADIENT, *BASELINES])
def test_the_rate_at_step_0_is_the_learning_rate(optimizer):
    config = resolve(Config(optimizer=optimizer), "mnist")
    rate = schedule(config, 1718)
    assert at(rate, 0) == pytest.approx(config.learning_rate, rel=1e-7)


def test_logistic_decay_times_time_decay():
    config = resolve(
        Config(optimizer="sgd", learning_rate=0.5, epochs=20, decay=0.01), "mnist"
    )
    rate = schedule(config, 7)
    for step in (0, 1, 6, 7, 8, 70, 104, 105, 139):
        expected = 0.5 * logistic(step // 7, 20) / (1 + 0.01 * step)
        assert at(rate, step) == pytest.approx(expected, rel=1e-5)
        assert at(rate, jnp.asarray(step)) == pytest.approx(expected, rel=1e-5)


def test_the_logistic_schedule_ends_at_a_tenth():
    config = resolve(Config(epochs=1000, learning_rate=1.0), "mnist")
    rate = schedule(config, 1)
    assert at(rate, 749) > 0.54  # half of the fall comes at three quarters
    assert at(rate, 999) == pytest.approx(0.1, rel=0.4)


def test_constant_with_and_without_time_decay():
    config = resolve(Config(schedule="constant", learning_rate=0.5), "mnist")
    rate = schedule(config, 10)
    assert [at(rate, step) for step in (0, 10, 299)] == [0.5, 0.5, 0.5]
    rate = schedule(dataclasses.replace(config, decay=0.1), 10)
    assert at(rate, 40) == pytest.approx(0.1, rel=1e-6)


def test_no_epochs_need_no_schedule():
    config = resolve(Config(epochs=0, learning_rate=0.5), "mnist")
    assert at(schedule(config, 10), 0) == 0.5


# The chains. The rates below are the defaults of resolve(), the schedules as above.


def rate_of(learning_rate, decay=0.0):
    def rate(step):
        epoch = jnp.asarray(step) // STEPS_PER_EPOCH
        table = jnp.array([logistic(epoch, EPOCHS) for epoch in range(EPOCHS + 1)])
        return learning_rate * table[epoch] / (1 + decay * step)

    return rate


SGD_RATE = rate_of(1e-2, decay=1e-2 / EPOCHS)
RATE = rate_of(1e-3)
SUM = bopt.smgd(bopt.fixed([1.0, 3e-4]))
RMS: Any = {"decay": 0.9, "eps": 1e-7, "eps_in_sqrt": False}

BY_HAND = {
    "smgd": optax.chain(bopt.smgd(), optax.sgd(SGD_RATE, 0.9)),
    "madam": bopt.madam(RATE, weigh_by="directions"),
    "mrmsprop": bopt.mrmsprop(RATE, weigh_by="directions"),
    "sgd": optax.chain(SUM, optax.sgd(SGD_RATE, 0.9)),
    "adam": optax.chain(SUM, optax.adam(RATE)),
    "rmsprop": optax.chain(SUM, optax.rmsprop(RATE, **RMS)),
}


@functools.cache
def with_defaults(optimizer):
    return trajectory(compose(resolved(optimizer=optimizer), STEPS_PER_EPOCH))


@pytest.mark.parametrize("optimizer", [*MULTI_GRADIENT, *BASELINES])
def test_the_defaults_of_each_optimizer(optimizer):
    by_hand = optax.chain(BY_HAND[optimizer], bopt.prune(1e-3))
    assert_same(with_defaults(optimizer), trajectory(by_hand))


def smgd(*weighting, rate: Any = SGD_RATE, momentum: float = 0.9, nesterov=False):
    return optax.chain(bopt.smgd(*weighting), optax.sgd(rate, momentum, nesterov))


DIRECTIONS: Any = {"weigh_by": "directions"}
# Options -> the chain that does what they say; prune() is added below.
OPTIONS = {
    "smgd --momentum 0.5": smgd(momentum=0.5),
    "smgd --momentum 0": smgd(momentum=0.0),
    "smgd --nesterov": smgd(nesterov=True),
    "smgd --decay 0.1": smgd(rate=rate_of(1e-2, 0.1)),
    "smgd --learning-rate 0.05": smgd(rate=rate_of(0.05, 0.05 / EPOCHS)),
    "smgd --schedule constant --decay 0": smgd(rate=1e-2),
    "smgd --normalize l2": smgd(bopt.min_norm("l2")),
    "smgd --normalize loss": smgd(bopt.min_norm("loss")),
    "smgd --normalize loss+": smgd(bopt.min_norm("loss+")),
    "smgd --weights 0.7 0.2": smgd(bopt.fixed([0.7, 0.2])),
    "sgd --nesterov --momentum 0.5 --l1 0.1": optax.chain(
        bopt.smgd(bopt.fixed([1.0, 0.1])), optax.sgd(SGD_RATE, 0.5, True)
    ),
    "madam --weigh-by gradients": bopt.madam(RATE, weigh_by="gradients"),
    "madam --amsgrad": bopt.madam(RATE, amsgrad=True, **DIRECTIONS),
    "madam --normalize l2": bopt.madam(
        RATE, weighting=bopt.min_norm("l2"), **DIRECTIONS
    ),
    "madam --weights 0.9 0.1": bopt.madam(
        RATE, weighting=bopt.fixed([0.9, 0.1]), **DIRECTIONS
    ),
    "mrmsprop --weigh-by gradients": bopt.mrmsprop(RATE, weigh_by="gradients"),
    "mrmsprop --weights 0.9 0.1": bopt.mrmsprop(
        RATE, weighting=bopt.fixed([0.9, 0.1]), **DIRECTIONS
    ),
    "adam --amsgrad": optax.chain(SUM, optax.amsgrad(RATE)),
    "adam --l1 0": optax.chain(bopt.smgd(bopt.fixed([1.0, 0.0])), optax.adam(RATE)),
    "rmsprop --l1 0.1 --learning-rate 0.01": optax.chain(
        bopt.smgd(bopt.fixed([1.0, 0.1])), optax.rmsprop(rate_of(0.01), **RMS)
    ),
}


@pytest.mark.parametrize("words", OPTIONS)
def test_each_option_does_what_it_says(words):
    given = parse(Config, "mnist_lenet", ["--optimizer", *words.split()])
    config = resolve(dataclasses.replace(given, epochs=EPOCHS), "mnist")
    found = trajectory(compose(config, STEPS_PER_EPOCH))
    by_hand = optax.chain(OPTIONS[words], bopt.prune(1e-3))
    assert_same(found, trajectory(by_hand))
    # And it makes a difference, or the comparison says nothing.
    changed = found[-1][0]["kernel"] - with_defaults(config.optimizer)[-1][0]["kernel"]
    assert np.abs(changed).max() > 1e-7


def test_threshold_and_regrow():
    """With momentum, an entry pruned at the first step comes back where it may."""
    zeros = {}
    for regrow in (True, False):
        config = resolved(
            optimizer="smgd",
            learning_rate=0.1,
            weights=(1.0, 0.0),
            threshold=0.1,
            regrow=regrow,
        )
        by_hand = optax.chain(
            smgd(bopt.fixed([1.0, 0.0]), rate=rate_of(0.1, 0.1 / EPOCHS)),
            bopt.prune(0.1, regrow=regrow),
        )
        found = trajectory(compose(config, STEPS_PER_EPOCH))
        assert_same(found, trajectory(by_hand))
        zeros[regrow] = [(params["kernel"] == 0).sum() for params, _ in found]
    assert zeros[True][0] == zeros[False][0] == 3
    assert zeros[True][-1] < zeros[False][-1]


@pytest.mark.parametrize("schedule", ["cubic", "once"])
def test_magnitude_pruning(schedule):
    """At the end the sparsity asked for; with once, nothing before the middle."""
    config = resolved(sparsity=0.5, sparsity_schedule=schedule)
    steps = EPOCHS * STEPS_PER_EPOCH
    by_hand = {
        "once": bopt.prune_to(0.5, start=steps // 2, stop=steps // 2 + 1),
        "cubic": bopt.prune_to(bopt.cubic_sparsity(0.5, 3 * steps // 4)),
    }
    found = trajectory(compose(config, STEPS_PER_EPOCH))
    whole = optax.chain(BY_HAND["madam"], by_hand[schedule])
    assert_same(found, trajectory(whole))
    shares = [np.mean(np.asarray(params["kernel"]) == 0) for params, _ in found]
    assert shares[-1] == 0.5
    assert (shares[steps // 2 - 1] == 0) == (schedule == "once")


@pytest.mark.parametrize("optimizer", [*MULTI_GRADIENT, *BASELINES])
def test_without_pruning_there_is_no_mask_and_no_zero(optimizer):
    optimizer = compose(resolved(optimizer=optimizer, prune=False), STEPS_PER_EPOCH)
    assert optax.tree.get(optimizer.init(PARAMS), "PruneState") is None
    for params, _ in trajectory(optimizer):
        assert (params["kernel"] != 0).all()
