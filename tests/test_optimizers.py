"""madam and mrmsprop: chains of public parts, with Optax's conventions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import bopt

PARAMS, XIS = problems.parameters(), problems.noise(8)


def assert_same_training(one, other):
    first, second = (problems.train(o, PARAMS, XIS)[0] for o in (one, other))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        first,
        second,
    )


@pytest.mark.parametrize("weigh_by", ["gradients", "directions"])
@pytest.mark.parametrize(
    "optimizer, precondition",
    [
        (bopt.madam, optax.scale_by_adam()),
        (
            lambda rate, **kw: bopt.madam(rate, amsgrad=True, **kw),
            optax.scale_by_amsgrad(),
        ),
        (bopt.mrmsprop, optax.scale_by_rms(0.9, 1e-7, eps_in_sqrt=False)),
    ],
)
def test_they_are_chains_of_public_parts(optimizer, precondition, weigh_by):
    parts = optax.chain(
        bopt.smgd(precondition=precondition, weigh_by=weigh_by),
        optax.scale_by_learning_rate(0.02),
    )
    assert_same_training(optimizer(0.02, weigh_by=weigh_by), parts)


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
    assert_same_training(
        alone, optax.chain(bopt.smgd(bopt.fixed([1.0, 0.0])), single(0.02))
    )


@pytest.mark.parametrize("optimizer", [bopt.madam, bopt.mrmsprop])
def test_learning_rate_may_be_a_schedule(optimizer):
    schedule = optax.piecewise_constant_schedule(0.1, {1: 0.5})
    chain = optimizer(schedule, weighting=bopt.fixed([1.0, 0.5]))
    state, sizes = chain.init(PARAMS), []
    constant = optimizer(0.1, weighting=bopt.fixed([1.0, 0.5]))
    other = constant.init(PARAMS)
    for _ in range(2):
        jac = problems.jacobian(PARAMS)
        scheduled, state = chain.update(jac, state, PARAMS)
        plain, other = constant.update(jac, other, PARAMS)
        sizes.append(scheduled["conv"] / plain["conv"])
    np.testing.assert_allclose(sizes[0], np.ones_like(sizes[0]), rtol=1e-5)
    np.testing.assert_allclose(sizes[1], 0.5 * np.ones_like(sizes[1]), rtol=1e-5)


@pytest.mark.parametrize("optimizer", [bopt.madam, bopt.mrmsprop])
def test_three_objectives(optimizer):
    chain = optimizer(0.1, num_objectives=3, weigh_by="directions")
    jac = problems.jacobian(PARAMS, 3)
    updates, state = jax.jit(chain.update)(jac, chain.init(PARAMS), PARAMS)
    weights = optax.tree.get(state, "SmgdState").weights
    assert weights.shape == (3,)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, PARAMS)


@pytest.mark.parametrize("optimizer", [bopt.madam, bopt.mrmsprop])
def test_wrong_input_is_named(optimizer):
    with pytest.raises(ValueError, match="weigh_by='both'; expected 'gradients' or"):
        optimizer(0.1, weigh_by="both")
    with pytest.raises(ValueError, match="num_objectives=-1; expected at least 1"):
        optimizer(0.1, num_objectives=-1)
