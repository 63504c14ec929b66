"""prune: exact zeros whatever came before, masks that follow their rules, NaN kept."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import bopt

PARAMS = {
    "kernel": jnp.array([[0.5, -0.02, 0.0], [0.009, -0.5, 0.3]]),
    "bias": jnp.array([0.001, -0.4, 0.0]),
}
OPTIMIZERS = {
    "sgd": optax.sgd(0.05),
    "momentum": optax.sgd(0.05, momentum=0.9),
    "nesterov": optax.sgd(0.05, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.05),
    "nadam": optax.nadam(0.05),
    "adamw": optax.adamw(0.05, weight_decay=0.1),
    "adamax": optax.adamax(0.05),
    "amsgrad": optax.amsgrad(0.05),
    "adabelief": optax.adabelief(0.05),
    "adadelta": optax.adadelta(30.0),
    "adafactor": optax.adafactor(0.05),
    "adagrad": optax.adagrad(0.05),
    "lamb": optax.lamb(0.05),
    "lars": optax.lars(50.0),
    "lion": optax.lion(0.05),
    "noisy_sgd": optax.noisy_sgd(0.05, key=jax.random.key(0)),
    "novograd": optax.novograd(0.05),
    "radam": optax.radam(0.05),
    "rmsprop": optax.rmsprop(0.05, momentum=0.9),
    "rprop": optax.rprop(0.05),
    "sign_sgd": optax.sign_sgd(0.05),
    "sm3": optax.sm3(0.05),
    "yogi": optax.yogi(0.05),
    "clipped": optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.05)),
    "every other step": optax.MultiSteps(optax.adam(0.05), 2),
}


def run(optimizer, updates, params=PARAMS, compiled=False):
    """Apply a list of updates: [(params, state)] after each.

    A pruning with steps between is compiled once; outside jit it would be at each step.
    """
    state, trace = optimizer.init(params), []
    apply = jax.jit(optimizer.update) if compiled else optimizer.update
    for update in updates:
        update, state = apply(update, state, params)
        params = optax.apply_updates(params, update)
        trace.append((params, optax.tree.get(state, "PruneState")))
    return trace


def kernel_updates(*moves):
    """Updates that move single kernel entries, {index: amount} a step."""
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    for move in moves:
        kernel = zeros["kernel"]
        for index, amount in move.items():
            kernel = kernel.at[index].set(amount)
        yield zeros | {"kernel": kernel}


def kept(state):
    return np.asarray(state.mask["kernel"]).astype(int).tolist()


FAST = [("nesterov", False), ("adam", True), ("every other step", True)]
EVERY = [(name, True) for name in OPTIMIZERS] + [
    (name, False) for name in ("nesterov", "adam", "lion", "every other step")
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, regrow",
    [
        pytest.param(*row, marks=() if row in FAST else pytest.mark.slow)
        for row in EVERY
    ],
)
def test_pruned_entries_are_exactly_zero_under_any_optimizer(name, regrow):
    # Whatever momentum, decay or noise the links before it hold.
    pruning = bopt.prune(0.06, regrow=regrow)
    optimizer = optax.chain(bopt.smgd(), OPTIMIZERS[name], pruning)
    params, state = problems.train(optimizer, problems.parameters(), problems.noise(12))
    mask = np.asarray(optax.tree.get(state, "PruneState").mask["dense"]["kernel"])
    kernel = np.asarray(params["dense"]["kernel"])
    assert not mask.all(), "nothing was pruned: the test would show nothing"
    np.testing.assert_array_equal(kernel[~mask], 0)
    # The mask and the parameter are computed apart: their rounding may differ.
    assert (abs(kernel[mask]) > 0.06 * (1 - 1e-6)).all()
    if not regrow:
        assert not (~mask[:-1] & mask[1:]).any()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("update_dtype", [jnp.float32, jnp.bfloat16])
def test_zeros_are_exact_in_every_precision(dtype, update_dtype):
    # Cause: -param rounded to an update of fewer digits leaves a remainder.
    rng = np.random.default_rng(0)
    params = {"w": jnp.asarray(rng.normal(0, 1, (20, 20)), dtype)}
    update = {"w": jnp.asarray(rng.normal(0, 1, (20, 20)), update_dtype)}
    ((new, state),) = run(bopt.prune(0.5), [update], params)
    moved = optax.apply_updates(params, update)["w"].astype(jnp.float32)
    np.testing.assert_array_equal(state.mask["w"], ~(abs(moved) <= 0.5))
    np.testing.assert_array_equal(
        new["w"].astype(jnp.float32), jnp.where(state.mask["w"], moved, 0)
    )
    assert new["w"].dtype == dtype


def test_threshold_is_inclusive():
    threshold = float(np.float32(0.009))
    ((params, state),) = run(bopt.prune(threshold), kernel_updates({}))
    assert kept(state) == [[1, 1, 0], [0, 1, 1]]
    assert params["kernel"][1, 0] == 0
    ((_, state),) = run(bopt.prune(threshold * 0.999), kernel_updates({}))
    assert kept(state) == [[1, 1, 0], [1, 1, 1]]
    ((_, state),) = run(bopt.prune(0.0), kernel_updates({}))
    assert kept(state) == [[1, 1, 0], [1, 1, 1]]


def test_unselected_leaves_are_untouched():
    optimizer = bopt.prune(0.1)
    state = optimizer.init(PARAMS)
    assert state.mask["bias"] == optax.MaskedNode()
    update = jax.tree.map(lambda leaf: leaf * jnp.float32(1e-9), PARAMS)
    updates, state = optimizer.update(update, state, PARAMS)
    assert state.mask["bias"] == optax.MaskedNode()
    np.testing.assert_array_equal(updates["bias"], update["bias"])
    assert len(jax.tree.leaves(state)) == 2  # one mask and the step


@pytest.mark.parametrize("regrow, expected", [(True, 1), (False, 0)])
def test_regrowth_needs_one_step_past_the_threshold(regrow, expected):
    moves = kernel_updates({}, {(0, 2): 0.02}, {(0, 2): 0.06}, {})
    trace = run(bopt.prune(0.05, regrow=regrow), moves)
    assert [kept(state)[0][2] for _, state in trace] == [0, 0, expected, expected]
    assert trace[-1][0]["kernel"][0, 2] == pytest.approx(0.06 * expected)


def test_without_regrowth_masks_only_shrink_and_kept_entries_move_on():
    moves = kernel_updates({(0, 0): -0.48}, {(0, 0): 0.4, (1, 1): 0.2})
    first, second = run(bopt.prune(0.05, regrow=False), moves)
    assert kept(first[1]) == kept(second[1]) == [[0, 0, 0], [0, 1, 1]]
    assert second[0]["kernel"][1, 1] == pytest.approx(-0.3)


def test_every_start_and_stop():
    """Pruning steps are 2, 5 and 8, counted from 0; in between the mask is held."""
    optimizer = bopt.prune(0.05, start=2, every=3, stop=9)
    # Entry (1, 2) comes down by 0.1 at step 3: under the threshold, it waits for 5.
    # Entry (0, 2) gets 0.2 at every step: held at 0 until 5, it comes back then.
    moves = [{(0, 2): 0.2} for _ in range(13)]
    moves[3][(1, 2)] = -0.28
    moves[10][(1, 1)] = 0.5
    trace = run(optimizer, kernel_updates(*moves), compiled=True)
    masks = [kept(state) for _, state in trace]
    start = [[1, 1, 1], [1, 1, 1]]
    at_2, at_5 = [[1, 0, 1], [0, 1, 1]], [[1, 0, 1], [0, 1, 0]]
    assert masks == [start] * 2 + [at_2] * 3 + [at_5] * 8
    assert [int(state.step) for _, state in trace] == list(range(1, 14))
    values = [float(params["kernel"][1, 2]) for params, _ in trace]
    np.testing.assert_allclose(values[2:5], [0.3, 0.02, 0.02], atol=1e-6)
    assert values[5:] == [0.0] * 8
    assert trace[9][0]["kernel"][1, 1] == pytest.approx(-0.5)
    assert trace[-1][0]["kernel"][1, 1] == pytest.approx(0)  # stopped: not pruned
    assert kept(trace[-1][1])[1][1] == 1


def test_a_held_entry_is_zero_at_every_step():
    optimizer = bopt.prune(0.05, every=4)
    trace = run(optimizer, kernel_updates(*[{(0, 2): 0.3}] * 6), compiled=True)
    assert [float(params["kernel"][0, 2]) for params, _ in trace] == pytest.approx(
        [0.3, 0.6, 0.9, 1.2, 1.5, 1.8]
    )
    trace = run(optimizer, kernel_updates({}, *[{(0, 2): 0.3}] * 5), compiled=True)
    expected = [0, 0, 0, 0, 0.3, 0.6]
    assert [float(params["kernel"][0, 2]) for params, _ in trace] == pytest.approx(
        expected
    )


def test_after_stop_the_last_mask_is_held():
    moves = kernel_updates(*[{}, {(0, 2): 1.0}] * 3)
    trace = run(bopt.prune(0.05, stop=1), moves, compiled=True)
    assert all(kept(state) == [[1, 0, 0], [0, 1, 1]] for _, state in trace)
    assert trace[-1][0]["kernel"][0, 2] == 0


def test_before_start_nothing_happens():
    moves = kernel_updates({}, {(0, 1): 0.019})
    trace = run(bopt.prune(0.05, start=10), moves, compiled=True)
    assert all(state.mask["kernel"].all() for _, state in trace)
    assert trace[-1][0]["kernel"][0, 1] == pytest.approx(-0.001)


def test_threshold_may_be_a_schedule():
    schedule = optax.piecewise_constant_schedule(0.001, {1: 10, 2: 10})
    trace = run(bopt.prune(schedule), kernel_updates({}, {}, {}))
    assert [sum(map(sum, kept(state))) for _, state in trace] == [5, 4, 3]


@pytest.mark.parametrize("where", ["params", "updates"])
def test_nan_is_kept_and_seen(where):
    nan = PARAMS | {"kernel": PARAMS["kernel"].at[0, 2].set(jnp.nan)}
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    params, update = (nan, zeros) if where == "params" else (PARAMS, nan)
    ((new, state),) = run(bopt.prune(0.1), [update], params)
    assert kept(state)[0][2] == 1
    assert jnp.isnan(new["kernel"][0, 2])
    assert jnp.isnan(new["kernel"]).sum() == 1


def test_nan_brings_a_pruned_entry_back_into_sight():
    moves = kernel_updates({}, {(0, 2): jnp.nan})
    (_, first), (params, second) = run(bopt.prune(0.1), moves)
    assert (kept(first)[0][2], kept(second)[0][2]) == (0, 1)
    assert jnp.isnan(params["kernel"][0, 2])


def test_mask_is_idempotent():
    """Without a move, nothing changes."""
    moves = kernel_updates({(0, 0): -0.45}, {(1, 1): 0.45}, {})
    *_, (before, old), (after, new) = run(bopt.prune(0.1), moves)
    assert not old.mask["kernel"].all()
    jax.tree.map(np.testing.assert_array_equal, new.mask, old.mask)
    jax.tree.map(np.testing.assert_array_equal, after, before)


def test_initial_mask_keeps_everything():
    state = bopt.prune(where="*").init(PARAMS)
    assert all(leaf.all() for leaf in jax.tree.leaves(state.mask))
    assert jax.tree.structure(state.mask) == jax.tree.structure(PARAMS)
    assert state.step == 0


@pytest.mark.parametrize("pruning", [bopt.prune, functools.partial(bopt.prune_to, 0.0)])
@pytest.mark.parametrize("every", [1, 3])
def test_zeros_of_a_pruned_network_are_kept(pruning, every):
    """A new optimizer trains it on; without keep_zeros they come back."""
    params = {"w": jnp.array([[1.0, 0.0, -0.0, jnp.nan]]), "bias": jnp.zeros(2)}
    for keep_zeros in (True, False):
        optimizer = optax.chain(
            optax.sgd(1.0), pruning(keep_zeros=keep_zeros, every=every, start=1)
        )
        new, state = params, optimizer.init(params)
        expected = [[True, not keep_zeros, not keep_zeros, True]]
        assert optax.tree.get(state, "PruneState").mask["w"].tolist() == expected
        for _ in range(3):
            updates = jax.tree.map(jnp.ones_like, params)
            updates, state = optimizer.update(updates, state, new)
            new = optax.apply_updates(new, updates)
        assert (new["w"] != 0).tolist() == expected
        assert optax.tree.get(state, "PruneState").mask["w"].tolist() == expected
        assert new["bias"].all()  # not selected: trained from 0


def test_strict_promotion():
    for dtype in (jnp.float32, jnp.bfloat16):
        params = problems.parameters(dtype)
        optimizer = bopt.prune(0.5)
        with jax.numpy_dtype_promotion("strict"):
            jax.eval_shape(optimizer.update, params, optimizer.init(params), params)


def update_with(optimizer, updates, params=PARAMS):
    return jax.eval_shape(optimizer.update, updates, optimizer.init(PARAMS), params)


def shaped(name, shape):
    return PARAMS | {name: jnp.ones(shape)}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bopt.prune(-0.1), "threshold=-0.1; expected at least 0"),
        (lambda: bopt.prune(float("nan")), "threshold=nan; expected at least 0"),
        (lambda: bopt.prune(every=0), "every=0; expected at least 1 step"),
        (lambda: bopt.prune(start=-1), "start=-1; expected at least 0"),
        (lambda: bopt.prune(start=5, stop=5), "stop=5 with start=5; expected stop > "),
        (lambda: bopt.prune(where=3).init(PARAMS), "where=3 matches none of the 2"),
        (
            lambda: update_with(bopt.prune(), PARAMS, None),
            r"from the parameters: call update\(updates, state, params\)",
        ),
        (
            lambda: update_with(bopt.prune(), shaped("kernel", (3, 2))),
            r"shape \(3, 2\) at 'kernel'; expected \(2, 3\).*prune goes last",
        ),
        (
            lambda: update_with(bopt.prune(), shaped("kernel", (2, 2, 3))),
            r"\(2, 2, 3\) at 'kernel'.*a jacobian: put bopt.smgd\(\) first",
        ),
        # Cause: only selected leaves were checked; a row axis on another leaf
        # broadcast into the parameters.
        (
            lambda: update_with(bopt.prune(), shaped("bias", (2, 3))),
            r"\(2, 3\) at 'bias'; expected \(3,\).*a jacobian: put bopt.smgd\(\) first",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
