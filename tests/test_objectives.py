"""value_and_jac in its two forms, and the penalties l1 and l2."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bopt

PARAMS = {
    "conv": jnp.linspace(-1.0, 1.0, 8).reshape(2, 2, 1, 2),
    "dense": jnp.array([[1.0, -2.0, 0.0], [0.5, 0.0, -0.25]]),
    "bias": jnp.array([0.1, -0.2, 0.3]),
}


def loss(params, x, *, power=2):
    return jnp.sum((x @ params["dense"] + params["bias"][None]) ** power)


def spread(params, x, *, power=2):
    del x, power
    return jnp.sum(jnp.cos(params["conv"])) * jnp.sum(params["bias"])


def both(params, x, *, power=2):
    return jnp.stack([loss(params, x, power=power), spread(params, x)])


X = jnp.array([[1.0, 2.0], [-1.0, 0.5]])


def as_float64(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


@pytest.mark.parametrize("power", [2, 4])
def test_rows_are_the_gradients_in_both_forms(power):
    @jax.jit
    def run(params, x):
        forms = [loss, spread], (loss, spread), both
        found = [bopt.value_and_jac(f)(params, x, power=power) for f in forms]
        rows = [jax.grad(f)(params, x, power=power) for f in (loss, spread)]
        expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
        return found, (both(params, x, power=power), expected)

    found, expected = run(PARAMS, X)
    for one in found:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one, expected
        )


def with_rows(params, x):
    """Values and jacobian of `loss`, `spread` and `loss` again, one by one."""
    values, rows = zip(
        *(jax.value_and_grad(f)(params, x) for f in (loss, spread, loss)), strict=True
    )
    return jnp.stack(values), jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


@pytest.mark.parametrize(
    "objectives", [[both, loss], [loss, lambda p, x: both(p, x)[1:], loss]]
)
def test_entries_may_be_vectors_and_scalars(objectives):
    found, expected = jax.jit(
        lambda p, x: (bopt.value_and_jac(objectives)(p, x), with_rows(p, x))
    )(PARAMS, X)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected
    )


def test_aux_comes_from_the_first_or_the_one():
    def with_aux(f):
        return lambda *args: (f(*args), {"x": args[1], "n": 3})

    for objectives in ([with_aux(loss), spread], with_aux(both)):
        function = jax.jit(bopt.value_and_jac(objectives, has_aux=True))
        (values, aux), jac = function(PARAMS, X)
        np.testing.assert_allclose(values, both(PARAMS, X), rtol=1e-6)
        np.testing.assert_array_equal(aux["x"], X)
        assert aux["n"] == 3
        assert jac["dense"].shape == (2, 2, 3)


def test_against_finite_differences():
    with jax.enable_x64(True):
        params, x, step = as_float64(PARAMS), X.astype(jnp.float64), 1e-6
        _, jac = jax.jit(bopt.value_and_jac([loss, spread]))(params, x)
        values = jax.jit(both)
        for name, index in (("dense", (1, 2)), ("conv", (0, 1, 0, 1)), ("bias", (2,))):
            moved = [
                values(params | {name: params[name].at[index].add(h)}, x)
                for h in (step, -step)
            ]
            np.testing.assert_allclose(
                jac[name][:, *index], (moved[0] - moved[1]) / (2 * step), atol=1e-7
            )


@pytest.mark.parametrize("objectives", [[loss, spread], both])
def test_dtypes_are_those_of_the_parameters(objectives):
    params = PARAMS | {"dense": PARAMS["dense"].astype(jnp.bfloat16)}
    values, jac = jax.eval_shape(bopt.value_and_jac(objectives), params, X)
    assert values.dtype == jnp.float32
    assert jax.tree.map(lambda leaf: leaf.dtype, jac) == jax.tree.map(
        lambda leaf: leaf.dtype, params
    )


def test_half_precision_values_are_stacked_wide():
    # A penalty of 58,920 in float32 beside a loss in bfloat16 keeps its digits.
    params = {"w": jnp.full((300, 300), 1.0, jnp.bfloat16)}
    small = lambda p: p["w"][0, 0]  # noqa: E731
    values, _ = bopt.value_and_jac([small, bopt.l1])(params)
    assert values.dtype == jnp.float32
    np.testing.assert_array_equal(values, [1, 90_000])


def test_a_constant_objective_has_gradient_zero():
    # Cause: a Python number has no dtype; value.astype failed with AttributeError.
    values, jac = bopt.value_and_jac([loss, lambda params, x: 0.0])(PARAMS, X)
    assert values[1] == 0
    assert all((leaf[1] == 0).all() for leaf in jax.tree.leaves(jac))


@pytest.mark.parametrize("objectives", [[loss, spread], both])
def test_under_jit_and_vmap(objectives):
    function = bopt.value_and_jac(objectives)
    batched = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), PARAMS)
    values, jac = jax.jit(jax.vmap(function, in_axes=(0, None)))(batched, X)
    expected, expected_jac = jax.jit(function)(PARAMS, X)
    np.testing.assert_allclose(values[0], expected, rtol=1e-5)
    np.testing.assert_allclose(jac["bias"][0], expected_jac["bias"], rtol=1e-5)


@pytest.mark.parametrize(
    "objectives, has_aux, message",
    [
        ([], False, "empty sequence; expected at least one objective"),
        (loss, False, r"objectives loss returned values of shape \(\); expected an "),
        (
            lambda params, x: (loss(params, x), spread(params, x)),
            False,
            r"returned values of type tuple; .*stack the scalars with jnp.stack",
        ),
        (
            lambda params, x: [loss(params, x), spread(params, x)],
            False,
            r"returned values of type list; .*stack the scalars with jnp.stack",
        ),
        (
            [loss, lambda params, x: params["dense"]],
            False,
            r"objective 1 \(<lambda>\) returned values of shape \(2, 3\); expect",
        ),
        ([loss, 3.0], False, r"got 3.0 as entry 1; expected a function"),
        (None, False, r"one function or a list of functions.*\[loss, bopt.l1\]"),
        ([loss, spread], True, r"With has_aux, loss must return \(value, aux\), got"),
        (both, True, r"With has_aux, both must return \(value, aux\), got"),
    ],
)
def test_wrong_objectives_are_named(objectives, has_aux, message):
    with pytest.raises(ValueError, match=message):
        bopt.value_and_jac(objectives, has_aux=has_aux)(PARAMS, X)


def with_keywords(params, x, *, train, **more):
    assert train and more == {"key": 1}
    return loss(params, x)


@pytest.mark.parametrize(
    "penalty",
    [
        bopt.l1,
        functools.partial(bopt.l2, where=4),
        jax.jit(bopt.l1),
        lambda params, x: bopt.l1(params),  # names no keyword
        lambda params, x, train: train * bopt.l1(params),
    ],
)
def test_keywords_go_to_the_objectives_that_take_them(penalty):
    function = bopt.value_and_jac([with_keywords, penalty])
    values = jax.eval_shape(lambda: function(PARAMS, X, train=True, key=1)[0])
    assert values.shape == (2,)


def test_a_function_without_a_signature_gets_all_keywords():
    def compiled(params, x, **keywords):
        return with_keywords(params, x, **keywords)

    compiled.__signature__ = "of compiled code"  # pyright: ignore
    function = bopt.value_and_jac([compiled, bopt.l1])
    values = jax.eval_shape(lambda: function(PARAMS, X, train=True, key=1)[0])
    assert values.shape == (2,)


def test_penalties_take_no_keyword_of_the_loss():
    """Even one that has the name of their own argument."""

    def masked(params, x, where):
        return jnp.sum((x @ params["dense"])[where])

    values, _ = bopt.value_and_jac([masked, bopt.l1])(PARAMS, X, where=0)
    np.testing.assert_allclose(values[1], 3.75)


@pytest.mark.parametrize("objectives", [[loss, bopt.l1], both])
def test_a_keyword_that_nobody_takes_is_refused(objectives):
    with pytest.raises(
        ValueError, match=r"the keyword 'pwer', which none of (loss|both)"
    ):
        bopt.value_and_jac(objectives)(PARAMS, X, pwer=2)


@pytest.mark.parametrize("more", [bopt.l1, True])
def test_a_missing_list_is_named(more):
    with pytest.raises(
        ValueError, match=r"write value_and_jac\(\[loss, bopt.l1\], has_"
    ):
        bopt.value_and_jac(loss, more)


@pytest.mark.parametrize(
    "leaf, dtype",
    [(1, "int32"), (1j, "complex64"), (True, "bool"), (jax.random.key(0), "key<fry>")],
)
def test_parameters_without_a_gradient_are_named(leaf, dtype):
    with pytest.raises(ValueError, match=f"{dtype} at 'a/b'; expected real floating"):
        bopt.value_and_jac([loss, bopt.l1])(PARAMS | {"a": {"b": leaf}}, X)


def test_a_constant_integer_objective():
    values, jac = bopt.value_and_jac([loss, lambda params, x: 3])(PARAMS, X)
    assert values[1] == 3
    assert not any(leaf[1].any() for leaf in jax.tree.leaves(jac))


def test_what_is_no_array_is_named():
    with pytest.raises(ValueError, match=r"of type \w+ at 'f'; expected arrays"):
        bopt.value_and_jac([bopt.l2])({"w": jnp.ones((1, 1)), "f": jnp.tanh})


def test_complex_parameters_are_refused():
    with pytest.raises(ValueError, match="complex64; expected real parameters"):
        bopt.l1({"w": jnp.ones((2, 2), jnp.complex64)})


@pytest.mark.parametrize(
    "penalty, expected",
    [
        (lambda p: bopt.l1(p), 3.75),
        (lambda p: bopt.l1(p, where="*"), 3.75 + 0.6 + 32 / 7),
        (lambda p: bopt.l2(p), 5.3125),
        (lambda p: bopt.l2(p, where=4), 24 / 7),
        (lambda p: bopt.l2(p, where="*"), 5.3125 + 0.14 + 24 / 7),
        (lambda p: bopt.l1(p) + bopt.l2(p, where=4), 3.75 + 24 / 7),
    ],
)
def test_penalties_and_their_sums(penalty, expected):
    np.testing.assert_allclose(penalty(PARAMS), expected, rtol=1e-6)


def test_l1_gradient_is_the_sign_and_one_at_zero():
    """As the derivative of jnp.abs."""
    grad = jax.grad(bopt.l1)(PARAMS)
    expected = jax.grad(lambda leaf: jnp.abs(leaf).sum())(PARAMS["dense"])
    np.testing.assert_array_equal(grad["dense"], expected)
    assert (np.asarray(grad["dense"])[np.asarray(PARAMS["dense"]) == 0] == 1).all()
    assert not grad["conv"].any()
    assert not grad["bias"].any()


@pytest.mark.parametrize("at_zero", [-1.0, 0.0, 0.5, 1.0])
def test_l1_derivative_at_zero_is_a_choice_that_changes_nothing_else(at_zero):
    params = PARAMS | {"dense": PARAMS["dense"].at[0, 0].set(-0.0)}
    value, grad = jax.value_and_grad(bopt.l1)(params, at_zero=at_zero)
    kernel = np.asarray(params["dense"])
    np.testing.assert_allclose(value, abs(kernel).sum())
    expected = np.where(kernel == 0, at_zero, np.sign(kernel))
    np.testing.assert_array_equal(grad["dense"], expected.astype(np.float32))


@pytest.mark.parametrize("at_zero", [1.5, -2, float("nan")])
def test_l1_refuses_what_is_no_subgradient(at_zero):
    with pytest.raises(ValueError, match=r"at_zero=.*expected a subgradient"):
        bopt.l1(PARAMS, at_zero=at_zero)


def test_l2_gradient_is_twice_the_parameter():
    grad = jax.grad(bopt.l2)(PARAMS)
    np.testing.assert_allclose(grad["dense"], 2 * PARAMS["dense"])


@pytest.mark.parametrize("penalty", [bopt.l1, bopt.l2])
def test_penalties_keep_nan_and_precision(penalty):
    assert jnp.isnan(penalty({"w": jnp.array([[jnp.nan, 1.0]])}))
    assert penalty({}).item() == 0
    narrow = {"w": np.ones((2, 2), jnp.bfloat16)}
    assert jax.eval_shape(penalty, narrow).dtype == jnp.float32
    with jax.enable_x64(True):
        assert jax.eval_shape(penalty, {"w": np.ones((1, 3))}).dtype == jnp.float64
    with jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(jax.grad(penalty), narrow)


def test_numpy_leaves_of_64_bits_are_accepted():
    # Cause: without x64 their dtype was requested of jax, which warns and truncates.
    assert bopt.l1({"w": np.ones((2, 2))}).dtype == jnp.float32


@pytest.mark.parametrize("penalty", [bopt.l1, bopt.l2])
def test_penalties_of_nothing_are_refused(penalty):
    with pytest.raises(ValueError, match=r"where=3 matches none of the 3 leaves: bia"):
        penalty(PARAMS, where=3)
