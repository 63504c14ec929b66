"""What a training step costs under each optimizer; see `benchmark`."""

import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich import box
from rich.table import Table

import bopt
from experiments.config import Config
from experiments.data import Dataset
from experiments.training.images import scaled
from experiments.training.step import make_objectives

# Runs so many steps and waits for them.
Runner = Callable[[int], None]


class Cost(NamedTuple):
    """What a row costs besides its steps.

    Attributes:
      seconds: of the first call, compilation included.
      memory: bytes at its peak as XLA plans them, None where that is not known.

    Example:
      >>> from experiments.benchmark.step import Cost
      >>> Cost(seconds=1.5, memory=None).seconds
      1.5
    """

    seconds: float
    memory: int | None


def makers(
    module: Any,
    config: Config,
    plain: tuple[str, optax.GradientTransformation],
    dataset: Dataset,
    batch_size: int,
) -> dict[str, Callable[[], tuple[Runner, int | None]]]:
    """Name -> a function that compiles the training loop.

    Args:
      module: a Flax Linen module from (images, train) to logits.
      config: penalties.
      plain: name and optimizer of the first row.
      dataset: the images.
      batch_size: images a step.

    Returns:
      Functions that return what trains for so many steps, and the bytes that it needs.

    Example:
      >>> import optax
      >>> from bopt.models import LeNet5
      >>> from experiments import data
      >>> from experiments.benchmark import step as benchmark_step
      >>> from experiments.config import Config
      >>> plain, digits = ("adam", optax.adam(1e-3)), data.load("digits")
      >>> list(benchmark_step.makers(LeNet5(), Config(), plain, digits, 32))[:2]
      ['adam, one objective', 'adam + l1, pruned']
    """
    loss, l1 = make_objectives(module, config)

    def vector(params, *batch):
        value, model_state = loss(params, *batch)
        return jnp.stack([value, l1(params)]), model_state

    one = jax.value_and_grad(loss, has_aux=True)
    two = bopt.value_and_jac([loss, l1], has_aux=True)
    vector = bopt.value_and_jac(vector, has_aux=True)
    name, first = plain
    fixed, sgd = bopt.smgd(bopt.fixed([1.0, 3e-4])), optax.sgd(1e-2, 0.9)
    madam, mrmsprop = (
        functools.partial(optimizer, 1e-3, weigh_by="directions")
        for optimizer in (bopt.madam, bopt.mrmsprop)
    )
    prune = bopt.prune
    variants = {
        f"{name}, one objective": (one, first),
        f"{name} + l1, pruned": (two, optax.chain(fixed, first, prune())),
        "smgd, pruned": (two, optax.chain(bopt.smgd(), sgd, prune())),
        "madam, pruned": (two, optax.chain(madam(), prune())),
        "madam by gradients, pruned": (two, optax.chain(bopt.madam(1e-3), prune())),
        "mrmsprop, pruned": (two, optax.chain(mrmsprop(), prune())),
        "smgd by jacrev, pruned": (vector, optax.chain(bopt.smgd(), sgd, prune())),
    }
    return {
        name: functools.partial(
            _runner, module, gradients, optimizer, dataset, batch_size
        )
        for name, (gradients, optimizer) in variants.items()
    }


def _runner(
    model, gradients, optimizer, dataset, batch_size
) -> tuple[Runner, int | None]:
    """The compiled training loop, and its memory in bytes."""
    images, labels = jax.device_put((dataset.images, dataset.labels))
    order = np.random.default_rng(0).permutation(len(images))
    batches = len(images) // batch_size
    order = jnp.asarray(order[: batches * batch_size].reshape(batches, batch_size))
    key = jax.random.key(0)

    def loop(params, model_state, opt_state, images, labels, steps):
        def step(number, carry):
            params, model_state, opt_state = carry
            chosen = order[number % batches]
            batch = scaled(images[chosen]), labels[chosen]
            (_, model_state), jac = gradients(
                params, model_state, *batch, jax.random.fold_in(key, number)
            )
            updates, opt_state = optimizer.update(jac, opt_state, params)
            return optax.apply_updates(params, updates), model_state, opt_state

        carry = params, model_state, opt_state
        return jax.lax.fori_loop(0, steps, step, carry)

    model_state = jax.jit(model.init)(key, scaled(images[:1]))
    params = {"params": model_state.pop("params")}
    state = [params, model_state, optimizer.init(params)]
    donated = jax.jit(loop, donate_argnums=(0, 1, 2))
    compiled = donated.lower(*state, images, labels, 0).compile()

    def run(steps: int) -> None:
        state[:] = jax.block_until_ready(compiled(*state, images, labels, steps))

    plan = compiled.memory_analysis()
    return run, plan and plan.argument_size_in_bytes + plan.temp_size_in_bytes


def ratio(values: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the repeats' own ratios, which were measured side by side.

    Example:
      >>> from experiments.benchmark.step import ratio
      >>> ratio([2.0, 3.0, 8.0], [1.0, 1.0, 2.0])
      3.0
    """
    pairs = zip(values, reference, strict=True)
    return statistics.median(value / other for value, other in pairs)


def table(times: dict[str, list[float]], costs: dict[str, Cost], title: str) -> Table:
    """Milliseconds a step, ratios to the first row, and what else each row costs.

    Args:
      times: name -> milliseconds a step, one number a repeat.
      costs: name -> the first call, and memory.
      title: of the table.

    Returns:
      A table.

    Example:
      >>> from rich.console import Console
      >>> from experiments.benchmark.step import Cost, table
      >>> times, costs = {"adam": [2.0]}, {"adam": Cost(1.5, 3 << 20)}
      >>> Console(width=70).print(
      ...     table(times, costs, "LeNet-5"))  # doctest: +ELLIPSIS
      <BLANKLINE>
      ...
         adam            2.000    1.00               1.5              3
      <BLANKLINE>
    """
    result = Table(title=title, box=box.SIMPLE_HEAVY)
    result.add_column("optimizer", no_wrap=True)
    for column in ("ms a step", "ratio", "first call (s)", "memory (MiB)"):
        result.add_column(column, justify="right")
    reference = next(iter(times.values()))
    for name, values in times.items():
        seconds, memory = costs[name]
        result.add_row(
            name,
            f"{statistics.median(values):.3f}",
            f"{ratio(values, reference):.2f}",
            f"{seconds:.1f}",
            "-" if memory is None else f"{memory / 2**20:,.0f}",
        )
    return result
