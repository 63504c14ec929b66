"""Pruning of units: budgets, multiples, order, schedules; and the group lasso."""

# Optax's unions of types know no state's fields.
# pyright: reportAttributeAccessIssue=false

import functools
import itertools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bopt
from bopt.units import Layer, Slice

SIZES = (5, 16, 9, 3)  # 16 and 9 hidden units


def parameters(seed=0, sizes=SIZES):
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(sizes))
    params = {f"w{n}": rng.normal(size=size) for n, size in enumerate(pairs)}
    params |= {f"b{n}": rng.normal(size=size[1]) for n, size in enumerate(pairs)}
    return jax.tree.map(jnp.float32, params)


def layers(sizes=SIZES):
    return [
        Layer(
            f"{n}", number, (Slice(f"w{n}"), Slice(f"b{n}")), (Slice(f"w{n + 1}", -2),)
        )
        for n, number in enumerate(sizes[1:-1])
    ]


UNITS = bopt.units.describe(parameters(), layers())
FULL = 5 * 16 + 16 * 9 + 9 * 3


def apply(params, x):
    for n in range(3):
        x = x @ params[f"w{n}"] + params[f"b{n}"][None]
        x = jax.nn.relu(x) if n < 2 else x
    return x


def loss(params, x):
    return jnp.mean((apply(params, x) - jnp.sin(x[:, :3])) ** 2)


def batch(seed=1):
    return jnp.float32(np.random.default_rng(seed).normal(size=(32, 5)))


def history(optimizer, params, number):
    """Parameters and states after each of some steps, compiled as one program."""

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            gradients = jax.grad(loss)(params, batch())
            updates, state = optimizer.update(gradients, state, params)
            carry = optax.apply_updates(params, updates), state
            return carry, carry

        carry = params, optimizer.init(params)
        return jax.lax.scan(step, carry, length=number)[1]

    return jax.device_get(run(params))


def steps(optimizer, params, number):
    """Parameters and state after some steps."""
    return jax.tree.map(lambda leaf: leaf[-1], history(optimizer, params, number))


kept = jax.jit(UNITS.kept)


def numbers(params):
    return [int(own.sum()) for own in kept(params)]


def pruned(budget, **options):
    options = {"units": UNITS, "optimizer": optax.sgd(0.01)} | options
    return bopt.prune_units(budget, **options)


@pytest.mark.parametrize("multiple_of", [1, 4])
def test_the_budget_is_met_and_used(multiple_of):
    """The budget may be traced: one program for all."""

    @jax.jit
    def run(budget):
        optimizer = pruned(budget, multiple_of=multiple_of)
        params = parameters()
        gradients = jax.grad(loss)(params, batch())
        updates, state = optimizer.update(gradients, optimizer.init(params), params)
        return optax.apply_updates(params, updates), state.mask

    least = (5 * multiple_of + multiple_of**2 + multiple_of * 3) / FULL
    for budget in (1.0, 0.9, 0.5, 0.25, least):
        params, masks = run(budget)
        found = numbers(params)
        cost = 5 * found[0] + found[0] * found[1] + found[1] * 3
        assert cost <= budget * FULL * (1 + 1e-6)
        assert found[0] % multiple_of == 0
        assert found[1] % multiple_of == 0 or found[1] == 9
        assert min(found) >= multiple_of
        # One step more of either layer is too much.
        for step in np.eye(2) * multiple_of:
            more = np.minimum(np.add(found, step), (16, 9))
            cost = 5 * more[0] + more[0] * more[1] + more[1] * 3
            assert cost > budget * FULL or tuple(more) == tuple(found)
        # All entries of a unit, and no others, are 0.
        assert masks.pop("b2") == optax.MaskedNode()
        for path, mask in masks.items():
            np.testing.assert_array_equal(params[path] != 0, mask)
    assert found == [multiple_of, multiple_of]


def reference(params, costs, limit):
    """Kept units by hand: those of most squared derivative per cost, if they fit."""
    factors = [jnp.ones(16), jnp.ones(9)]

    def scaled(factors):
        scale = {f"w{n + 1}": own[:, None] for n, own in enumerate(factors)}
        return loss({k: p * scale.get(k, 1) for k, p in params.items()}, batch())

    with jax.numpy_rank_promotion("allow"):
        derivatives = jax.jit(jax.grad(scaled))(factors)
    order = sorted(
        (float(value) ** 2 / costs[layer], layer, unit)
        for layer, own in enumerate(derivatives)
        for unit, value in enumerate(own)
    )
    left = [np.zeros(16, bool), np.zeros(9, bool)]
    for _, layer, unit in reversed(order):
        left[layer][unit] = True
        counted = (max(own.sum(), 1) for own in left)  # each layer keeps one
        if sum(map(operator.mul, costs, counted)) > limit:
            left[layer][unit] = False
    return left


def test_units_are_kept_by_squared_derivative_per_cost():
    """With respect to a factor of their output; those of ReLU by their inputs, too."""
    params, costs = parameters(3), (30.0, 1.0)
    cost = lambda n: costs[0] * n[0] + costs[1] * n[1]  # noqa: E731
    _, state = steps(pruned(0.5, decay=0.0, cost=cost), params, 1)
    expected = reference(params, costs, 0.5 * cost((16, 9)))
    for n, own in enumerate(expected):
        np.testing.assert_array_equal(state.mask[f"b{n}"], own)
    gradients = jax.jit(jax.grad(loss))(params, batch())
    products = {k: np.asarray(gradients[k] * params[k]) for k in params}
    np.testing.assert_allclose(
        state.score[0], (products["w0"].sum(0) + products["b0"]) ** 2, rtol=1e-3
    )
    np.testing.assert_allclose(state.score[0], products["w1"].sum(1) ** 2, rtol=1e-3)


def test_a_measured_cost_decides_between_layers():
    """Also one with plateaus. Layers narrower than a multiple keep any number."""

    def latency(numbers):
        return jnp.ceil(numbers[0] / 10) + 0.0 * numbers[1]

    optimizer = pruned(0.6, cost=latency, multiple_of=10)
    assert numbers(steps(optimizer, parameters(), 1)[0])[0] == 10


@pytest.mark.slow
def test_a_schedule_removes_more_and_nothing_comes_back():
    schedule = optax.polynomial_schedule(1.0, 0.2, 3, 12)
    optimizer = pruned(schedule, optimizer=optax.adam(0.05), every=3)
    params, state = history(optimizer, parameters(), 16)
    for path in ("w0", "w1", "w2"):
        mask = state.mask[path]
        assert not np.any(mask[1:] & ~mask[:-1])
        assert not np.any(params[path][~mask])
    masks = [jax.tree.map(lambda own, t=t: own[t], state.mask) for t in range(16)]
    costs = [float(UNITS.multiply_adds(numbers(mask))) / FULL for mask in masks]
    assert costs[0] == costs[2] == 1 > costs[3] == costs[5] > costs[6] > costs[9]
    assert costs[-1] <= 0.2 < costs[-1] + 0.15


def test_the_last_mask_is_held_and_start_waits():
    optimizer = pruned(0.5, start=2, stop=3)
    masks = history(optimizer, parameters(), 6)[1].mask
    found = [numbers(jax.tree.map(lambda own, t=t: own[t], masks)) for t in range(6)]
    assert found[1] == [16, 9] != found[2] == found[5]


def test_nan_stays_visible():
    """A unit whose gradient is NaN is kept."""
    optimizer, params = pruned(0.1), parameters()
    gradients = jax.tree.map(jnp.ones_like, params)
    gradients["w1"] = gradients["w1"].at[4].set(jnp.nan)
    updates, _ = jax.jit(optimizer.update)(gradients, optimizer.init(params), params)
    assert np.isnan(params["w1"] + updates["w1"])[4].any()


@pytest.mark.slow
def test_row_0_of_a_jacobian_counts_and_networks_at_once_have_their_own_masks():
    optimizer = pruned(0.4, optimizer=bopt.madam(0.01), decay=0.0)

    def update(params):
        rows = jax.grad(loss)(params, batch())
        jac = jax.tree.map(lambda own: jnp.stack([own, jnp.ones_like(own)]), rows)
        state = optimizer.update(jac, optimizer.init(params), params)[1]
        products = jnp.sum(params["w1"] * rows["w1"], 1)
        return state.mask, state.score[0], products**2

    both = jax.tree.map(lambda *own: jnp.stack(own), parameters(0), parameters(1))
    masks, scores, expected = jax.jit(jax.vmap(update))(both)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    for seed in (0, 1):
        mask, *_ = jax.jit(update)(parameters(seed))
        np.testing.assert_array_equal(masks["w1"][seed], mask["w1"])
    assert (masks["w1"][0] != masks["w1"][1]).any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"budget": -0.1}, "budget=-0.1; expected at least 0"),
        ({"budget": 1.1}, "budget=1.1; expected from 0.0359, .* to 1"),
        ({"budget": 0.03}, r"budget=0.03; expected from 0.0359, .*\[1, 1\] units"),
        ({"budget": 0.5, "multiple_of": 0}, "multiple_of=0; expected from 1"),
        ({"budget": 0.5, "every": 0}, "every=0; expected at least 1"),
        ({"budget": 0.5, "optimizer": None}, "expected the optimizer: prune_units"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"prune_units .*{message}"):
        pruned(**arguments)


def test_other_parameters_are_named():
    params = parameters(sizes=(5, 16, 8, 3))
    message = r"'b1' of shape \(8,\); expected \(9,\), as in units"
    with pytest.raises(ValueError, match=f"prune_units got {message}"):
        pruned(0.5).init(params)
    with pytest.raises(ValueError, match=f"group_lasso got {message}"):
        bopt.group_lasso(params, units=UNITS)


def test_the_group_lasso_is_that_of_its_formula():
    params = parameters()
    groups = [
        np.concatenate(
            [params[f"w{n}"][:, u], params[f"b{n}"][u : u + 1], params[f"w{n + 1}"][u]]
        )
        for n in (0, 1)
        for u in range(SIZES[n + 1])
    ]
    expected = sum(np.sqrt(len(g)) * np.linalg.norm(g) for g in groups)
    penalty = functools.partial(bopt.group_lasso, units=UNITS)
    np.testing.assert_allclose(jax.jit(penalty)(params), expected, rtol=1e-5)


def test_the_group_lasso_at_a_unit_of_zeros_and_with_nan():
    params = parameters()
    params |= {"w0": params["w0"].at[:, 2].set(0), "b0": params["b0"].at[2].set(0)}
    params["w1"] = params["w1"].at[2].set(0)
    slope = jax.jit(jax.grad(lambda params: bopt.group_lasso(params, units=UNITS)))
    gradients = slope(params)
    assert not np.any(gradients["w0"][:, 2]) and gradients["b0"][2] == 0
    assert np.isfinite(gradients["w1"]).all()
    gradients = slope(params | {"b0": params["b0"].at[2].set(jnp.nan)})
    assert np.isnan(gradients["b0"][2])


def test_the_group_lasso_is_summed_in_the_wider_precision():
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.float64, parameters())
        penalty = functools.partial(bopt.group_lasso, units=UNITS)
        assert jax.eval_shape(penalty, params).dtype == jnp.float64
        params = jax.tree.map(jnp.bfloat16, params)
        assert jax.eval_shape(penalty, params).dtype == jnp.float32
