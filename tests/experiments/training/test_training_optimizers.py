"""Options to learning rates and optimizers, compared with chains written by hand.

The file's name differs from that of bopt's own test_optimizers.py, as pytest needs it.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import SmallConfig

import bopt
from experiments.config import (
    BASELINES,
    MULTI_GRADIENT,
    parse,
    resolve,
    updated,
)
from experiments.training.optimizers import compose, schedule

STEPS_PER_EPOCH, EPOCHS = 3, 2
STEPS = STEPS_PER_EPOCH * EPOCHS


def resolved(**options) -> SmallConfig:
    return resolve(updated(SmallConfig(), **{"epochs": EPOCHS, **options}), "mnist")


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
    """Return parameters and weights after each step, as trees of NumPy arrays.

    The updates are not compiled, which would take longer than running them.
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
    assert np.abs(moved).max() > 1e-4  # otherwise the comparison is trivial


# The learning rate


def logistic(epoch, epochs):
    """DESIGN's formula: lr * (1 - 0.9 * sigmoid((e - 0.75 E) / (0.075 E)))."""
    if epoch == 0:
        return 1.0
    return 1 - 0.9 / (1 + math.exp(-(epoch - 0.75 * epochs) / (0.075 * epochs)))


def rate_of_options(steps_per_epoch=10, **options) -> optax.Schedule:
    return schedule(resolved(**options).optimizer, steps_per_epoch)


def at(rate: optax.Schedule, step) -> float:
    return np.asarray(rate(step)).item()


@pytest.mark.parametrize("optimizer", [*MULTI_GRADIENT, *BASELINES])
def test_the_rate_at_step_0_is_the_learning_rate(optimizer):
    rate = rate_of_options(1718, optimizer=optimizer)
    expected = 1e-2 if optimizer in ("smgd", "sgd") else 1e-3
    assert at(rate, 0) == pytest.approx(expected, rel=1e-7)


def test_logistic_decay_times_time_decay():
    options = {"optimizer": "sgd", "learning_rate": 0.5, "epochs": 20, "decay": 0.01}
    rate = rate_of_options(7, **options)
    for step in (0, 1, 6, 7, 8, 70, 104, 105, 139):
        expected = 0.5 * logistic(step // 7, 20) / (1 + 0.01 * step)
        assert at(rate, step) == pytest.approx(expected, rel=1e-5)
        assert at(rate, jnp.asarray(step)) == pytest.approx(expected, rel=1e-5)


def test_the_logistic_schedule_ends_at_a_tenth():
    rate = rate_of_options(1, epochs=1000, learning_rate=1.0)
    assert at(rate, 749) > 0.54  # half of the decrease is at three quarters
    assert at(rate, 999) == pytest.approx(0.1, rel=0.4)


def test_constant_with_and_without_time_decay():
    options = {"schedule": "constant", "learning_rate": 0.5, "epochs": 30}
    rate = rate_of_options(**options)
    assert [at(rate, step) for step in (0, 10, 299)] == [0.5, 0.5, 0.5]
    rate = rate_of_options(**options, decay=0.1)
    assert at(rate, 40) == pytest.approx(0.1, rel=1e-6)


def test_no_epochs_need_no_schedule():
    assert at(rate_of_options(epochs=0, learning_rate=0.5), 0) == 0.5


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


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [*MULTI_GRADIENT, *BASELINES])
def test_the_defaults_of_each_optimizer(optimizer):
    by_hand = optax.chain(BY_HAND[optimizer], bopt.prune(1e-3))
    assert_same(with_defaults(optimizer), trajectory(by_hand))


def smgd(*weighting, rate: Any = SGD_RATE, momentum: float = 0.9, nesterov=False):
    return optax.chain(bopt.smgd(*weighting), optax.sgd(rate, momentum, nesterov))


DIRECTIONS: Any = {"weigh_by": "directions"}
# Options -> their chain; prune() is added below.
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


@pytest.mark.slow
@pytest.mark.parametrize("words", OPTIONS)
def test_each_option_changes_the_chain(words):
    given = parse(SmallConfig, "mnist_lenet", ["--optimizer", *words.split()])
    config = resolve(updated(given, epochs=EPOCHS), "mnist")
    found = trajectory(compose(config, STEPS_PER_EPOCH))
    by_hand = optax.chain(OPTIONS[words], bopt.prune(1e-3))
    assert_same(found, trajectory(by_hand))
    # It makes a difference; otherwise the comparison is trivial.
    changed = (
        found[-1][0]["kernel"]
        - with_defaults(config.optimizer.optimizer)[-1][0]["kernel"]
    )
    assert np.abs(changed).max() > 1e-7


@pytest.mark.slow
def test_threshold_and_regrow():
    """With momentum and regrowth, an entry pruned at the first step comes back."""
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


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["cubic", "once"])
def test_magnitude_pruning(schedule):
    """The sparsity is reached; with `once`, nothing is pruned before the middle."""
    config = resolved(pruning="magnitude", sparsity=0.5, sparsity_schedule=schedule)
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["saliency", "evidence"])
def test_pruning_by_gradients(kind):
    """It wraps the optimizer; after three fifths of the steps the mask is held."""
    config = resolved(pruning=kind, **({"sparsity": 0.5} if kind == "saliency" else {}))
    rise = 3 * STEPS // 5
    held: dict[str, Any] = {"stop": rise + 1}
    madam, batch = BY_HAND["madam"], config.optimizer.batch_size
    by_hand = {
        "saliency": lambda: bopt.prune_to(
            bopt.cubic_sparsity(0.5, rise),
            score=bopt.saliency(),
            optimizer=madam,
            **held,
        ),
        "evidence": lambda: bopt.prune_by_evidence(
            madam,
            examples=STEPS_PER_EPOCH * batch,
            batch_size=batch,
            transition_steps=rise,
            **held,
        ),
    }[kind]
    found = trajectory(compose(config, STEPS_PER_EPOCH))
    assert_same(found, trajectory(by_hand()))
    zeros = [np.asarray(params["kernel"]) == 0 for params, _ in found]
    assert zeros[-1].sum() == 3 if kind == "saliency" else zeros[-1].any()
    for later in zeros[rise:]:
        np.testing.assert_array_equal(later, zeros[rise])


def test_weight_decay_is_decoupled():
    """It shrinks the kernels by the learning rate, whatever the gradients are."""
    options = {"prune": False, "schedule": "constant", "learning_rate": 0.1}
    plain = compose(resolved(**options), STEPS_PER_EPOCH)
    decayed = compose(resolved(weight_decay=0.5, **options), STEPS_PER_EPOCH)
    values, jac = OBJECTIVES(PARAMS)
    without, found = (
        jax.device_get(rule.update(jac, rule.init(PARAMS), PARAMS, values=values)[0])
        for rule in (plain, decayed)
    )
    for name in PARAMS:
        share = 0.05 if name == "kernel" else 0.0
        expected = without[name] - share * PARAMS[name]
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_shares_of_a_network_replace_the_sparsity():
    config = resolved(pruning="magnitude")
    steps = functools.partial(compose, config, STEPS_PER_EPOCH)
    found = trajectory(steps(jnp.array([0.5, 0.5])))
    fixed = compose(updated(config, sparsity=0.5), STEPS_PER_EPOCH)
    assert_same(found, trajectory(fixed))


@pytest.mark.slow
def test_without_pruning_there_is_no_mask_and_no_zero():
    optimizer = compose(resolved(optimizer="adam", prune=False), STEPS_PER_EPOCH)
    assert optax.tree.get(optimizer.init(PARAMS), "PruneState") is None
    for params, _ in trajectory(optimizer):
        assert (params["kernel"] != 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [*MULTI_GRADIENT, *BASELINES])
def test_weights_of_a_network_replace_those_of_the_options(optimizer):
    """They may be traced: a front trains networks with other weights as one program."""
    config = resolved(optimizer=optimizer)
    fixed = updated(config, l1=None, weights=(0.7, 0.2), weigh_by=None)
    steps = functools.partial(compose, config, STEPS_PER_EPOCH)
    given = trajectory(steps(jnp.array([0.7, 0.2])))
    assert_same(given, trajectory(compose(fixed, STEPS_PER_EPOCH)))

    def update(weights):
        optimizer = steps(weights)
        jac = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PARAMS)
        state, values = optimizer.init(PARAMS), jnp.ones(2)
        return optimizer.update(jac, state, PARAMS, values=values)[0]

    updates = jax.eval_shape(update, jnp.ones(2))
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, PARAMS)
