"""docs/choose-a-weighting.md: properties are measured, recipes run as they stand."""

import functools
import re
from pathlib import Path

import contracts
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weighing import directions, grams_of, weigh

import bopt

TEXT = (Path(__file__).parent.parent / "docs" / "choose-a-weighting.md").read_text()
SECTIONS = dict(re.findall(r"^##+ ([^\n]+)\n(.*?)(?=^##+ |\Z)", TEXT, re.M | re.S))
RECIPES = {
    name: code[1]
    for name, body in SECTIONS.items()
    if (code := re.search(r"```python\n(.*?)```", body, re.S))
}
SETUP = RECIPES.pop("Setup")
ROWS = {
    cells[0].strip("`"): cells[2:7]
    for line in re.findall(r"^\| `.*\|$", SECTIONS["Properties"], re.M)
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}
# As in the table, with a small ridge, and with what a row wraps or is given.
BUILD = {
    "min_norm()": lambda m: bopt.min_norm(),
    'min_norm("l2")': lambda m: bopt.min_norm("l2"),
    "fixed(weights)": contracts.WEIGHTINGS["fixed"],
    "upgrad()": lambda m: bopt.upgrad(1e-9),
    "dual_projection()": lambda m: bopt.dual_projection(1e-9),
    "tchebycheff(preference)": contracts.WEIGHTINGS["tchebycheff"],
    "ema(weighting)": lambda m: bopt.ema(lambda gram, values: jnp.ones_like(gram[0])),
}
measured = pytest.mark.parametrize("row", ROWS)


@functools.cache
def build(row: str, m: int) -> bopt.Weighting:
    name = row.partition("(")[0]
    return BUILD.get(row, contracts.WEIGHTINGS[name])(m)


@functools.cache
def gradients(m: int) -> np.ndarray:
    """(N, m, n) jacobians of different lengths, most of which conflict.

    The first row of the first few is short and amid the others, if these are three.
    """
    rng = np.random.default_rng(0)
    jacs = rng.standard_normal((64, m, 12)) * 10 ** rng.uniform(-0.5, 0.5, (64, m, 1))
    jacs[::2] -= 0.6 * jacs[::2].mean(axis=1, keepdims=True)
    amid = 0.9 * np.eye(12)[:1] + 0.4 * np.eye(12)[:m]
    amid[0] = 0.05 * np.eye(12)[0]
    jacs[:4] = amid @ np.linalg.qr(rng.standard_normal((4, 12, 12)))[0]
    return jacs


def moves(row: str, jacs: np.ndarray) -> np.ndarray:
    """(N, n) directions, in float64."""
    weighting = build(row, jacs.shape[1])
    with jax.enable_x64(True):
        return directions(weigh(weighting, grams_of(jacs, np.float64)), jacs)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """Largest distance of the directions, whatever their lengths."""
    return np.linalg.norm(unit(first) - unit(second), axis=1).max()


def test_every_weighting_is_in_the_table():
    assert {row.partition("(")[0] for row in ROWS} == contracts.WEIGHTINGS.keys()


@measured
def test_values_and_state(row):
    values, state = ROWS[row][3:]
    weighting = build(row, 2)
    assert (state == "yes") == bool(jax.tree.leaves(weighting.init(2)))
    try:
        jax.eval_shape(lambda: weighting.update(jnp.eye(2), None, weighting.init(2)))
    except ValueError:
        assert values == "yes"
    else:
        assert values == "no"


@pytest.mark.slow
@measured
def test_conflicts(row):
    stated = ROWS[row][0]

    def least(m):
        jacs = gradients(m)
        return np.einsum("nik,nk->ni", unit(jacs), unit(moves(row, jacs))).min()

    assert (least(4) > -1e-6) == stated.startswith("yes")
    if stated == "for m = 2":
        assert least(2) > -1e-6


@pytest.mark.slow
@measured
def test_linearity_under_scaling(row):
    jacs, (first, second) = (
        gradients(4),
        np.random.default_rng(1).uniform(0.2, 5, (2, 64, 4, 1)),
    )
    whole = moves(row, (first + second) * jacs)
    sum_of_parts = moves(row, first * jacs) + moves(row, second * jacs)
    error = np.linalg.norm(sum_of_parts - whole, axis=1) / np.linalg.norm(whole, axis=1)
    # Of these two, the weights do not depend on the gradients at all.
    stated = ROWS[row][1].startswith("yes") or row in ("famo()", "ema(weighting)")
    assert (error.max() < 1e-5) == stated


@pytest.mark.slow
@measured
def test_dependence_on_lengths(row):
    jacs, scales = gradients(4), np.random.default_rng(2).uniform(0.1, 10, (64, 4, 1))
    first, second = moves(row, jacs), moves(row, scales * jacs)
    if row == "imtl_g()":
        first *= np.sign((first * second).sum(axis=1, keepdims=True))
    assert (apart(first, second) < 1e-6) == ROWS[row][2].startswith("yes")


@pytest.mark.slow
def test_two_objectives_have_few_directions():
    jacs = gradients(2)
    bisecting = ['min_norm("l2")', "nash()", "imtl_g()", "conflict_free()"]
    found = {row: moves(row, jacs) for row in ROWS}
    for row in bisecting:
        assert apart(found[row], unit(jacs).sum(axis=1)) < 1e-6
    np.testing.assert_allclose(found[bisecting[0]], found["imtl_g()"], rtol=1e-6)
    np.testing.assert_allclose(found["pcgrad()"], 2 * found["upgrad()"], rtol=1e-4)
    # No others.
    classes = [{*bisecting}, {"pcgrad()", "upgrad()"}, {"ema(weighting)"}, {"famo()"}]
    classes[2:] = [{"ema(weighting)", "famo()"}]  # both equal weights, as called here
    for a in ROWS:
        for b in ROWS:
            same = a == b or any({a, b} <= each for each in classes)
            assert same == (apart(found[a], found[b]) < 1e-4), (a, b)


@pytest.mark.slow
def test_coincidences_of_any_number(m=4):
    jacs = gradients(m)
    along, length = moves("imtl_g()", jacs), moves("conflict_free()", jacs)
    along *= np.sign((along * length).sum(axis=1, keepdims=True))
    assert apart(along, length) < 1e-6
    agreeing = np.abs(jacs)  # no two entries of different signs
    mean = agreeing.mean(axis=1)
    for row, factor in (("upgrad()", 1), ("dual_projection()", 1), ("pcgrad()", m)):
        np.testing.assert_allclose(moves(row, agreeing), factor * mean, rtol=1e-6)


@pytest.mark.slow
def test_recipes_run():
    """And take steps that are finite, from weights on the simplex."""
    found = {}
    for name, code in (("Setup", SETUP), *RECIPES.items()):
        exec(compile(code, f"docs/choose-a-weighting.md, {name}", "exec"), found)
        if name != "Setup":
            weights = found["state"][0].weights
            np.testing.assert_allclose(weights.sum(), 1, rtol=1e-5)
            assert (weights >= 0).all()
            assert jnp.abs(found["updates"]["w"]).max() > 0
    assert RECIPES.keys() == {"MoCo", "MoDo", "SDMGrad"}


@pytest.mark.slow
def test_modo_is_unbiased():
    """Products of two batches: on average those of the mean gradients."""
    found = {}
    for code in (SETUP, RECIPES["MoDo"]):
        exec(compile(code, "docs/choose-a-weighting.md", "exec"), found)
    rng, m = np.random.default_rng(0), 2
    mean = np.array([[1.0, 1.0], [-0.5, 1.0]])
    weighting, start = found["modo"](1.0), np.full(m, 1 / m)
    slopes = []
    for _ in range(2000):
        rows = np.concatenate([mean, mean]) + rng.standard_normal((2 * m, 2))
        across = rows[:m] @ rows[m:].T
        slopes.append((across + across.T) / 2 @ start)
    np.testing.assert_allclose(np.mean(slopes, 0), mean @ mean.T @ start, atol=0.15)
    gram = jnp.asarray(np.block([[mean], [mean]]) @ np.block([[mean], [mean]]).T)
    _, state = weighting.update(gram, None, weighting.init(2 * m))
    expected = start - mean @ mean.T @ start
    expected += (1 - expected.sum()) / m  # inside the simplex
    np.testing.assert_allclose(state, expected, rtol=1e-5)
