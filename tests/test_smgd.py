"""smgd: a jacobian in, a direction out; its gram, its state and its errors."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest
import samplers

import bopt

PARAMS = problems.parameters()


@functools.cache
def plain(m):
    """One optimizer for all tests, compiled once."""
    return bopt.smgd(num_objectives=m)


def direction_and_weights(optimizer, jac, params=PARAMS, **extra):
    state = optimizer.init(params)
    direction, state = jax.jit(optimizer.update)(jac, state, params, **extra)
    return direction, state.weights


@pytest.mark.parametrize("m", [1, 2, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_direction_is_the_point_of_least_norm_of_the_whole_tree(m):
    jac = problems.jacobian(PARAMS, m)
    rows = problems.flat(jac)
    direction, weights = direction_and_weights(plain(m), jac)
    np.testing.assert_allclose(
        weights, samplers.exact_weights(rows @ rows.T), rtol=1e-4, atol=1e-6
    )
    assert jax.tree.map(jnp.shape, direction) == jax.tree.map(jnp.shape, PARAMS)
    ours = problems.flat(jax.tree.map(lambda leaf: leaf[None], direction))[0]
    np.testing.assert_allclose(ours, weights @ rows, rtol=1e-4, atol=1e-5)


def test_the_weighting_sees_gram_and_values():
    seen = {}

    def weighting(gram, values):
        seen.update(gram=gram, values=values)
        return jnp.array([0.25, 2.0])

    jac, values = problems.jacobian(PARAMS), jnp.array([3.0, 4.0])
    optimizer = bopt.smgd(weighting)
    direction, state = optimizer.update(jac, optimizer.init(PARAMS), values=values)
    rows = problems.flat(jac)
    np.testing.assert_allclose(seen["gram"], rows @ rows.T, rtol=1e-5)
    np.testing.assert_array_equal(seen["values"], values)
    np.testing.assert_array_equal(state.weights, [0.25, 2.0])
    expected = 0.25 * jac["conv"][0] + 2 * jac["conv"][1]
    np.testing.assert_allclose(direction["conv"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "normalize",
    [*(pytest.param(n, marks=pytest.mark.slow) for n in ("l2", "loss")), "loss+"],
)
def test_a_normalization_never_scales_the_rows_themselves(normalize):
    """The direction is weights @ rows, with weights that sum to 1."""
    jac = problems.jacobian(PARAMS)
    direction, weights = direction_and_weights(
        bopt.smgd(bopt.min_norm(normalize)), jac, values=jnp.array([0.1, 50.0])
    )
    ours = problems.flat(jax.tree.map(lambda leaf: leaf[None], direction))[0]
    np.testing.assert_allclose(ours, weights @ problems.flat(jac), atol=1e-5)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)


@pytest.mark.slow
def test_bfloat16_gram_is_summed_in_float32():
    # Summed in bfloat16 the gram of 10,000 ones would stop growing at 256.
    params = {"w": jnp.zeros((100, 100), jnp.bfloat16)}
    seen = []

    def weighting(gram, values):
        seen.append(gram)
        return jnp.ones(2)

    optimizer = bopt.smgd(weighting)
    jac = {"w": jnp.ones((2, 100, 100), jnp.bfloat16)}
    direction, state = optimizer.update(jac, optimizer.init(params), params)
    np.testing.assert_array_equal(seen[0], np.full((2, 2), 10_000, np.float32))
    assert direction["w"].dtype == jnp.bfloat16
    assert state.weights.dtype == jnp.float32


def test_inner_products_ask_for_full_precision():
    # Cause: accelerators' default (TF32, bfloat16) is too coarse for weights of 1e-5.
    optimizer = bopt.smgd()
    jac = problems.jacobian(PARAMS)
    jaxpr = str(jax.make_jaxpr(optimizer.update)(jac, optimizer.init(PARAMS)))
    products = jaxpr.count("dot_general")
    assert jaxpr.count("(Precision.HIGHEST, Precision.HIGHEST)") >= products


def test_jacobian_is_not_concatenated():
    optimizer = bopt.smgd()
    jac = problems.jacobian(PARAMS)
    jaxpr = jax.make_jaxpr(optimizer.update)(jac, optimizer.init(PARAMS))
    largest = max(leaf.size for leaf in jax.tree.leaves(PARAMS))
    joined = [e for e in jaxpr.jaxpr.eqns if e.primitive.name == "concatenate"]
    assert all(equation.outvars[0].aval.size < largest for equation in joined)


@pytest.mark.parametrize("weigh_by", ["gradients", "directions"])
def test_preconditioner_keeps_one_state_per_objective(weigh_by):
    inner = optax.scale_by_adam()
    optimizer = bopt.smgd(preconditioner=inner, weigh_by=weigh_by)
    state = optimizer.init(PARAMS)
    own = state.preconditioner
    assert jax.tree.structure(own) == jax.tree.structure(inner.init(PARAMS))
    jac = problems.jacobian(PARAMS)
    direction, state = jax.jit(optimizer.update)(jac, state, PARAMS)
    rows = []
    for i in range(2):
        row, expected = jax.jit(inner.update)(problems.row(jac, i), inner.init(PARAMS))
        rows.append(row)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
            problems.row(state.preconditioner, i),
            expected,
        )
    applied = problems.flat(jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows))
    weighed = problems.flat(jac) if weigh_by == "gradients" else applied
    weights = samplers.exact_weights(weighed @ weighed.T)
    np.testing.assert_allclose(state.weights, weights, rtol=1e-4, atol=1e-6)
    ours = problems.flat(jax.tree.map(lambda leaf: leaf[None], direction))[0]
    np.testing.assert_allclose(ours, weights @ applied, rtol=1e-3, atol=1e-4)


def test_extra_arguments_reach_the_preconditioner():
    def update(updates, state, params=None, *, gain, **extra):
        del params, extra
        return jax.tree.map(lambda leaf: gain * leaf, updates), state

    gained = optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update
    )
    optimizer = bopt.smgd(bopt.fixed([1.0, 1.0]), preconditioner=gained)
    jac = problems.jacobian(PARAMS)
    once, _ = direction_and_weights(optimizer, jac, gain=1.0)
    thrice, _ = direction_and_weights(optimizer, jac, gain=3.0)
    np.testing.assert_allclose(thrice["conv"], 3 * once["conv"], rtol=1e-6)


@pytest.mark.parametrize("m", [2, 3])
def test_a_common_factor_does_not_change_the_weights(m):
    # Cause: squares of 1e-20 vanish in float32, and those of 1e20 overflow.
    jac = problems.jacobian(PARAMS, m)
    _, expected = direction_and_weights(plain(m), jac)
    for scale in (1e-30, 1e-20, 1e20, 1e30):
        scaled = jax.tree.map(lambda leaf, s=scale: s * leaf, jac)
        direction, weights = direction_and_weights(plain(m), scaled)
        np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-6)
        assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(direction))


def test_nearly_parallel_rows_give_all_weight_to_the_shorter():
    # Cause: the closed form's denominator vanished by rounding, as for equal rows.
    row = jnp.linspace(1.0, 2.0, 8)
    params = {"w": row}
    for factor, expected in ((1.0001, [0, 1]), (0.9999, [1, 0]), (1.0, [1, 0])):
        jac = {"w": jnp.stack([factor * row, row])}
        _, weights = direction_and_weights(plain(2), jac, params)
        np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_where_restricts_the_gram_and_not_the_direction():
    jac = problems.jacobian(PARAMS)
    direction, weights = direction_and_weights(bopt.smgd(where=2), jac)
    rows = problems.flat({"kernel": jac["dense"]["kernel"]})
    expected = samplers.exact_weights(rows @ rows.T)
    np.testing.assert_allclose(weights, expected, rtol=1e-4)
    conv = np.tensordot(weights, jac["conv"], 1)
    np.testing.assert_allclose(direction["conv"], conv, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="matches none of the 3 leaves"):
        direction_and_weights(bopt.smgd(where=3), jac)


def test_freezing_keeps_shapes_and_values():
    """A small frozen entry is not pruned, and has no share in the weights."""
    params = {"a": jnp.ones((2, 2)), "b": jnp.full((2, 2), 1e-4)}
    trained = {"a": True, "b": False}
    groups = {"trained": optax.adam(1e-2), "frozen": optax.set_to_zero()}
    labels = {"a": "trained", "b": "frozen"}
    optimizer = optax.chain(
        bopt.smgd(where=trained),
        optax.partition(groups, labels),
        bopt.prune(where=trained),
    )
    jac = problems.jacobian(params)
    updates, state = jax.jit(optimizer.update)(jac, optimizer.init(params), params)
    new = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(new["b"], params["b"])
    assert new["a"].shape == (2, 2) and (new["a"] != 1).all()
    _, alone = direction_and_weights(plain(2), {"a": jac["a"]}, {"a": params["a"]})
    weights = optax.tree.get(state, "SmgdState").weights
    np.testing.assert_allclose(weights, alone, rtol=1e-6)


def test_a_weighting_keeps_its_state():
    def update(gram, values, total):
        return jnp.ones(2), total + gram

    optimizer = bopt.smgd(bopt.Weighting(lambda m: jnp.zeros((m, m)), update))
    jac, state = problems.jacobian(PARAMS), optimizer.init(PARAMS)
    for _ in range(2):
        _, state = jax.jit(optimizer.update)(jac, state)
    rows = problems.flat(jac)
    np.testing.assert_allclose(state.weighting, 2 * rows @ rows.T, rtol=1e-5)


@pytest.mark.slow
def test_the_program_does_not_grow_with_the_number_of_objectives():
    def size(m):
        optimizer = bopt.madam(0.1, num_objectives=m)
        state = jax.eval_shape(optimizer.init, PARAMS)
        jac = problems.jacobian(PARAMS, m)
        return len(str(jax.make_jaxpr(optimizer.update)(jac, state)))

    assert size(64) < 1.5 * size(5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("m", [2, 3])
def test_non_finite_gradients_are_not_silenced(m, bad):
    jac = problems.jacobian(PARAMS, m)
    jac["conv"] = jac["conv"].at[m - 1, 0, 0, 0, 0].set(bad)
    direction, weights = direction_and_weights(plain(m), jac)
    assert not jnp.isfinite(weights).all()
    assert jnp.isnan(direction["dense"]["bias"]).all()


def test_weights_before_the_first_step():
    state = bopt.smgd(num_objectives=4).init(PARAMS)
    np.testing.assert_array_equal(state.weights, [0.25] * 4)
    assert state.weighting == state.preconditioner == ()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_strict_promotion(dtype):
    params, optimizer = problems.parameters(dtype), bopt.smgd()
    jac, state = problems.jacobian(params), optimizer.init(params)
    with jax.numpy_dtype_promotion("strict"):
        direction, _ = jax.eval_shape(optimizer.update, jac, state, params)
        assert direction["conv"].dtype == dtype


def test_a_tree_without_leaves():
    optimizer = bopt.smgd()
    direction, state = optimizer.update({}, optimizer.init({}), {})
    assert direction == {}
    assert jnp.isfinite(state.weights).all()


def test_numpy_parameters_of_64_bits():
    # Cause: float64 was requested of jax without x64, which warns and truncates.
    params = {"w": np.ones((2, 3))}
    optimizer = bopt.smgd()
    jac = {"w": jnp.stack([jnp.ones((2, 3)), -jnp.ones((2, 3))])}
    direction, state = optimizer.update(jac, optimizer.init(params), params)
    assert state.weights.dtype == jnp.float32
    np.testing.assert_array_equal(direction["w"], np.zeros((2, 3)))


def shaped(shape):
    return PARAMS | {"conv": jnp.ones(shape)}


@pytest.mark.parametrize(
    "jac, params, message",
    [
        (
            PARAMS,
            PARAMS,
            r"shape \(2, 2, 1, 2\) at 'conv'; expected \(2, 2, 2, 1, 2\), one row for "
            "each of 2 objectives: this is a gradient, not a jacobian.*smgd first",
        ),
        (
            problems.jacobian(PARAMS, 3),
            PARAMS,
            r"\(3, 2, 2, 1, 2\) at 'conv'; expected .*pass num_objectives=3",
        ),
        (
            problems.jacobian(PARAMS, 3),
            None,
            r"\(3, 2, 2, 1, 2\) at 'conv'; expected \(2, \.\.\.\), one row for",
        ),
        (
            problems.jacobian(shaped((2, 9))),
            PARAMS,
            r"\(2, 2, 9\) at 'conv'; expected \(2, 2, 2, 1, 2\).*bopt.value_and_jac",
        ),
        (
            PARAMS | {"conv": jnp.ones(())},
            None,
            r"shape \(\) at 'conv'; expected \(2, \.\.\.\)",
        ),
        (
            {"dense": problems.jacobian(PARAMS)["dense"]},
            PARAMS,
            r"smgd got updates without 'conv'; expected one for each of the 3 param",
        ),
        (
            problems.jacobian(PARAMS | {"more": jnp.ones(2)}),
            PARAMS,
            r"smgd got updates with 'more', which is no parameter",
        ),
    ],
)
def test_wrong_jacobians_are_named(jac, params, message):
    optimizer = bopt.smgd()
    with pytest.raises(ValueError, match=message):
        jax.jit(optimizer.update)(jac, optimizer.init(PARAMS), params)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: bopt.smgd(weigh_by="rows"),  # pyright: ignore[reportArgumentType]
            "weigh_by='rows'; expected 'gradients' or 'directions'",
        ),
        (lambda: bopt.smgd(0.1), "weighting=0.1; expected a weighting such as"),
        (lambda: bopt.smgd("l2"), "weighting='l2'; expected a weighting such as"),
        (lambda: bopt.smgd(bopt.min_norm), "min_norm .*; expected a weighting such"),
        (lambda: bopt.smgd(preconditioner=0.1), r"preconditioner=0.1; expected a tr"),
        (
            lambda: bopt.smgd(num_objectives=jnp.array(2)),
            "inject_hyperparams, name 'num_objectives' in static_args",
        ),
        (lambda: bopt.smgd(num_objectives=0), "num_objectives=0; expected at least 1"),
        (
            lambda: direction_and_weights(
                bopt.smgd(lambda gram, values: gram), problems.jacobian(PARAMS)
            ),
            r"weighting returned weights of shape \(2, 2\); expected \(2,\)",
        ),
        (
            lambda: direction_and_weights(
                bopt.smgd(bopt.Weighting(lambda m: (), lambda g, v, s: g[0])),
                problems.jacobian(PARAMS),
            ),
            r"update returned \w+; expected \(weights, state\)",
        ),
        (
            lambda: bopt.smgd(bopt.Weighting(None, max)),  # type: ignore
            "a Weighting whose init is None; expected a function",
        ),
        (
            lambda: direction_and_weights(
                bopt.smgd(bopt.fixed([1, 1, 1])), problems.jacobian(PARAMS)
            ),
            "3 weights for 2 objectives",
        ),
        (
            lambda: direction_and_weights(
                bopt.smgd(bopt.min_norm("loss")), problems.jacobian(PARAMS)
            ),
            "needs the objective values: call update",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_function_without_a_signature_may_be_a_weighting():
    assert isinstance(bopt.smgd(max), optax.GradientTransformationExtraArgs)


def test_rows_divided_over_an_explicit_mesh():
    """Types of sharding are checked, even on one device; numbers in test_meshes."""
    mesh = jax.make_mesh((1,), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.P(None, "data"))
    params = {"kernel": jnp.ones((4, 3))}
    jac = {"kernel": jax.device_put(jnp.ones((2, 4, 3)), sharding)}
    optimizer = bopt.smgd()
    state = optimizer.init(params)
    direction, state = jax.jit(optimizer.update)(jac, state, params)
    np.testing.assert_allclose(direction["kernel"], 1, rtol=1e-6)
    np.testing.assert_allclose(state.weights.sum(), 1, rtol=1e-6)
