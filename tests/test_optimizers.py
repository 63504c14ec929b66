"""madam and mrmsprop: chains of public parts, with Optax's conventions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import bopt

PARAMS = problems.parameters()
JAC = problems.jacobian(PARAMS)


def program(optimizer):
    """Text of the update's program, and of its state's."""
    state = jax.eval_shape(optimizer.init, PARAMS)
    update = jax.make_jaxpr(optimizer.update)(JAC, state, PARAMS)
    return str(update), str(jax.make_jaxpr(optimizer.init)(PARAMS))


def side_by_side(one, other, seen):
    """Updates of two optimizers in eight steps, where the other gets `seen(jac)`."""

    @jax.jit
    def run(jacs):
        def step(states, jac):
            first, state = one.update({"w": jac}, states[0])
            second, other_state = other.update({"w": seen(jac)}, states[1])
            return (state, other_state), (first["w"], second["w"])

        params = {"w": jacs[0, 0]}
        return jax.lax.scan(step, (one.init(params), other.init(params)), jacs)[1]

    return run(np.random.default_rng(0).normal(size=(8, 2, 3)).astype(np.float32))


@pytest.mark.parametrize("weigh_by", ["gradients", "directions"])
@pytest.mark.parametrize(
    "optimizer, preconditioner",
    [
        (bopt.madam, optax.scale_by_adam()),
        (
            lambda rate, **kw: bopt.madam(rate, amsgrad=True, **kw),
            optax.scale_by_amsgrad(),
        ),
        (bopt.mrmsprop, optax.scale_by_rms(0.9, 1e-7, eps_in_sqrt=False)),
    ],
)
def test_they_are_chains_of_public_parts(optimizer, preconditioner, weigh_by):
    parts = optax.chain(
        bopt.smgd(preconditioner=preconditioner, weigh_by=weigh_by),
        optax.scale_by_learning_rate(0.02),
    )
    assert program(optimizer(0.02, weigh_by=weigh_by)) == program(parts)
    assert program(optimizer(0.03, weigh_by=weigh_by)) != program(parts)
    if weigh_by == "directions":
        assert program(optimizer(0.02)) == program(parts), "the default"


@pytest.mark.parametrize(
    "multi, single",
    [
        (bopt.madam, optax.adam),
        (lambda r, **kw: bopt.madam(r, amsgrad=True, **kw), optax.amsgrad),
        (
            bopt.mrmsprop,
            lambda r: optax.rmsprop(r, 0.9, 1e-7, eps_in_sqrt=False),
        ),
    ],
)
def test_with_all_weight_on_the_loss_they_are_optax_optimizers(multi, single):
    alone = multi(0.02, weighting=bopt.fixed([1.0, 0.0]))
    ours, theirs = side_by_side(alone, single(0.02), lambda jac: jac[0])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", [bopt.madam, bopt.mrmsprop])
def test_learning_rate_may_be_a_schedule(optimizer):
    schedule = optax.piecewise_constant_schedule(0.1, {1: 0.5})
    weighting = bopt.fixed([1.0, 0.5])
    scheduled, constant = (
        optimizer(rate, weighting=weighting) for rate in (schedule, 0.1)
    )
    found, expected = side_by_side(scheduled, constant, lambda jac: jac)
    factors = np.repeat([[1.0], [0.5]], [1, 7], axis=0)
    np.testing.assert_allclose(found, factors * expected, rtol=1e-5)


@pytest.mark.parametrize("optimizer", [bopt.madam, bopt.mrmsprop])
def test_three_objectives(optimizer):
    chain = optimizer(0.1, num_objectives=3)
    state = jax.eval_shape(chain.init, PARAMS)
    jac = problems.jacobian(PARAMS, 3)
    updates, state = jax.eval_shape(chain.update, jac, state, PARAMS)
    assert optax.tree.get(state, "SmgdState").weights.shape == (3,)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, PARAMS)


@pytest.mark.parametrize("optimizer", [bopt.madam, bopt.mrmsprop])
def test_wrong_input_is_named(optimizer):
    with pytest.raises(ValueError, match="weigh_by='both'; expected 'gradients' or"):
        optimizer(0.1, weigh_by="both")
    with pytest.raises(ValueError, match="num_objectives=-1; expected at least 1"):
        optimizer(0.1, num_objectives=-1)


@pytest.mark.parametrize("optimizer", [bopt.smgd, bopt.madam, bopt.mrmsprop])
def test_forgotten_static_arguments_are_named(optimizer):
    injected = optax.inject_hyperparams(optimizer)()
    with pytest.raises(ValueError, match="name 'num_objectives' in static_args"):
        jax.eval_shape(injected.init, PARAMS)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_keras_adam_may_be_donated(amsgrad):
    optimizer = bopt.scale_by_keras_adam(amsgrad=amsgrad)
    params = {"w": jnp.ones((2, 2))}
    update = jax.jit(lambda state: optimizer.update(params, state), donate_argnums=0)
    updates, _ = update(optimizer.init(params))
    np.testing.assert_allclose(updates["w"], 1, rtol=1e-4)
