"""Every public weighting: the contract of a weighting, scales, degenerate gradients.

A weighting that is missing from the table `contracts.WEIGHTINGS` fails the suite.
"""

# Wrong arguments are given on purpose:
# pyright: reportArgumentType=false

import inspect

import contracts
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samplers
from contracts import WEIGHTINGS
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from weighing import deviation, directions, grams_of, named, weigh

import bopt

VALUES = ("famo", "tchebycheff")  # those of the table that need values
NO_GRAM = ("famo", "fixed", "tchebycheff")  # and do not read the gram matrix
POWERS = {"fairgrad": -4 / 3, "nash": -1.0}  # of a common factor; for the others 0
family = pytest.mark.parametrize("name", WEIGHTINGS)
counts = pytest.mark.parametrize(
    "m",
    [3, *(pytest.param(m, marks=pytest.mark.slow) for m in (1, 2, 5, 16, 64))],
)


def jacobians(m: int, sampler=samplers.normal, repeats: int = 8, columns: int = 80):
    """(N, m, n) jacobians, half of them with rows of norms 1 to 1e3."""
    rng = np.random.default_rng(m)
    found = [sampler(rng, m) for _ in range(repeats)]
    if sampler is samplers.normal:
        found = [rng.standard_normal((m, columns)) for _ in range(repeats)]
    rescaled = [samplers.rescale_rows(rng, jac) for jac in found[::2]]
    return np.stack([*found[1::2], *rescaled])


# The table


def factories() -> set[str]:
    return {
        name
        for name in bopt.__all__
        if inspect.isfunction(function := getattr(bopt, name))
        and inspect.signature(function).return_annotation in (bopt.Weighting,)
    }


def test_every_public_weighting_is_in_the_table():
    assert factories() == WEIGHTINGS.keys()
    used = {name.removeprefix("smgd, ") for name in contracts.TRANSFORMS}
    assert WEIGHTINGS.keys() - used == {"min_norm"}  # "smgd", the default


def test_a_weighting_missing_from_the_table_would_fail(monkeypatch):
    def newcomer() -> bopt.Weighting: ...

    monkeypatch.setattr(bopt, "newcomer", newcomer, raising=False)
    monkeypatch.setattr(bopt, "__all__", [*bopt.__all__, "newcomer"])
    with pytest.raises(AssertionError):
        test_every_public_weighting_is_in_the_table()


# On abstract values


@pytest.mark.parametrize(
    "dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)]
)
@family
def test_a_scan_carries_the_state(name, dtype):
    """Under strict promotion, with x64 also for float32 gradients."""
    promotion = "standard" if name == "famo" else "strict"  # optax.adam raises under it
    with jax.enable_x64(True), jax.numpy_dtype_promotion(promotion):
        for m in (1, 64):
            weighting = WEIGHTINGS[name](m)

            def step(state, gram, weighting=weighting, m=m):
                weights, state = weighting.update(gram, jnp.ones(m, dtype), state)
                return state, weights

            grams = jax.ShapeDtypeStruct((5, m, m), dtype)
            start = jax.eval_shape(lambda m=m, w=weighting: w.init(m))
            state, weights = jax.eval_shape(
                lambda state, grams, step=step: jax.lax.scan(step, state, grams),
                start,
                grams,
            )
            assert state == start
            assert (weights.shape, weights.dtype) == ((5, m), dtype)


@family
def test_gram_matrices_that_vary_over_a_mesh(name):
    """One per device, as in `jax.shard_map` over batches: loops carry them."""
    m, mesh = 3, jax.make_mesh((1,), ("data",), (AxisType.Auto,))
    weighting = WEIGHTINGS[name](m)

    def local(gram, values):
        return weighting.update(gram[0], values[0], weighting.init(m))[0][None]

    sharded = jax.shard_map(local, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    weights = jax.eval_shape(sharded, jnp.ones((1, m, m)), jnp.ones((1, m)))
    assert weights.shape == (1, m)


@pytest.mark.parametrize("name", VALUES)
def test_missing_values_are_named(name):
    weighting = WEIGHTINGS[name](2)
    message = r"update\(jac, state, params, values=values\)"
    with pytest.raises(ValueError, match=message):
        weighting.update(jnp.eye(2), None, weighting.init(2))
    with pytest.raises(ValueError, match=r"values of shape \(3,\); expected \(2,\)"):
        weighting.update(jnp.eye(2), jnp.ones(3), weighting.init(2))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bopt.cagrad(-1), r"cagrad got c=-1; expected a finite, non-negative"),
        (lambda: bopt.cagrad(np.ones(2)), r"c=array\(\[1., 1.\]\); expected a finite"),
        (
            lambda: bopt.fairgrad(0),
            r"alpha=0; expected a finite number above 0 .*fixed",
        ),
        (lambda: bopt.fairgrad("2"), r"fairgrad got alpha='2'"),
        (lambda: bopt.upgrad(0.0), r"upgrad got ridge=0.0; expected .* above 0"),
        (lambda: bopt.dual_projection(np.nan), r"dual_projection got ridge=nan"),
        (lambda: bopt.tchebycheff([1, -1]), r"preferences \[1, -1\]; expected finite"),
        (
            lambda: bopt.tchebycheff(1.0),
            r"preferences of shape \(\); expected a vector",
        ),
        (lambda: bopt.tchebycheff([1], mu=0), r"tchebycheff got mu=0; expected"),
        (lambda: bopt.ema(bopt.nash(), decay=1), r"ema got decay=1; expected"),
        (lambda: bopt.ema(bopt.nash), r"weighting=<function nash.*bopt.min_norm\(\)"),
        (lambda: bopt.famo(0.1), r"optimizer=0.1; expected .*optax.adam"),
        (
            lambda: bopt.tchebycheff([1, 1, 1]).update(jnp.eye(2), jnp.ones(2), ()),
            r"3 preferences for 2 objectives;.*num_objectives",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_numbers_may_be_traced():
    """A sweep over them is one program."""

    def swept(x):
        jac = jnp.array([[3.0, 0.0], [-3.0, 4.0]])
        weightings = (
            bopt.cagrad(x),
            bopt.fairgrad(x),
            bopt.upgrad(x),
            bopt.dual_projection(x),
            bopt.tchebycheff([1.0, x], mu=x),
            bopt.ema(bopt.nash(), decay=x),
            bopt.pcgrad(x.astype(int)),
        )
        return [w.update(jac @ jac.T, jnp.ones(2), w.init(2))[0] for w in weightings]

    found = jax.eval_shape(swept, jax.ShapeDtypeStruct((), jnp.float32))
    assert {leaf.shape for leaf in found} == {(2,)}


# Compiled


@pytest.mark.slow
@counts
@family
def test_order_does_not_matter(name, m):
    """Weights of permuted gradients are the permuted weights."""
    if name in ("fixed", "pcgrad", "tchebycheff"):  # numbers or draws per objective
        pytest.skip("depends on the order by its definition")
    jacs = jacobians(m)
    values = np.random.default_rng(0).uniform(0.5, 2, (len(jacs), m))
    order = np.random.default_rng(1).permutation(m)
    expected = directions(weigh(named(name, m), grams_of(jacs), values), jacs)
    moved = jacs[:, order]
    found = directions(weigh(named(name, m), grams_of(moved), values[:, order]), moved)
    # One row may be worth nothing beside others of 1e3 times its norm: the smallest
    # eigenvalue, on which `aligned` depends, is then accurate to percents only.
    assert (deviation(found, expected) <= (0.2 if name == "aligned" else 1e-4)).all()


@counts
@family
def test_a_common_factor(name, m):
    """It changes no weights, or by the documented power."""
    jacs = jacobians(m)
    expected = weigh(named(name, m), grams_of(jacs))
    for factor in (2.0**-30, 2.0**30):  # gram matrices of 1e-18 to 1e24
        found = weigh(named(name, m), grams_of(factor * jacs))
        power = factor ** POWERS.get(name, 0.0)
        np.testing.assert_allclose(found / power, expected, rtol=1e-4, atol=1e-7)


@family
def test_non_finite_gradients_reach_the_weights(name, m=3):
    jacs = np.repeat(jacobians(m)[:1], 9, axis=0)
    for case, bad in enumerate((np.nan, np.inf, -np.inf)):
        for row in range(m):
            jacs[3 * case + row, row, 0] = bad
    weights = weigh(named(name, m), grams_of(jacs))
    if name in NO_GRAM:  # the combination of the gradients shows it
        assert (np.isfinite(weights) & (weights > 0)).all()
    else:
        assert not np.isfinite(weights).all(axis=1).any()
    if name in VALUES:
        values = np.where(np.eye(m) == 1, np.nan, 1.0)
        weights = weigh(named(name, m), grams_of(jacobians(m)[:m]), values)
        assert np.isnan(weights).any(axis=1).all()


@counts
@family
def test_degenerate_gradients_have_finite_weights(name, m):
    """Zero, equal, opposite and dependent rows, at all scales; all rows 0."""
    rng = np.random.default_rng(0)
    found = [np.zeros((m, 12))]
    for sampler in (samplers.equal_rows, samplers.rank_deficient):
        found += list(samplers.batch(sampler, m, rescaled=True, repeats=1))
    if m > 1:
        for sampler in (samplers.zero_row, samplers.stationary):
            found += list(samplers.batch(sampler, m, rescaled=True, repeats=1))
        opposite = rng.standard_normal(12) * rng.choice([-1, 1], (m, 1))
        found += [opposite, 1e-10 * opposite, 1e10 * opposite]
    weights = weigh(named(name, m), grams_of(np.stack(found)))
    assert np.isfinite(weights).all()


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-30, 1e30])
@family
def test_scales_through_smgd(name, scale, m=3):
    """Norms of 1e-30 and 1e30, whose squares float32 does not hold."""
    jac = jacobians(m)[0]
    optimizer = bopt.smgd(WEIGHTINGS[name](m), num_objectives=m)
    params = {"w": jnp.zeros(jac.shape[1])}

    @jax.jit
    def direction(jac):
        values = jnp.ones(m)
        return optimizer.update(jac, optimizer.init(params), params, values=values)[0]

    def unit(scale):
        found = direction({"w": jnp.asarray(scale * jac, jnp.float32)})["w"]
        found = np.asarray(found, np.float64)
        assert np.isfinite(found).all()
        return found / np.linalg.norm(found)

    np.testing.assert_allclose(unit(scale), unit(1.0), atol=1e-4)


@pytest.mark.slow
@family
def test_float32_agrees_with_float64(name, m=5):
    jacs = jacobians(m, samplers.non_stationary)
    if name == "aligned":  # whose condition number is that of the gram matrix
        jacs = jacs[: len(jacs) // 2]
    found = directions(weigh(named(name, m), grams_of(jacs)), jacs)
    with jax.enable_x64(True):
        grams = grams_of(jacs, np.float64)
        expected = directions(weigh(WEIGHTINGS[name](m), grams), jacs)
    limit = 0.05 if name == "aligned" else 1e-4
    assert (deviation(found, expected) <= limit).all()


def test_zero_gradients_get_what_the_docstrings_state(m=3):
    jacs = jacobians(m)
    jacs[:, 1] = 0
    grams = grams_of(jacs)
    for name in ("conflict_free", "fairgrad", "imtl_g", "nash"):
        assert (weigh(named(name, m), grams)[:, 1] == 0).all(), name
    for name in ("cagrad", "min_norm"):  # Pareto stationary
        assert (directions(weigh(named(name, m), grams), jacs) == 0).all(), name
    for name in ("aligned", "dual_projection", "pcgrad", "upgrad"):
        assert (np.abs(directions(weigh(named(name, m), grams), jacs)).max(1) > 0).all()
