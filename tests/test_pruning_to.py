"""prune_to: a sparsity fixes the number of entries kept, which are the largest."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportArgumentType=false

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import bopt

# Few values, so that many are equal; zeros, infinities and NaN among them.
values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, np.inf, np.nan])
shares = st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.75, 0.99, 1.0])


def trees(elements):
    shapes = (2, 3), (0, 3), (4, 1)  # one of them empty
    return st.tuples(*(arrays(np.float32, s, elements=elements) for s in shapes))


def expected(arrays: list[np.ndarray], share: float) -> list[np.ndarray]:
    """Masks by a stable sort: of equal entries the first are kept."""
    flat = np.abs(np.concatenate([array.ravel() for array in arrays]))
    flat[np.isnan(flat)] = np.inf
    kept = np.zeros(flat.size, bool)
    kept[np.argsort(-flat, stable=True)[: flat.size - round(share * flat.size)]] = True
    ends = np.cumsum([array.size for array in arrays])[:-1]
    parts = np.split(kept, ends)
    return [part.reshape(a.shape) for part, a in zip(parts, arrays, strict=True)]


def step(pruning, params, state=None, updates=None, compiled=False):
    """One step of a pruning alone: (new parameters, state)."""
    state = pruning.init(params) if state is None else state
    updates = jax.tree.map(jnp.zeros_like, params) if updates is None else updates
    update = jax.jit(pruning.update) if compiled else pruning.update
    updates, state = update(updates, state, params)
    return optax.apply_updates(params, updates), state


@functools.cache
def compiled_step(scope):
    """One step from the initial mask; the share is traced: one compilation."""
    return jax.jit(
        lambda params, updates, share: step(
            bopt.prune_to(share, scope=scope), params, None, updates
        )
    )


@given(trees(values), trees(values), shares)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_exactly_the_largest_are_kept(scope, params, updates, share):
    """Where the update leads is what counts."""
    with np.errstate(invalid="ignore"):  # infinity less infinity
        moved = [param + update for param, update in zip(params, updates, strict=True)]
    new, state = compiled_step(scope)(params, updates, share)
    groups = [moved] if scope == "global" else [[array] for array in moved]
    masks = [mask for group in groups for mask in expected(group, share)]
    for mask, ours, array, own, param in zip(
        masks, state.mask, moved, new, params, strict=True
    ):
        np.testing.assert_array_equal(ours, mask)
        finite = np.isfinite(param)
        np.testing.assert_array_equal(own[finite], np.where(mask, array, 0)[finite])


PARAMS = {
    "kernel": jnp.arange(1.0, 13).reshape(3, 4),
    "other": jnp.arange(13.0, 21).reshape(2, 4),
    "bias": jnp.zeros(4),
}


def kept(state) -> list[int]:
    """Number of entries kept of each leaf."""
    return [int(leaf.sum()) for leaf in jax.tree.leaves(state.mask)]


@pytest.mark.slow
def test_of_the_whole_or_of_each_layer():
    assert kept(step(bopt.prune_to(0.5), PARAMS)[1]) == [2, 8]
    assert kept(step(bopt.prune_to(0.5, scope="layer"), PARAMS)[1]) == [6, 4]
    assert kept(step(bopt.prune_to(0.5, where="k*"), PARAMS)[1]) == [6]


@pytest.mark.parametrize(
    "compiled", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_a_schedule_and_the_steps_between(compiled):
    """Due at steps 2, 4, 6; from step 7 the mask is held."""
    pruning = bopt.prune_to(
        bopt.cubic_sparsity(0.8, 4, transition_begin=2), every=2, start=2, stop=7
    )
    params, state, numbers = PARAMS, pruning.init(PARAMS), []
    update = jax.jit(pruning.update) if compiled else pruning.update
    for _ in range(10):
        updates = jax.tree.map(lambda leaf: 0.01 * jnp.ones_like(leaf), params)
        updates, state = update(updates, state, params)
        params = optax.apply_updates(params, updates)
        numbers.append(sum(kept(state)))
        zeros = [int((params[key] == 0).sum()) for key in ("kernel", "other")]
        assert sum(zeros) == 20 - numbers[-1]
    assert numbers == [20, 20, 20, 20, 6, 6, 4, 4, 4, 4]


@pytest.mark.slow
@pytest.mark.parametrize("number", [float, jnp.float32])
@pytest.mark.parametrize(("value", "left"), [(-0.25, 20), (0.25, 15), (1.25, 0)])
def test_what_a_schedule_gives_is_clipped(number, value, left):
    _, state = step(bopt.prune_to(lambda step: number(value)), PARAMS)
    assert sum(kept(state)) == left


def test_whether_pruned_entries_come_back():
    """The first step leaves the last two; the second makes a pruned one the largest."""
    larger = jnp.zeros((3, 4)).at[0, 0].set(99.0)
    for regrow, left in ((True, [0, 11]), (False, [10, 11])):
        pruning = bopt.prune_to(5 / 6, where="kernel", regrow=regrow)
        params, state = step(pruning, PARAMS)
        updates = jax.tree.map(jnp.zeros_like, PARAMS) | {"kernel": larger}
        params, state = step(pruning, params, state, updates)
        np.testing.assert_array_equal(np.flatnonzero(state.mask["kernel"]), left)
        np.testing.assert_array_equal(np.flatnonzero(params["kernel"]), left)


def test_without_regrowth_a_lower_sparsity_keeps_what_is_left():
    pruning = bopt.prune_to(lambda step: 0.9 - 0.4 * step, regrow=False)
    params, state = step(pruning, PARAMS)
    assert kept(state) == [0, 2]
    assert kept(step(pruning, params, state)[1]) == [0, 2]


def test_once_and_then_held():
    """One-shot pruning: later, however large an entry gets, it stays 0."""
    pruning = bopt.prune_to(0.5, start=1, stop=2)
    params, state = PARAMS, pruning.init(PARAMS)
    for number in range(4):
        updates = jax.tree.map(lambda leaf: 50 * jnp.ones_like(leaf), params)
        params, state = step(pruning, params, state, updates, compiled=True)
        assert kept(state) == ([2, 8] if number else [12, 8])
        assert int((params["kernel"] != 0).sum()) == kept(state)[0]


def test_nan_is_seen():
    params = PARAMS | {"kernel": PARAMS["kernel"].at[0, 0].set(jnp.nan)}
    new, state = step(bopt.prune_to(0.5), params)
    assert kept(state) == [2, 8]
    assert jnp.isnan(new["kernel"][0, 0])


def test_a_traced_sparsity():
    """As under inject_hyperparams; and several at once."""
    pruning = optax.inject_hyperparams(
        bopt.prune_to, static_args=("where", "scope", "every", "start", "stop")
    )(0.25)
    state = jax.eval_shape(pruning.init, PARAMS)
    assert [*state.hyperparams] == ["sparsity"]

    @jax.jit
    @jax.vmap
    def number(share):
        _, state = step(bopt.prune_to(share), PARAMS)
        return sum(leaf.sum() for leaf in jax.tree.leaves(state.mask))

    assert number(jnp.array([0.0, 0.25, 0.95, 1.0])).tolist() == [20, 15, 1, 0]


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("params", [{}, {"bias": jnp.ones(3)}, {"w": jnp.ones((0, 3))}])
def test_nothing_to_prune(scope, every, params):
    """As in a group of `optax.partition` that no leaf belongs to."""
    pruning = bopt.prune_to(0.5, scope=scope, every=every)
    optimizer = optax.masked(pruning, jax.tree.map(lambda leaf: leaf.ndim == 2, params))
    new, _ = step(optimizer, params)
    jax.tree.map(np.testing.assert_array_equal, new, params)


def test_strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(lambda: step(bopt.prune_to(0.5, scope="layer"), PARAMS))
        jax.eval_shape(lambda share: step(bopt.prune_to(share), PARAMS), 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float64])
def test_other_precisions(dtype):
    """Neighbours in the dtype are told apart."""
    with jax.enable_x64(dtype == jnp.float64):
        one = jnp.ones((1, 1), dtype)
        kernel = jnp.concatenate([one, jnp.nextafter(one, one * 2), -one], axis=1)
        tree = {"a": kernel, "b": jnp.full((1, 1), 0.5, jnp.float32)}
        _, state = step(bopt.prune_to(0.5), tree)
        assert state.mask["a"].tolist() == [[True, True, False]]
        assert state.mask["b"].tolist() == [[False]]


@pytest.mark.parametrize("spec", [P("x"), P(None, "y"), P("x", "y")])
def test_leaves_sharded_over_an_explicit_mesh(spec):
    """Types of sharding are checked, even on one device; numbers in test_meshes."""
    mesh = jax.make_mesh((1, 1), ("x", "y"))
    params = jax.device_put({"w": PARAMS["kernel"]}, NamedSharding(mesh, spec))
    for scope in ("global", "layer"):
        pruning = bopt.prune_to(0.5, scope=scope)
        new, state = jax.eval_shape(functools.partial(step, pruning), params)
        assert new["w"].sharding.spec == state.mask["w"].sharding.spec


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bopt.prune_to(-0.1), "sparsity=-0.1; expected at least 0"),
        (lambda: bopt.prune_to(1.5), "sparsity=1.5; expected at most 1"),
        (lambda: bopt.prune_to(np.float32(1.5)), "sparsity=1.5; expected at most 1"),
        (lambda: bopt.prune_to(0.5, scope="all"), "scope='all'; expected 'global',"),
        (lambda: bopt.prune_to(0.5, every=0), "prune_to got every=0; expected at le"),
        (lambda: bopt.prune_to(0.5, start=-1), "prune_to got start=-1; expected at "),
        (lambda: bopt.prune_to(0.5, start=2, stop=2), "stop=2 with start=2; expected"),
        (lambda: bopt.prune_to(0.5, where=3).init(PARAMS), "where=3 matches none of"),
        (
            lambda: bopt.prune_to(0.5).update(
                PARAMS, bopt.prune_to(0.5).init(PARAMS), None
            ),
            "prune_to rewrites updates from the parameters: call update",
        ),
        (
            lambda: step(bopt.prune_to(0.5), PARAMS, None, {**PARAMS, "bias": 0.0}),
            r"prune_to got an update of shape \(\) at 'bias'; expected \(4,\)",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
