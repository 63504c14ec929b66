"""What a training step costs, measured side by side.

    python -m experiments.benchmark [--device-info]

Prints a row an optimizer: milliseconds a step (median over repeats, taken in turns, so
that all suffer alike from what else the machine does) and its ratio to plain Adam
without a second objective (median of the repeats' ratios). PyTorch and TorchJD are
measured, too, where the `bench` extra is installed.
"""

import dataclasses
import functools
import importlib.util
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich import box
from rich.console import Console
from rich.table import Table

import bopt
from bopt.models import LeNet5
from experiments import data
from experiments.config import ConfigError, parse
from experiments.steps import make_objectives, unit

# Runs so many steps and waits for them.
Runner = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures a training step of LeNet-5 under each optimizer, side by side."""

    batch_size: int = 32
    """Images a step."""
    steps: int = 200
    """Steps a repeat."""
    repeats: int = 15
    """Repeats, taken in turns by all optimizers."""
    device_info: bool = False
    """Also print what hardware and which versions this is."""


def main() -> int:
    """The command line; returns the exit code."""
    options = parse(Options, "benchmark")
    console = Console()
    digits = data.load("digits")
    try:
        _check(options, len(digits.images))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.device_info:
        console.print(_device_info(), highlight=False, soft_wrap=True)
    runners, compile_seconds = {}, {}
    makers = _jax_makers(digits, options.batch_size)
    if importlib.util.find_spec("torchjd"):
        from experiments import benchmark_torch

        makers |= benchmark_torch.makers(digits, options.batch_size)
    for name, make in makers.items():
        start = time.perf_counter()
        runners[name] = make()
        runners[name](1)
        compile_seconds[name] = time.perf_counter() - start
    times = _measure(runners, options.steps, options.repeats)
    console.print(_table(times, compile_seconds, options.batch_size))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"peak memory of this process: {peak:,.0f} MiB", highlight=False)
    return 0


def _check(options: Options, images: int) -> None:
    if options.steps < 1 or options.repeats < 1:
        raise ConfigError(
            f"--steps is {options.steps}, --repeats {options.repeats}; expected at "
            "least 1 of each."
        )
    if not 1 <= options.batch_size <= images:
        raise ConfigError(
            f"--batch-size is {options.batch_size}; expected 1 to {images}, the images "
            "that the benchmark trains on."
        )


def _measure(
    runners: dict[str, Runner], steps: int, repeats: int
) -> dict[str, list[float]]:
    """Milliseconds a step: name -> one number a repeat."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(repeats):
        for name, run in runners.items():
            start = time.perf_counter()
            run(steps)
            times[name].append((time.perf_counter() - start) / steps * 1e3)
    return times


def _table(
    times: dict[str, list[float]], compile_seconds: dict[str, float], batch_size: int
) -> Table:
    table = Table(title=f"LeNet-5, batch {batch_size}", box=box.SIMPLE_HEAVY)
    table.add_column("optimizer")
    for column in ("ms a step", "ratio", "first call (s)"):
        table.add_column(column, justify="right")
    reference = next(iter(times.values()))
    for name, values in times.items():
        ratio = statistics.median(
            value / base for value, base in zip(values, reference, strict=True)
        )
        table.add_row(
            name,
            f"{statistics.median(values):.3f}",
            f"{ratio:.2f}",
            f"{compile_seconds[name]:.1f}",
        )
    return table


def _jax_makers(
    dataset: data.Dataset, batch_size: int
) -> dict[str, Callable[[], Runner]]:
    """Name -> a function that compiles the training loop and returns its runner."""
    model = LeNet5()
    loss, l1 = make_objectives(model, conv_l2=1e-4, l1_at_zero=1.0)

    def vector(params, images, labels):
        return jnp.stack([loss(params, images, labels), l1(params)])

    two = bopt.value_and_jac([loss, l1])
    prune, adam = bopt.prune, optax.adam(1e-3)
    sgd = optax.sgd(1e-2, 0.9)
    variants = {
        "adam, one objective": (jax.value_and_grad(loss), adam),
        "adam + l1, pruned": (
            two,
            optax.chain(bopt.smgd(bopt.fixed([1.0, 3e-4])), adam, prune()),
        ),
        "smgd, pruned": (two, optax.chain(bopt.smgd(), sgd, prune())),
        "madam, pruned": (
            two,
            optax.chain(bopt.madam(1e-3, weigh_by="directions"), prune()),
        ),
        "madam by gradients, pruned": (two, optax.chain(bopt.madam(1e-3), prune())),
        "mrmsprop, pruned": (
            two,
            optax.chain(bopt.mrmsprop(1e-3, weigh_by="directions"), prune()),
        ),
        "smgd by jacrev, pruned": (
            bopt.value_and_jac(vector),
            optax.chain(bopt.smgd(), sgd, prune()),
        ),
    }
    return {
        name: functools.partial(
            _jax_runner, model, gradients, optimizer, dataset, batch_size
        )
        for name, (gradients, optimizer) in variants.items()
    }


def _jax_runner(model, gradients, optimizer, dataset, batch_size) -> Runner:
    images, labels = jax.device_put((dataset.images, dataset.labels))
    order = np.random.default_rng(0).permutation(len(images))
    batches = len(images) // batch_size
    order = jnp.asarray(order[: batches * batch_size].reshape(batches, batch_size))
    params = model.init(jax.random.key(0), unit(images[:1]))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def loop(params, opt_state, images, labels, steps):
        def step(number, carry):
            params, opt_state = carry
            chosen = order[number % batches]
            _, jac = gradients(params, unit(images[chosen]), labels[chosen])
            updates, opt_state = optimizer.update(jac, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        return jax.lax.fori_loop(0, steps, step, (params, opt_state))

    state = [params, optimizer.init(params)]

    def run(steps: int) -> None:
        state[:] = jax.block_until_ready(loop(*state, images, labels, steps))

    return run


def _device_info() -> str:
    device = jax.devices()[0]
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            names = (line for line in file if line.startswith("model name"))
            processor = next(names).partition(":")[2].strip()
    except (OSError, StopIteration):
        pass  # not Linux: the processor's family will do
    return (
        f"{device.platform}: {device.device_kind} x {jax.device_count()}; {processor}, "
        f"{os.cpu_count()} cores; Python {platform.python_version()}, "
        f"jax {jax.__version__}, optax {optax.__version__}"
    )


if __name__ == "__main__":
    sys.exit(main())
