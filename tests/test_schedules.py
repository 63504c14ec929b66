"""The original's schedules against their formulas."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportCallIssue=false, reportArgumentType=false, reportIndexIssue=false

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bopt


def logistic(init_value, epochs, epoch):
    """The formula, in float64."""
    if epoch == 0:
        return init_value
    z = (epoch - 0.75 * epochs) / (0.075 * epochs)
    return init_value * (1 - 0.9 / (1 + np.exp(-z)))


@pytest.mark.parametrize("epochs", [1, 7, 30, 100])
@pytest.mark.parametrize("init_value", [1e-3, 2.0])
def test_logistic_decay_follows_its_formula(init_value, epochs):
    schedule = bopt.logistic_decay(init_value, epochs)
    ours = [schedule(epoch) for epoch in range(epochs)]
    expected = [logistic(init_value, epochs, epoch) for epoch in range(epochs)]
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    assert schedule(0) == np.float32(init_value)
    assert (np.diff(ours) <= 0).all()
    assert schedule(10 * epochs) == pytest.approx(0.1 * init_value)


def test_logistic_decay_is_constant_within_an_epoch():
    by_epoch, by_step = bopt.logistic_decay(1.0, 5), bopt.logistic_decay(1.0, 5, 40)
    steps = jnp.arange(200)
    found, expected = jax.vmap(by_step)(steps), jax.vmap(by_epoch)(steps // 40)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert len(np.unique(found)) == 5


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_time_decay_follows_its_formula(decay):
    schedule = bopt.time_decay(0.5, decay)
    for step in (0, 1, 10, 100_000):
        assert schedule(step) == pytest.approx(0.5 / (1 + decay * step), rel=1e-6)


def test_cubic_sparsity_follows_its_formula():
    schedule = bopt.cubic_sparsity(0.9, 80, init_value=0.1, transition_begin=20)
    for step in (0, 20, 21, 60, 99, 100, 1000):
        rest = 1 - np.clip((step - 20) / 80, 0, 1)
        assert schedule(step) == pytest.approx(0.9 - 0.8 * rest**3, rel=1e-6)


@pytest.mark.parametrize(
    "schedule", [bopt.logistic_decay(0.5, 4, 2), bopt.time_decay(0.5, 0.1)]
)
def test_in_a_compiled_optimizer(schedule):
    optimizer = optax.sgd(schedule)
    params = jnp.ones(2)

    @jax.jit
    def body(state, _):
        updates, state = optimizer.update(jnp.ones(2), state, params)
        return state, updates[0]

    _, updates = jax.lax.scan(body, optimizer.init(params), length=8)
    expected = [-schedule(step) for step in range(8)]
    np.testing.assert_allclose(updates, expected, rtol=1e-6)
    with jax.numpy_dtype_promotion("strict"):
        assert jax.eval_shape(schedule, jnp.int32(3)).dtype == jnp.float32
    with jax.enable_x64(True):
        assert jax.eval_shape(schedule, jnp.int32(3)).dtype == jnp.float64


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bopt.logistic_decay(1.0, 0), "epochs=0, steps_per_epoch=1; expected"),
        (lambda: bopt.logistic_decay(1.0, 5, 0), "epochs=5, steps_per_epoch=0; expec"),
        (lambda: bopt.time_decay(1.0, -0.1), "decay=-0.1; expected at least 0"),
        (lambda: bopt.cubic_sparsity(1.5, 10), "end_value=1.5, transition_steps=10; "),
        (lambda: bopt.cubic_sparsity(0.5, 0), "transition_steps=0; expected sparsit"),
        (lambda: bopt.hold_cosine(1.0, 0), "decay_steps=0, hold=0.5; expected at"),
        (lambda: bopt.hold_cosine(1.0, 9, hold=1.0), "hold=1.0; expected at least 1"),
        (
            lambda: bopt.cubic_sparsity(0.5, 9, init_value=-1),
            "init_value=-1, end_value",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
