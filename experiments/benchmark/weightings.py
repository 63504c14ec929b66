"""Cost of a step's direction under each weighting."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rich

import bopt
import bopt.weightings
from experiments.benchmark import timing

ENTRIES = 1_000_000  # of the parameters
COUNTS = (2, 8, 32, 64)  # of objectives
# Arguments of those that need some, for m objectives.
ARGUMENTS: dict[str, Callable[[int], Any]] = {
    "ema": lambda m: bopt.min_norm(),
    "fixed": lambda m: np.full(m, 1 / m),
    "tchebycheff": lambda m: np.full(m, 1 / m),
}
NAMES = sorted(filter(str.islower, bopt.weightings.__all__), key="min_norm".__ne__)


def make(name: str, m: int) -> bopt.Weighting:
    """Make a public weighting of m objectives, with its default options."""
    arguments = [ARGUMENTS[name](m)] if name in ARGUMENTS else []
    return getattr(bopt, name)(*arguments)


def compare(steps: int, repeats: int) -> None:
    """Measure and print one table per number of objectives."""
    for m in COUNTS:
        print(f"Compiling: {m} objectives", flush=True)
        jac = _jacobian(m)
        runners = {name: _runner(make(name, m), jac, m) for name in NAMES}
        times = timing.measure(runners, steps, repeats)
        rows = [
            (name, *timing.cells(own, times["min_norm"])) for name, own in times.items()
        ]
        title = f"{m} objectives, {ENTRIES:,} parameters"
        rich.print(timing.make_table(title, ("weighting", "ms", "ratio"), rows))


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
