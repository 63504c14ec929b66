"""A table of every public transform, crossed with the contracts that each keeps.

A public factory that is missing from the table fails the suite. Shapes, dtypes,
structures and messages are checked on abstract values for the whole table; programs are
compiled for eight archetypes, and for the whole table among the slow tests. Sharding
and checkpoints are in test_contracts_storage.py.
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

ARCHETYPES = {
    "smgd",
    "smgd, three objectives",
    "madam",
    "mrmsprop",
    "scale_by_keras_adam",
    "prune",
    "prune_to",
    "prune_n_m",
    "prune_by_evidence",
    "prune_units",
    "soft_threshold",
}


def table(names, fast=ARCHETYPES):
    """One test for each row of the table; those outside `fast` are slow."""
    rows = [
        pytest.param(TRANSFORMS[n], id=n, marks=() if n in fast else pytest.mark.slow)
        for n in names
    ]
    return pytest.mark.parametrize("transform", rows)


# Of the weightings one: their own tests cover the rest.
WEIGHED = {f"smgd, {name}" for name in contracts.WEIGHTINGS} - {"smgd, pcgrad"}
abstract = table(TRANSFORMS, fast=TRANSFORMS.keys() - WEIGHED)
compiled = table(TRANSFORMS)


def shapes_and_dtypes(tree):
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)


def trainer(transform):
    """A program of three steps, of which the second is left out: params -> (params,
    state)."""
    optimizer = transform.build()
    extra = contracts.extra(transform)

    def step(carry, due):
        def move(carry):
            params, state = carry
            updates, state = optimizer.update(
                transform.updates(params), state, params, **extra
            )
            return optax.apply_updates(params, updates), state

        return jax.lax.cond(due, move, lambda carry: carry, carry), None

    def train(params):
        carry = params, optimizer.init(params)
        return jax.lax.scan(step, carry, jnp.array([True, False, True]))[0]

    return train


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
    assert TRANSFORMS.keys() >= ARCHETYPES
    assert factories == {TRANSFORMS[n].factory for n in ARCHETYPES} - {None}


def test_a_transform_missing_from_the_table_would_fail(monkeypatch):
    def newcomer() -> optax.GradientTransformation: ...

    monkeypatch.setattr(bopt, "newcomer", newcomer, raising=False)
    monkeypatch.setattr(bopt, "__all__", [*bopt.__all__, "newcomer"])
    with pytest.raises(AssertionError):
        test_every_public_transform_is_in_the_table()


# On abstract values


@abstract
def test_structure_shapes_and_dtypes_are_kept(transform):
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            params = problems.parameters(dtype)
            optimizer = transform.build()
            jac, extra = transform.updates(params), contracts.extra(transform)
            state = jax.eval_shape(optimizer.init, params)
            update = jax.jit(optimizer.update)
            updates, new = jax.eval_shape(update, jac, state, params, **extra)
            assert shapes_and_dtypes(updates) == shapes_and_dtypes(params)
            assert shapes_and_dtypes(new) == shapes_and_dtypes(state)
            assert jax.tree.structure(new) == jax.tree.structure(state)


@abstract
def test_scan_cond_and_vmap_take_it(transform):
    params = problems.parameters()
    doubled = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    trained = jax.eval_shape(jax.vmap(trainer(transform)), doubled)
    state = jax.eval_shape(transform.build().init, params)
    assert jax.tree.map(
        lambda leaf: (leaf.shape[1:], leaf.dtype), trained
    ) == shapes_and_dtypes((params, state))


@abstract
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


@abstract
def test_updates_of_another_shape_are_refused(transform):
    """By the name of the leaf."""
    params, optimizer = problems.parameters(), transform.build()
    updates = transform.updates(params)
    updates["dense"]["bias"] = updates["dense"]["bias"][..., :3]

    def update():
        extra = contracts.extra(transform)
        return optimizer.update(updates, optimizer.init(params), params, **extra)[0]

    with pytest.raises(ValueError, match="'dense/bias'"):
        jax.eval_shape(update)


@abstract
def test_the_state_is_of_arrays_and_init_can_be_abstract(transform):
    params, optimizer = problems.parameters(), transform.build()
    state = optimizer.init(params)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    shape = jax.eval_shape(optimizer.init, params)
    assert jax.tree.structure(shape) == jax.tree.structure(state)
    assert shapes_and_dtypes(shape) == shapes_and_dtypes(state)
    for kind in (bopt.SmgdState, bopt.PruneState):
        # optax.tree.get(state, "count") finds Adam's count only, not one of ours.
        assert "count" not in kind._fields


def injected(transform):
    """The transform under `optax.inject_hyperparams`, and its state."""
    factory, static, numeric = transform.inject
    optimizer = optax.inject_hyperparams(factory, static_args=static)(
        *transform.args, **transform.kwargs
    )
    state = optimizer.init(problems.parameters())
    assert set(state.hyperparams) == set(numeric)
    return optimizer, state


INJECTED = [name for name, transform in TRANSFORMS.items() if transform.inject]


@table(INJECTED, fast=TRANSFORMS)
def test_numbers_become_hyperparameters(transform):
    optimizer, state = injected(transform)
    params, extra = problems.parameters(), contracts.extra(transform)
    updates, new = jax.eval_shape(
        lambda: optimizer.update(transform.updates(params), state, params, **extra)
    )
    assert shapes_and_dtypes(updates) == shapes_and_dtypes(params)
    assert shapes_and_dtypes(new) == shapes_and_dtypes(state)


# Compiled


def check_update(transform, optimizer, state, dtype=jnp.float32):
    """Check two updates; return the parameters after them, and the compiled update."""
    params = problems.parameters(dtype)
    update = jax.jit(optimizer.update, donate_argnums=1)
    for _ in range(2):
        jac, extra = transform.updates(params), contracts.extra(transform)
        updates, new = update(jac, jax.tree.map(jnp.array, state), params, **extra)
        again = update(jac, jax.tree.map(jnp.array, state), params, **extra)
        # One program, run twice: the same bits.
        jax.tree.map(np.testing.assert_array_equal, again, (updates, new))
        assert shapes_and_dtypes(updates) == shapes_and_dtypes(params)
        assert shapes_and_dtypes(new) == shapes_and_dtypes(state)
        state, params = new, optax.apply_updates(params, updates)
    assert update._cache_size() == 1, "compiled again on the second call"
    return params, update


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
@abstract
def test_updates_in_other_precisions(transform, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        optimizer = transform.build()
        state = optimizer.init(problems.parameters(dtype))
        check_update(transform, optimizer, state, dtype)


@compiled
def test_a_compiled_update_and_a_whole_program_agree(transform):
    """The update donates its state and has its numbers injected, where it has some; the
    program is of scan, cond and vmap. Rounding differs between programs."""
    optimizer = transform.build()
    state = optimizer.init(problems.parameters())
    if transform.inject:
        optimizer, state = injected(transform)
    params, update = check_update(transform, optimizer, state)

    if transform.inject and (numeric := transform.inject[2]):
        start, extra = problems.parameters(), contracts.extra(transform)
        jac, moved = transform.updates(start), []
        for factor in (1.0, 2.5):  # another value: another update, the same program
            own = jax.tree.map(jnp.array, state)
            own.hyperparams[numeric[0]] = factor * own.hyperparams[numeric[0]]
            moved.append(jax.tree.leaves(update(jac, own, start, **extra)[0]))
        assert any((a != b).any() for a, b in zip(*moved, strict=True))
        assert update._cache_size() == 1

    start = problems.parameters()
    doubled = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), start)
    batched, _ = jax.jit(jax.vmap(trainer(transform)))(doubled)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-5),
        batched,
        params,
    )


def test_one_compilation_for_a_sweep_over_traced_hyperparameters():
    params = problems.parameters()
    jac = problems.jacobian(params)

    @jax.jit
    def one(weights, rate, threshold):
        optimizer = optax.chain(
            bopt.smgd(bopt.fixed(weights)), optax.sgd(rate), bopt.prune(threshold)
        )
        return optimizer.update(jac, optimizer.init(params), params)[0]

    results = [one(jnp.array([1.0, w]), 0.1 * w, 0.01 * w) for w in (0.1, 0.5, 1.0)]
    assert one._cache_size() == 1
    assert not jnp.array_equal(results[0]["conv"], results[1]["conv"])
