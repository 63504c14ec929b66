"""Cost of a training step under each optimizer, in time and memory."""

import functools
import importlib.util
import math
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rich
from rich.table import Table

import bopt
from bopt.models import LeNet5
from experiments.benchmark import timing
from experiments.benchmark.models import Model
from experiments.data import Dataset
from experiments.training.images import scaled
from experiments.training.step import make_objectives, make_penalties

# A runner of steps, and bytes at the peak, if XLA knows them.
Made = tuple[timing.Runner, int | None]


def compare(model: Model, steps: int, repeats: int) -> None:
    """Measure and print one row per optimizer."""
    digits = model.digits()
    makers = make_rows(model, digits)
    if isinstance(model.module, LeNet5) and importlib.util.find_spec("torchjd"):
        from experiments.benchmark import pytorch

        torch = functools.partial(pytorch.make_runner, digits, model.batch_size)
        makers["PyTorch adam, one objective"] = torch
        makers["TorchJD MGDA + adam, pruned"] = functools.partial(torch, multi=True)
    runners, costs = {}, {}
    for name, make in makers.items():
        print(f"Compiling: {name}", flush=True)
        start = time.perf_counter()
        runners[name], memory = make()
        runners[name](1)
        costs[name] = time.perf_counter() - start, memory
    times = timing.measure(runners, steps, repeats)
    rich.print(table(times, costs, str(model)))


def make_rows(model: Model, dataset: Dataset) -> dict[str, Callable[[], Made]]:
    """Return name -> function that compiles a training loop; the reference is first."""
    loss, l1 = make_objectives(model.module, *make_penalties(model.config.objectives))

    def vector(params, *batch):
        value, model_state = loss(params, *batch)
        return jnp.stack([value, l1(params)]), model_state

    one = jax.value_and_grad(loss, has_aux=True)
    two = bopt.value_and_jac([loss, l1], has_aux=True)
    both = bopt.value_and_jac(vector, has_aux=True)
    prune, name = bopt.prune(), model.optimizer
    first, sgd = getattr(optax, name)(1e-3), optax.sgd(1e-2, 0.9)
    fixed, smgd = bopt.smgd(bopt.fixed([1.0, 3e-4])), bopt.smgd()
    madam = bopt.madam(1e-3, weigh_by="directions")
    mrmsprop = bopt.mrmsprop(1e-3, weigh_by="directions")

    def pruned(gradients, *optimizers):
        return functools.partial(make, gradients, optax.chain(*optimizers, prune))

    make = functools.partial(_compile, model, dataset)
    to_98 = functools.partial(bopt.prune_to, 0.98, every=100)
    saliency = to_98(score=bopt.saliency(), optimizer=first)
    return {
        f"{name}, one objective": functools.partial(make, one, first),
        f"{name}, by threshold": pruned(one, first),
        f"{name}, to 98 % by magnitude": functools.partial(
            make, one, optax.chain(first, to_98())
        ),
        f"{name}, to 98 % by saliency": functools.partial(make, one, saliency),
        f"{name} + l1, pruned": pruned(two, fixed, first),
        "smgd, pruned": pruned(two, smgd, sgd),
        "madam, pruned": pruned(two, madam),
        "madam by gradients, pruned": pruned(two, bopt.madam(1e-3)),
        "mrmsprop, pruned": pruned(two, mrmsprop),
        "smgd by jacrev, pruned": pruned(both, smgd, sgd),
    }


def _compile(model: Model, dataset: Dataset, gradients, optimizer) -> Made:
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


def table(
    times: timing.Times, costs: Mapping[str, tuple[float, int | None]], title: str
) -> Table:
    """Make a table of times, and of the first call's seconds and the peak's bytes."""
    columns = ("optimizer", "ms per step", "ratio", "first call (s)", "memory (MiB)")
    reference, rows = next(iter(times.values())), []
    for name, (seconds, memory) in costs.items():
        known = timing.mebibytes(memory or math.nan, 0)
        cells = timing.cells(times[name], reference)
        rows.append((name, *cells, f"{seconds:.1f}", known))
    return timing.make_table(title, columns, rows)
