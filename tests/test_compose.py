"""smgd and prune among the transforms of Optax: what works, and what is refused."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest
from optax.experimental import aggregating

import bopt

PARAMS, XIS = problems.parameters(), problems.noise(6)
RATE = 0.05
SMGD = bopt.smgd()  # one for all tests, compiled once
LABELS = {"conv": "conv", "dense": {"kernel": "dense", "bias": "dense"}}


def assert_close(a, b, rtol=1e-5):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-6), a, b
    )


def one_update(optimizer, jac=None, params=PARAMS, **extra):
    jac = problems.jacobian(params) if jac is None else jac
    return jax.jit(optimizer.update)(jac, optimizer.init(params), params, **extra)


def test_clipping_after_smgd_clips_the_direction():
    direction, _ = one_update(SMGD)
    limit = optax.tree.norm(direction) / 2
    chain = optax.chain(bopt.smgd(), optax.clip_by_global_norm(limit))
    clipped, _ = one_update(chain)
    assert_close(clipped, jax.tree.map(lambda leaf: leaf / 2, direction))


def test_what_follows_sees_an_ordinary_gradient():
    """Fixed weights are AdamW on the gradient of the weighted sum."""
    weights = np.array([1.0, 0.02], np.float32)
    adamw = optax.adamw(RATE)
    optimizer = optax.chain(bopt.smgd(bopt.fixed(weights)), adamw)

    def summed(params, xi):
        return problems.loss(params, xi) + weights[1] * bopt.l1(params)

    @jax.jit
    def train(params, xis):
        def step(carry, xi):
            (params, state), (other, other_state) = carry
            _, jac = problems.value_and_jac(params, xi)
            updates, state = optimizer.update(jac, state, params)
            grad = jax.grad(summed)(other, xi)
            others, other_state = adamw.update(grad, other_state, other)
            ours = optax.apply_updates(params, updates), state
            return (ours, (optax.apply_updates(other, others), other_state)), None

        starts = (params, optimizer.init(params)), (params, adamw.init(params))
        return jax.lax.scan(step, starts, xis)[0]

    kernel = ("dense", "kernel")
    params, xis = ({"w": tree[kernel[0]][kernel[1]]} for tree in (PARAMS, XIS))
    (ours, _), (theirs, _) = train(params, xis)
    assert_close(ours, theirs)


def test_partition_weighs_each_group_by_its_own_rows():
    """l1 on dense layers, l2 on convolutions."""

    def error(params, xi):  # pulls outwards, against the penalties
        return problems.loss(
            jax.tree.map(lambda w: w - 3 * jax.lax.stop_gradient(w), params), xi
        )

    def complexity(params, xi):
        del xi
        return bopt.l1(params, where=2) + bopt.l2(params, where=4)

    value_and_jac = jax.jit(bopt.value_and_jac([error, complexity]))
    _, jac = value_and_jac(PARAMS, problems.row(XIS, 0))
    split = optax.partition({"dense": bopt.smgd(), "conv": bopt.smgd()}, LABELS)
    optimizer = optax.chain(split, optax.sgd(RATE), bopt.prune())
    updates, state = one_update(optimizer, jac)
    for group in ("conv", "dense"):
        alone, own = one_update(
            bopt.smgd(), {group: jac[group]}, {group: PARAMS[group]}
        )
        weights = optax.tree.get(state[0].inner_states[group], "SmgdState").weights
        np.testing.assert_allclose(weights, own.weights, rtol=1e-6)
        assert_close(
            updates[group], jax.tree.map(lambda leaf: -RATE * leaf, alone[group])
        )
    inner_states = state[0].inner_states.values()
    first, second = (optax.tree.get(s, "SmgdState").weights[1] for s in inner_states)
    assert abs(first - second) > 0.01


def test_multisteps_after_smgd_averages_directions():
    optimizer = optax.chain(
        bopt.smgd(), optax.MultiSteps(optax.sgd(RATE), 2), bopt.prune(0.0)
    )
    update, state, moves = jax.jit(optimizer.update), optimizer.init(PARAMS), []
    jacs = [problems.jacobian(PARAMS, seed=seed) for seed in range(4)]
    for jac in jacs:
        updates, state = update(jac, state, PARAMS)
        moves.append(updates)
    for move in moves[::2]:
        assert not any(leaf.any() for leaf in jax.tree.leaves(move))
    directions = [one_update(SMGD, jac)[0] for jac in jacs]
    for i in (1, 3):
        mean = jax.tree.map(
            lambda a, b: -RATE * (a + b) / 2, directions[i - 1], directions[i]
        )
        assert_close(moves[i], mean)


def test_apply_if_finite_after_smgd_skips_a_bad_step():
    optimizer = optax.chain(
        bopt.smgd(), optax.apply_if_finite(optax.adam(RATE), 5), bopt.prune(0.2)
    )
    good = problems.jacobian(PARAMS)
    bad = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), good)
    update, params = jax.jit(optimizer.update), PARAMS
    state = optimizer.init(params)
    for jac in (good, bad, good):
        updates, state = update(jac, state, params)
        params = optax.apply_updates(params, updates)
        assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    kernel = params["dense"]["kernel"]
    mask = optax.tree.get(state, "PruneState").mask["dense"]["kernel"]
    assert not mask.all()
    np.testing.assert_array_equal(kernel[~mask], 0)


@pytest.mark.parametrize(
    "optimizer, error, message",
    [
        (
            optax.MultiSteps(optax.chain(bopt.smgd(), optax.sgd(RATE)), 2),
            ValueError,
            "a gradient, not a jacobian: .*put smgd first in the chain",
        ),
        # Optax's own check comes before ours: both branches of its lax.cond differ.
        (
            optax.apply_if_finite(optax.chain(bopt.smgd(), optax.sgd(RATE)), 5),
            TypeError,
            "cond branches must have equal output types",
        ),
        # masked passes the other leaves on with their row axis: prune sees them.
        (
            optax.chain(
                optax.masked(bopt.smgd(), {"conv": False, "dense": True}), bopt.prune()
            ),
            ValueError,
            r"\(2, 2, 2, 1, 2\) at 'conv'.*a jacobian: put bopt.smgd\(\) first in the "
            "chain, outside optax.masked",
        ),
        (
            optax.chain(
                optax.masked(
                    bopt.smgd(),
                    {"conv": True, "dense": {"kernel": False, "bias": True}},
                ),
                bopt.prune(),
            ),
            ValueError,
            r"at 'dense/kernel'.*a jacobian: put bopt.smgd\(\) first",
        ),
        (
            optax.chain(bopt.prune(), bopt.smgd()),
            ValueError,
            r"prune got an update of shape .*a jacobian: put bopt.smgd\(\) first",
        ),
        (
            optax.chain(bopt.smgd(), bopt.smgd()),
            ValueError,
            "a gradient, not a jacobian.*put smgd first",
        ),
    ],
)
def test_the_wrong_order_is_refused(optimizer, error, message):
    with pytest.raises(error, match=message):
        one_update(optimizer)


@pytest.mark.slow
def test_smgd_is_an_aggregator_of_optax():
    values, jac = jnp.ones(2), {"w": problems.jacobian(PARAMS)["conv"]}
    params = {"w": PARAMS["conv"]}
    expected, _ = one_update(
        optax.chain(SMGD, optax.adam(RATE)), jac, params, values=values
    )
    for smgd in (SMGD, aggregating.Aggregator(*SMGD)):
        process = aggregating.process(
            preprocessor=optax.with_extra_args_support(optax.identity()),
            aggregator=smgd,
            postprocessor=optax.adam(RATE),
        )
        ours, _ = one_update(process, jac, params, values=values)
        assert_close(ours, expected)


@pytest.mark.slow
def test_inject_hyperparams_with_a_schedule_and_static_choices():
    optimizer = optax.chain(
        optax.inject_hyperparams(
            bopt.smgd, static_args=("weighting", "num_objectives", "preconditioner")
        )(bopt.min_norm("l2")),
        optax.inject_hyperparams(optax.sgd)(optax.linear_schedule(0.1, 0.0, 10)),
        optax.inject_hyperparams(
            bopt.prune, static_args=("where", "every", "start", "stop")
        )(optax.constant_schedule(0.2), where="*/kernel", every=2),
    )
    params, state = problems.train(optimizer, PARAMS, XIS)
    np.testing.assert_allclose(
        state[1].hyperparams["learning_rate"], np.linspace(0.1, 0.05, 6), rtol=1e-5
    )
    mask = optax.tree.get(state, "PruneState").mask["dense"]["kernel"]
    assert not mask.all()
    np.testing.assert_array_equal(params["dense"]["kernel"][~mask], 0)


def test_forgotten_static_arguments_are_named():
    optimizer = optax.inject_hyperparams(bopt.prune)(0.1)
    with pytest.raises(ValueError, match="inject_hyperparams, name 'where' in static"):
        optimizer.init(PARAMS)


@pytest.mark.parametrize(
    "weighting",
    [pytest.param(None, marks=pytest.mark.slow), bopt.fixed([1.0, 0.1, 0.01])],
)
def test_three_objectives_train(weighting):
    def smooth(params, xi):
        del xi
        return bopt.l2(params, where="*")

    value_and_jac = bopt.value_and_jac([problems.loss, bopt.l1, smooth])
    optimizer = optax.chain(
        bopt.smgd(weighting, num_objectives=3), optax.adam(RATE), bopt.prune(0.05)
    )

    @jax.jit
    def train(params, xis):
        def step(carry, xi):
            params, state = carry
            values, jac = value_and_jac(params, xi)
            updates, state = optimizer.update(jac, state, params, values=values)
            return (optax.apply_updates(params, updates), state), values

        return jax.lax.scan(step, (params, optimizer.init(params)), xis)

    (_, state), values = train(PARAMS, problems.noise(20))
    assert (values[-1, 1:] < values[0, 1:]).all()
    assert optax.tree.get(state, "SmgdState").weights.shape == (3,)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_a_whole_training_in_other_precisions(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        params, xis = problems.parameters(dtype), problems.noise(10, dtype)
        optimizer = optax.chain(bopt.smgd(), optax.adam(RATE), bopt.prune(0.1))
        trained, state = problems.train(optimizer, params, xis)
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(trained))
        mask = optax.tree.get(state, "PruneState").mask["dense"]["kernel"][-1]
        kernel = trained["dense"]["kernel"][-1]
        assert not mask.all()
        assert (kernel[~mask] == 0).all()
        assert (kernel[mask] != 0).all()
