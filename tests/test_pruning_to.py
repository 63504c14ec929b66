"""prune_to: exactly as many entries are kept as the sparsity says, the largest ones."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import bopt

# Few values, so that many are equal; zeros, infinities and NaN among them.
values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, np.inf, np.nan])
shapes = st.sampled_from([(2, 3), (0, 3), (4, 1)])  # few: each is compiled for
matrices = shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=values))
shares = st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.75, 0.99, 1.0])


def expected(arrays: list[np.ndarray], share: float) -> list[np.ndarray]:
    """By a stable sort: of equal entries the first are kept."""
    flat = np.abs(np.concatenate([array.ravel() for array in arrays]))
    flat[np.isnan(flat)] = np.inf
    kept = np.zeros(flat.size, bool)
    kept[np.argsort(-flat, stable=True)[: flat.size - round(share * flat.size)]] = True
    ends = np.cumsum([array.size for array in arrays])[:-1]
    parts = np.split(kept, ends)
    return [part.reshape(a.shape) for part, a in zip(parts, arrays, strict=True)]


def step(pruning, params, state=None, updates=None):
    """One step of a pruning alone: (new parameters, state)."""
    state = pruning.init(params) if state is None else state
    updates = jax.tree.map(jnp.zeros_like, params) if updates is None else updates
    updates, state = pruning.update(updates, state, params)
    return optax.apply_updates(params, updates), state


@settings(deadline=None)
@given(st.lists(matrices, min_size=1, max_size=3), shares)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_exactly_the_largest_are_kept(scope, params, share):
    _, state = step(bopt.prune_to(share, scope=scope), params)
    groups = [params] if scope == "global" else [[array] for array in params]
    masks = [mask for group in groups for mask in expected(group, share)]
    jax.tree.map(np.testing.assert_array_equal, state.mask, masks)


@settings(deadline=None)
@given(
    arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=16)),
    arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=16)),
    shares,
)
def test_what_is_ranked_is_where_the_update_leads(param, update, share):
    new, state = step(bopt.prune_to(share), [param], None, [update])
    (mask,) = expected([param + update], share)
    np.testing.assert_array_equal(state.mask[0], mask)
    np.testing.assert_array_equal(new[0], np.where(mask, param + update, 0))


PARAMS = {
    "kernel": jnp.arange(1.0, 13).reshape(3, 4),
    "other": jnp.arange(13.0, 21).reshape(2, 4),
    "bias": jnp.zeros(4),
}


def kept(state) -> list[int]:
    """How many of each leaf."""
    return [int(leaf.sum()) for leaf in jax.tree.leaves(state.mask)]


def test_of_the_whole_or_of_each_layer():
    assert kept(step(bopt.prune_to(0.5), PARAMS)[1]) == [2, 8]
    assert kept(step(bopt.prune_to(0.5, scope="layer"), PARAMS)[1]) == [6, 4]
    assert kept(step(bopt.prune_to(0.5, where="k*"), PARAMS)[1]) == [6]


@pytest.mark.parametrize("compiled", [False, True])
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


@pytest.mark.parametrize("number", [float, jnp.float32])
@pytest.mark.parametrize(("value", "left"), [(-0.25, 20), (0.25, 15), (1.25, 0)])
def test_what_a_schedule_gives_is_clipped(number, value, left):
    _, state = step(bopt.prune_to(lambda step: number(value)), PARAMS)
    assert sum(kept(state)) == left


def test_whether_pruned_entries_come_back():
    """Of all but the last two, pruned first, the second step makes one the largest."""
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
        params, state = step(pruning, params, state, updates)
        assert kept(state) == ([2, 8] if number else [12, 8])
        assert int((params["kernel"] != 0).sum()) == kept(state)[0]


def test_nan_is_seen():
    params = PARAMS | {"kernel": PARAMS["kernel"].at[0, 0].set(jnp.nan)}
    new, state = step(bopt.prune_to(0.5), params)
    assert kept(state) == [2, 8]
    assert jnp.isnan(new["kernel"][0, 0])


def test_a_traced_sparsity():
    """As under inject_hyperparams, and many at once."""
    pruning = optax.inject_hyperparams(
        bopt.prune_to, static_args=("where", "scope", "every", "start", "stop")
    )(0.25)
    _, state = step(pruning, PARAMS)
    assert sum(kept(state.inner_state)) == 15

    @jax.vmap
    def number(share):
        _, state = step(bopt.prune_to(share), PARAMS)
        return sum(leaf.sum() for leaf in jax.tree.leaves(state.mask))

    assert number(jnp.array([0.0, 0.25, 0.95, 1.0])).tolist() == [20, 15, 1, 0]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bopt.prune_to(-0.1), "sparsity=-0.1; expected at least 0"),
        (lambda: bopt.prune_to(1.5), "sparsity=1.5; expected at most 1"),
        (lambda: bopt.prune_to(np.float32(1.5)), "sparsity=1.5; expected at most 1"),
        (lambda: bopt.prune_to(0.5, scope="all"), "scope='all'; expected 'global' or"),
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
