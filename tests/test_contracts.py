"""A table of every public transform, crossed with what each of them promises.

A factory among the public names that is missing from the table fails the suite. The
contracts on sharding and checkpoints are in test_contracts_storage.py.
"""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportArgumentType=false

import inspect

import contracts
import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest
from contracts import TRANSFORMS

import bopt

transforms = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)


def shapes_and_dtypes(tree):
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)


def test_every_public_transform_is_in_the_table():
    factories = {
        name
        for name in bopt.__all__
        if inspect.isfunction(getattr(bopt, name))
        and "GradientTransformation"
        in str(inspect.signature(getattr(bopt, name)).return_annotation)
    }
    assert factories >= {"smgd", "madam", "mrmsprop", "prune"}
    assert factories == {t.factory for t in TRANSFORMS.values() if t.factory}


def test_a_transform_missing_from_the_table_would_fail(monkeypatch):
    def newcomer() -> optax.GradientTransformation: ...

    monkeypatch.setattr(bopt, "newcomer", newcomer, raising=False)
    monkeypatch.setattr(bopt, "__all__", [*bopt.__all__, "newcomer"])
    with pytest.raises(AssertionError):
        test_every_public_transform_is_in_the_table()


@transforms
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
def test_dtypes_are_kept_bits_repeat_and_nothing_compiles_twice(transform, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        params = problems.parameters(dtype)
        kept = shapes_and_dtypes(params)
        optimizer = transform.build()
        state = optimizer.init(params)
        update = jax.jit(optimizer.update)
        for _ in range(2):
            jac, extra = transform.updates(params), contracts.extra(transform)
            updates, new = update(jac, state, params, **extra)
            again = update(jac, state, params, **extra)
            jax.tree.map(np.testing.assert_array_equal, again, (updates, new))
            assert shapes_and_dtypes(updates) == kept
            assert shapes_and_dtypes(new) == shapes_and_dtypes(state)
            assert jax.tree.structure(new) == jax.tree.structure(state)
            state, params = new, optax.apply_updates(params, updates)
            assert shapes_and_dtypes(params) == kept
        assert update._cache_size() == 1, "compiled again on the second call"


@transforms
def test_extra_arguments_pass(transform):
    params = problems.parameters()

    def update_fn(updates, state, params=None, *, needed, **extra):
        del params, needed, extra
        return updates, state

    needing = optax.GradientTransformationExtraArgs(lambda params: (), update_fn)
    optimizer = optax.chain(transform.build(), needing)

    def update(**extra):
        jac, state = transform.updates(params), optimizer.init(params)
        return optimizer.update(jac, state, params, **extra)

    extra = contracts.extra(transform)
    jax.eval_shape(lambda: update(needed=1, unknown="word", **extra)[0])
    with pytest.raises(TypeError, match="needed"):
        jax.eval_shape(lambda: update(**extra)[0])


@transforms
def test_init_can_be_evaluated_abstractly(transform):
    params = problems.parameters()
    optimizer = transform.build()
    abstract = jax.eval_shape(optimizer.init, params)
    state = optimizer.init(params)
    assert jax.tree.structure(abstract) == jax.tree.structure(state)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), abstract) == shapes_and_dtypes(
        state
    )


@transforms
def test_state_is_of_arrays_and_nothing_is_called_count(transform):
    state = transform.build().init(problems.parameters())
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    for kind in (bopt.SmgdState, bopt.PruneState):
        assert "count" not in kind._fields


@transforms
def test_scan_cond_vmap_and_donation_agree_with_a_plain_loop(transform):
    params = problems.parameters()
    optimizer = transform.build()
    extra = contracts.extra(transform)

    def step(carry, go):
        def move(carry):
            params, state = carry
            updates, state = optimizer.update(
                transform.updates(params), state, params, **extra
            )
            return optax.apply_updates(params, updates), state

        return jax.lax.cond(go, move, lambda carry: carry, carry), None

    def train(params):
        carry = params, optimizer.init(params)
        return jax.lax.scan(step, carry, jnp.array([True, False, True]))[0]

    doubled = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    batched = jax.jit(jax.vmap(train))(doubled)

    once = jax.jit(lambda carry: step(carry, True)[0], donate_argnums=0)
    carry = jax.tree.map(jnp.array, (params, optimizer.init(params)))
    for _ in range(2):
        carry = once(carry)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-5),
        batched,
        carry,
    )


@pytest.mark.parametrize("name", [n for n, t in TRANSFORMS.items() if t.inject])
def test_inject_hyperparams(name):
    transform = TRANSFORMS[name]
    factory, static, numeric = transform.inject
    params = problems.parameters()
    extra = contracts.extra(transform)
    plain = transform.build()
    expected, _ = plain.update(
        transform.updates(params), plain.init(params), params, **extra
    )
    optimizer = optax.inject_hyperparams(factory, static_args=static)(
        *transform.args, **transform.kwargs
    )
    state = optimizer.init(params)
    assert set(state.hyperparams) == set(numeric)
    update = jax.jit(optimizer.update)
    updates, _ = update(transform.updates(params), state, params, **extra)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        updates,
        expected,
    )
    if numeric:
        state.hyperparams[numeric[0]] = 2.5 * state.hyperparams[numeric[0]]
        moved, _ = update(transform.updates(params), state, params, **extra)
        assert any(
            (a != b).any()
            for a, b in zip(
                jax.tree.leaves(moved), jax.tree.leaves(updates), strict=True
            )
        )
        assert update._cache_size() == 1


def test_one_compilation_for_a_sweep_over_traced_hyperparameters():
    params = problems.parameters()

    @jax.jit
    def one(weights, rate, threshold):
        optimizer = optax.chain(
            bopt.smgd(bopt.fixed(weights)), optax.sgd(rate), bopt.prune(threshold)
        )
        jac = problems.jacobian(params)
        return optimizer.update(jac, optimizer.init(params), params)[0]

    results = [one(jnp.array([1.0, w]), 0.1 * w, 0.01 * w) for w in (0.1, 0.5, 1.0)]
    assert one._cache_size() == 1
    assert not jnp.array_equal(results[0]["conv"], results[1]["conv"])
