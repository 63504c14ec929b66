"""What a training step costs, measured side by side.

    python -m experiments.benchmark [--model vgg] [--device-info]
    python -m experiments.benchmark front

The first prints a row an optimizer: milliseconds a step (median over repeats, taken in
turns, so that all suffer alike from what else the machine does) and its ratio to the
first row, Adam or RMSprop without a second objective (median of the repeats' ratios);
and the memory that XLA plans for the program, its peak, images included. PyTorch and
TorchJD are measured on LeNet-5, too, where the `bench` extra is installed.

The second prints a row for each number of networks that train as one program:
milliseconds a step and network, and the ratio to one network that trains alone.
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
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

import bopt
from bopt.models import VGG, LeNet5
from experiments import benchmark_front, data
from experiments.cifar_vgg import VggConfig
from experiments.config import INT, Config, ConfigError, parse
from experiments.images import scaled
from experiments.networks import use_all_cores
from experiments.steps import make_objectives, steps_per_epoch

# Runs so many steps and waits for them.
Runner = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures a training step, side by side: of a network under each optimizer, or of
    many networks as one program."""

    what: tyro.conf.Positional[Literal["step", "front"]] = "step"
    """step: one network under each optimizer; front: many networks."""
    model: Literal["lenet5", "vgg"] = "lenet5"
    """The network."""
    batch_size: Annotated[int | None, INT] = None
    """Images a step (default 32 for lenet5, 64 for vgg)."""
    steps: Annotated[int | None, INT] = None
    """Steps a repeat (default 200 for lenet5, 4 for vgg)."""
    networks: tuple[int, ...] | None = None
    """So many at once, for front (default 1 4 16; on accelerators also 64 256)."""
    repeats: int = 15
    """Repeats, taken in turns by all optimizers."""
    device_info: bool = False
    """Also print what hardware and which versions this is."""


class Network(NamedTuple):
    """What is trained: the network, its experiment's options, the reference optimizer.

    Attributes:
      title: for the table.
      module: from (images, train) to logits.
      config: batch size, penalties.
      plain: name and optimizer of the first row.
      steps: steps a repeat, unless told otherwise.
    """

    title: str
    module: Any
    config: Config
    plain: tuple[str, optax.GradientTransformation]
    steps: int


NETWORKS = {
    "lenet5": Network("LeNet-5", LeNet5(), Config(), ("adam", optax.adam(1e-3)), 200),
    "vgg": Network("VGG", VGG(), VggConfig(), ("rmsprop", optax.rmsprop(1e-3)), 4),
}


def main() -> int:
    """The command line; returns the exit code."""
    options = parse(Options, "benchmark")
    console = Console()
    network = NETWORKS[options.model]
    digits = data.load("digits", preferred=network.config.PREFERRED)
    steps = network.steps if options.steps is None else options.steps
    batch_size = options.batch_size
    batch_size = network.config.batch_size if batch_size is None else batch_size
    try:
        images = digits.train if options.what == "front" else digits.images
        _check(steps, options, batch_size, len(images))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.device_info:
        console.print(_device_info(), highlight=False, soft_wrap=True)
    if options.what == "front":
        config = dataclasses.replace(
            network.config, batch_size=batch_size, optimizer=network.plain[0]
        )
        # Over many networks, the library's convolution is a grouped one, and slow.
        together = network.module.clone(method="patches")
        makers = benchmark_front.makers(
            network.module, together, config, digits, options.networks
        )
        per_epoch = steps_per_epoch(digits, batch_size)
        runners, memory = {}, {}
        for name, make in makers.items():
            runners[name], memory[name] = make()
        times = _measure(runners, max(1, steps // per_epoch), options.repeats)
        title = f"{network.title}, batch {batch_size}, {jax.device_count()} devices"
        console.print(benchmark_front.table(times, memory, per_epoch, title))
        return 0
    makers = _jax_makers(network, digits, batch_size)
    if options.model == "lenet5" and importlib.util.find_spec("torchjd"):
        from experiments import benchmark_torch

        makers |= benchmark_torch.makers(digits, batch_size)
    runners, costs = {}, {}
    for name, make in makers.items():
        start = time.perf_counter()
        runners[name], memory = make()
        runners[name](1)
        costs[name] = Cost(time.perf_counter() - start, memory)
    times = _measure(runners, steps, options.repeats)
    console.print(_table(times, costs, f"{network.title}, batch {batch_size}"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"peak memory of this process: {peak:,.0f} MiB", highlight=False)
    return 0


class Cost(NamedTuple):
    """Besides its steps: seconds of the first call, compilation included; bytes of
    memory at its peak as XLA plans them, None where that is not known."""

    seconds: float
    memory: int | None


def _check(steps: int, options: Options, batch_size: int, images: int) -> None:
    if steps < 1 or options.repeats < 1:
        raise ConfigError(
            f"--steps is {steps}, --repeats {options.repeats}; expected at least 1 of "
            "each."
        )
    if not 1 <= batch_size <= images:
        raise ConfigError(
            f"--batch-size is {batch_size}; expected 1 to {images}, the images "
            "that the benchmark trains on."
        )
    numbers = options.networks
    if numbers is not None and min(numbers, default=0) < 1:
        raise ConfigError(
            f"--networks is {' '.join(map(str, numbers)) or 'empty'}; expected numbers "
            "of at least 1."
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


def _table(times: dict[str, list[float]], costs: dict[str, Cost], title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAVY)
    table.add_column("optimizer", no_wrap=True)
    for column in ("ms a step", "ratio", "first call (s)", "memory (MiB)"):
        table.add_column(column, justify="right")
    reference = next(iter(times.values()))
    for name, values in times.items():
        ratio = statistics.median(
            value / base for value, base in zip(values, reference, strict=True)
        )
        seconds, memory = costs[name]
        table.add_row(
            name,
            f"{statistics.median(values):.3f}",
            f"{ratio:.2f}",
            f"{seconds:.1f}",
            "-" if memory is None else f"{memory / 2**20:,.0f}",
        )
    return table


def _jax_makers(
    network: Network, dataset: data.Dataset, batch_size: int
) -> dict[str, Callable[[], tuple[Runner, int | None]]]:
    """Name -> a function that compiles the training loop; see `_jax_runner`."""
    loss, l1 = make_objectives(network.module, network.config)

    def vector(params, *batch):
        value, model_state = loss(params, *batch)
        return jnp.stack([value, l1(params)]), model_state

    one = jax.value_and_grad(loss, has_aux=True)
    two = bopt.value_and_jac([loss, l1], has_aux=True)
    vector = bopt.value_and_jac(vector, has_aux=True)
    name, plain = network.plain
    fixed, sgd = bopt.smgd(bopt.fixed([1.0, 3e-4])), optax.sgd(1e-2, 0.9)
    madam, mrmsprop = (
        functools.partial(optimizer, 1e-3, weigh_by="directions")
        for optimizer in (bopt.madam, bopt.mrmsprop)
    )
    prune = bopt.prune
    variants = {
        f"{name}, one objective": (one, plain),
        f"{name} + l1, pruned": (two, optax.chain(fixed, plain, prune())),
        "smgd, pruned": (two, optax.chain(bopt.smgd(), sgd, prune())),
        "madam, pruned": (two, optax.chain(madam(), prune())),
        "madam by gradients, pruned": (two, optax.chain(bopt.madam(1e-3), prune())),
        "mrmsprop, pruned": (two, optax.chain(mrmsprop(), prune())),
        "smgd by jacrev, pruned": (vector, optax.chain(bopt.smgd(), sgd, prune())),
    }
    return {
        name: functools.partial(
            _jax_runner, network.module, gradients, optimizer, dataset, batch_size
        )
        for name, (gradients, optimizer) in variants.items()
    }


def _jax_runner(
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
    if "front" in sys.argv:
        use_all_cores()
    sys.exit(main())
