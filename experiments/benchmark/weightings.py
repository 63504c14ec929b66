"""Cost of a step's direction under each weighting."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rich

import bopt
from experiments.benchmark import timing

ENTRIES = 1_000_000  # of the parameters
COUNTS = (2, 8, 32, 64)  # of objectives
# Name -> weighting of m objectives; the reference is first.
WEIGHTINGS: dict[str, Callable[[int], bopt.Weighting]] = {
    "min_norm": lambda m: bopt.min_norm(),
    "fixed": lambda m: bopt.fixed(np.full(m, 1 / m)),
    "upgrad": lambda m: bopt.upgrad(),
    "dual_projection": lambda m: bopt.dual_projection(),
    "cagrad": lambda m: bopt.cagrad(0.5),
    "nash": lambda m: bopt.nash(),
    "fairgrad": lambda m: bopt.fairgrad(2.0),
    "aligned": lambda m: bopt.aligned(),
    "imtl_g": lambda m: bopt.imtl_g(),
    "conflict_free": lambda m: bopt.conflict_free(),
    "pcgrad": lambda m: bopt.pcgrad(),
    "famo": lambda m: bopt.famo(),
    "tchebycheff": lambda m: bopt.tchebycheff(np.full(m, 1 / m)),
    "ema": lambda m: bopt.ema(bopt.min_norm(), 0.9),
}


def compare(steps: int, repeats: int) -> None:
    """Measure and print one row per weighting, with two columns per number of rows."""
    rows: dict[str, list[str]] = {name: [] for name in WEIGHTINGS}
    columns = ["weighting"]
    for m in COUNTS:
        print(f"Measuring: {m} objectives", flush=True)
        jac = _jacobian(m)
        runners = {name: _runner(make(m), jac, m) for name, make in WEIGHTINGS.items()}
        times = timing.measure(runners, steps, repeats)
        for name, cells in rows.items():
            cells += timing.cells(times[name], times["min_norm"])
        columns += [f"m = {m}: ms", "ratio"]
    title = f"smgd's update, {ENTRIES:,} parameters"
    lines = [(name, *cells) for name, cells in rows.items()]
    rich.print(timing.make_table(title, columns, lines))


def _jacobian(m: int) -> dict[str, jax.Array]:
    """Normal rows that conflict: without nearly all of their mean."""
    rows = jax.random.normal(jax.random.key(0), (m, ENTRIES))
    rows -= 0.9 * rows.mean(axis=0, keepdims=True)
    return {"kernel": rows[:, : ENTRIES // 2], "other": rows[:, ENTRIES // 2 :]}


def _runner(
    weighting: bopt.Weighting, jac: dict[str, jax.Array], m: int
) -> timing.Runner:
    optimizer = bopt.smgd(weighting, num_objectives=m)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:]), jac)
    state: list[optax.OptState] = [optimizer.init(params)]
    values = jnp.linspace(1, 2, m)

    @jax.jit
    def update(jac, state):
        return optimizer.update(jac, state, params, values=values)

    def run(steps: int) -> None:
        for _ in range(steps):
            _, state[0] = jax.block_until_ready(update(jac, state[0]))

    run(1)  # compiles
    return run
