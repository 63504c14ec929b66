"""Cost of a training step under each optimizer, in time and memory."""

import functools
import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import bopt
from bopt.models import LeNet5
from experiments.benchmark import timing
from experiments.benchmark.models import Model
from experiments.benchmark.timing import Runner
from experiments.data import Dataset
from experiments.training.images import scaled
from experiments.training.step import make_objectives

# Seconds of the first call, with compilation, and bytes at the peak, if XLA knows them.
Cost = tuple[float, int | None]


def compare(model: Model, console: Console, steps: int, repeats: int) -> None:
    """Measure and print one row per optimizer."""
    digits = model.digits()
    makers = make_rows(model, digits)
    if isinstance(model.module, LeNet5) and importlib.util.find_spec("torchjd"):
        from experiments.benchmark import pytorch

        makers |= pytorch.make_rows(digits, model.batch_size)
    runners, costs = {}, {}
    for name, make in makers.items():
        start = time.perf_counter()
        runners[name], memory = make()
        runners[name](1)
        costs[name] = time.perf_counter() - start, memory
    times = timing.measure(runners, steps, repeats)
    console.print(table(times, costs, str(model)))


def make_rows(
    model: Model, dataset: Dataset
) -> dict[str, Callable[[], tuple[Runner, int | None]]]:
    """Return name -> function that compiles a training loop; the reference is first.

    Each function returns a runner of steps, and the bytes that the loop needs.
    """
    loss, l1 = make_objectives(model.module, model.config.objectives)

    def vector(params, *batch):
        value, model_state = loss(params, *batch)
        return jnp.stack([value, l1(params)]), model_state

    one = jax.value_and_grad(loss, has_aux=True)
    two = bopt.value_and_jac([loss, l1], has_aux=True)
    vector = bopt.value_and_jac(vector, has_aux=True)
    first = getattr(optax, model.optimizer)(1e-3)
    fixed, sgd = bopt.smgd(bopt.fixed([1.0, 3e-4])), optax.sgd(1e-2, 0.9)
    madam, mrmsprop = (
        functools.partial(optimizer, 1e-3, weigh_by="directions")
        for optimizer in (bopt.madam, bopt.mrmsprop)
    )
    prune, name = bopt.prune, model.optimizer
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
        name: functools.partial(_make_runner, model, gradients, optimizer, dataset)
        for name, (gradients, optimizer) in variants.items()
    }


def _make_runner(
    model: Model, gradients, optimizer, dataset: Dataset
) -> tuple[Runner, int | None]:
    """Compile a plain loop; the trainer's own also sums, augments and batches."""
    images, labels = jax.device_put((dataset.images, dataset.labels))
    order = np.random.default_rng(0).permutation(len(images))
    batches, size = len(images) // model.batch_size, model.batch_size
    order = jnp.asarray(order[: batches * size].reshape(batches, size))
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

    model_state = jax.jit(model.module.init)(key, scaled(images[:1]))
    params = {"params": model_state.pop("params")}
    state = [params, model_state, optimizer.init(params)]
    donated = jax.jit(loop, donate_argnums=(0, 1, 2))
    compiled = donated.lower(*state, images, labels, 0).compile()

    def run(steps: int) -> None:
        state[:] = jax.block_until_ready(compiled(*state, images, labels, steps))

    plan = compiled.memory_analysis()
    return run, plan and plan.argument_size_in_bytes + plan.temp_size_in_bytes


def table(times: timing.Times, costs: Mapping[str, Cost], title: str) -> Table:
    """Make a table whose ratios are those to the first row."""
    columns = ("optimizer", "ms per step", "ratio", "first call (s)", "memory (MiB)")
    reference, rows = next(iter(times.values())), []
    for name, values in times.items():
        (seconds, memory), relative = costs[name], timing.ratio(values, reference)
        numbers = f"{statistics.median(values):.3f}", f"{relative:.2f}"
        rows.append((name, *numbers, f"{seconds:.1f}", timing.mebibytes(memory, 0)))
    return timing.make_table(title, columns, rows)
