"""What a training step costs, measured side by side.

    python -m experiments.benchmark [--model vgg] [--device-info]
    python -m experiments.benchmark front
    python -m experiments.benchmark checkpoint [--model vgg]
    python -m experiments.benchmark devices [--model vgg]
    python -m experiments.benchmark inference RUN_DIR

The first prints a row an optimizer: milliseconds a step (median over repeats, taken in
turns, so that all suffer alike from what else the machine does) and its ratio to the
first row, Adam or RMSprop without a second objective (median of the repeats' ratios);
and the memory that XLA plans for the program, its peak, images included. PyTorch and
TorchJD are measured on LeNet-5, too, where the `bench` extra is installed.

The second prints a row for each number of networks that train as one program:
milliseconds a step and network, and the ratio to one network that trains alone.

The third prints what a checkpoint after every epoch costs: seconds an epoch without and
with one, and the bytes of its parts, in memory and on disk. An epoch is as long as
MNIST's or CIFAR-10's.

The fourth prints steps a second of one training that 1, 2, 4, 8 devices divide among
them. Without an accelerator, these are of the same CPU, and no faster.

The fifth prints what the trained network of a run needs, as dense arrays, with sparse
kernels, and shrunk, against the unpruned one: bytes in a file and in memory,
multiply-adds, and milliseconds for one image and for 256.
"""

import dataclasses
import importlib.util
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
import optax
import tyro
from rich.console import Console

from bopt.models import VGG, LeNet5
from experiments import data
from experiments.benchmark import checkpoint as benchmark_checkpoint
from experiments.benchmark import devices as benchmark_devices
from experiments.benchmark import inference as benchmark_inference
from experiments.benchmark import networks as benchmark_front
from experiments.benchmark import step as benchmark_step
from experiments.cifar_vgg import VggConfig
from experiments.config import INT, STR, Config, parse
from experiments.devices import use_all_cores
from experiments.errors import ConfigError, RunDirectoryError
from experiments.runs import records
from experiments.runs.directory import read
from experiments.training.step import steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures, side by side, a training step: of a network under each optimizer, of
    many networks as one program, of one that several devices divide among them; an
    epoch with and without a checkpoint; or a pruned network at work."""

    what: tyro.conf.Positional[
        Literal["step", "front", "checkpoint", "devices", "inference"]
    ] = "step"
    """step: one network under each optimizer; front: many networks; checkpoint: one
    after every epoch; devices: 1, 2, 4, 8; inference: the network of RUN."""
    run: Annotated[tyro.conf.Positional[str | None], STR] = None
    """The run directory, for inference."""
    model: Literal["lenet5", "vgg"] = "lenet5"
    """The network."""
    batch_size: Annotated[int | None, INT] = None
    """Images a step (default 32 for lenet5, 64 for vgg)."""
    steps: Annotated[int | None, INT] = None
    """Steps a repeat (default 200 for lenet5, 4 for vgg; for checkpoint an epoch: 1718
    and 703, minutes for vgg without an accelerator; for inference 20 batches)."""
    networks: tuple[int, ...] | None = None
    """So many at once, for front (default 1 4 16; on accelerators also 64 256)."""
    repeats: int = 15
    """Repeats, taken in turns by all that is compared."""
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
      images: that its experiment trains on, so many.
      image: (H, W, C) of one.
    """

    title: str
    module: Any
    config: Config
    plain: tuple[str, optax.GradientTransformation]
    steps: int
    images: int
    image: tuple[int, int, int]


MODELS = {"mnist_lenet": "lenet5", "cifar_vgg": "vgg"}  # pareto_front has an option
NETWORKS = {
    "lenet5": Network(
        "LeNet-5",
        LeNet5(),
        Config(),
        ("adam", optax.adam(1e-3)),
        200,
        55_000,
        (28, 28, 1),
    ),
    "vgg": Network(
        "VGG",
        VGG(),
        VggConfig(),
        ("rmsprop", optax.rmsprop(1e-3)),
        4,
        45_000,
        (32, 32, 3),
    ),
}


def main() -> int:
    """The command line; returns the exit code."""
    options = parse(Options, "benchmark")
    network = NETWORKS[options.model]
    if options.batch_size is not None:
        config = dataclasses.replace(network.config, batch_size=options.batch_size)
        network = network._replace(config=config)
    try:
        _check(options, network)
        console = Console()
        if options.device_info:
            console.print(_device_info(), highlight=False, soft_wrap=True)
        _MODES[options.what](network, options, console)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunDirectoryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _step(network: Network, options: Options, console: Console) -> None:
    digits, batch_size = _digits(network), network.config.batch_size
    makers = benchmark_step.makers(
        network.module, network.config, network.plain, digits, batch_size
    )
    if options.model == "lenet5" and importlib.util.find_spec("torchjd"):
        from experiments.benchmark import pytorch as benchmark_torch

        makers |= benchmark_torch.makers(digits, batch_size)
    runners, costs = {}, {}
    for name, make in makers.items():
        start = time.perf_counter()
        runners[name], memory = make()
        runners[name](1)
        costs[name] = benchmark_step.Cost(time.perf_counter() - start, memory)
    times = _measure(runners, options.steps or network.steps, options.repeats)
    console.print(benchmark_step.table(times, costs, _title(network)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"peak memory of this process: {peak:,.0f} MiB", highlight=False)


def _front(network: Network, options: Options, console: Console) -> None:
    digits = _digits(network)
    config = dataclasses.replace(network.config, optimizer=network.plain[0])
    # Over many networks, the library's convolution is a grouped one, and slow.
    together = network.module.clone(method="patches")
    makers = benchmark_front.makers(
        network.module, together, config, digits, options.networks
    )
    per_epoch = steps_per_epoch(digits, config.batch_size)
    runners, memory = {}, {}
    for name, make in makers.items():
        runners[name], memory[name] = make()
    epochs = max(1, (options.steps or network.steps) // per_epoch)
    times = _measure(runners, epochs, options.repeats)
    title = f"{_title(network)}, {jax.device_count()} devices"
    console.print(benchmark_front.table(times, memory, per_epoch, title))


def _checkpoint(network: Network, options: Options, console: Console) -> None:
    batch_size = network.config.batch_size
    steps = options.steps or network.images // batch_size
    images = benchmark_checkpoint.repeated(_digits(network), steps * batch_size)
    title = f"{_title(network)}, {steps:,} steps an epoch"
    module, config = network.module, network.config
    with benchmark_checkpoint.training(module, config, images) as training:
        times = _measure(training.runners, 1, options.repeats)
        blocked = training.blocked
        console.print(benchmark_checkpoint.times_table(times, blocked, title))
        carry, checkpoint = training.trainer.carry, training.checkpoint()
        console.print(benchmark_checkpoint.sizes_table(carry, checkpoint))


def _devices(network: Network, options: Options, console: Console) -> None:
    digits = _digits(network)
    makers = benchmark_devices.makers(network.module, network.config, digits)
    per_epoch = steps_per_epoch(digits, network.config.batch_size)
    runners = {name: make() for name, make in makers.items()}
    epochs = max(1, (options.steps or network.steps) // per_epoch)
    times = _measure(runners, epochs, options.repeats)
    console.print(benchmark_devices.table(times, per_epoch, _title(network)))
    console.print(benchmark_devices.caution(), highlight=False)


def _inference(network: Network, options: Options, console: Console) -> None:
    if options.run is None:
        raise ConfigError("inference needs a run directory: benchmark inference RUN")
    config = read(options.run).config
    name = MODELS.get(config["experiment"]) or config["model"]
    network = NETWORKS[name]
    found = benchmark_inference.forms(network.module, network.image, options.run)
    times = {}
    for batch in (1, 256):
        images = np.zeros((batch, *network.image), np.float32)
        runners = {
            name: lambda steps, run=form.run, images=images: [
                run(images) for _ in range(steps)
            ]
            for name, form in found.items()
        }
        for run in runners.values():
            run(1)  # compiles
        times[batch] = _measure(runners, options.steps or 20, options.repeats)
    title = f"{network.title} of {options.run}"
    table = benchmark_inference.table(found, times, title)
    console.width = max(console.width, 100)
    console.print(table)
    console.print(benchmark_inference.verdict(times), highlight=False, soft_wrap=True)


_MODES = {
    "step": _step,
    "front": _front,
    "checkpoint": _checkpoint,
    "devices": _devices,
    "inference": _inference,
}


def _digits(network: Network) -> data.Dataset:
    return data.load("digits", preferred=network.config.PREFERRED)


def _title(network: Network) -> str:
    return f"{network.title}, batch {network.config.batch_size}"


def _check(options: Options, network: Network) -> None:
    steps = network.steps if options.steps is None else options.steps
    if steps < 1 or options.repeats < 1:
        raise ConfigError(
            f"--steps is {steps}, --repeats {options.repeats}; expected at least 1 of "
            "each."
        )
    digits, batch_size = _digits(network), network.config.batch_size
    images = {"step": len(digits.images), "checkpoint": network.images}
    most = images.get(options.what, len(digits.train))
    if not 1 <= batch_size <= most:
        raise ConfigError(
            f"--batch-size is {batch_size}; expected 1 to {most}, the images "
            "that the benchmark trains on."
        )
    numbers = options.networks
    if numbers is not None and min(numbers, default=0) < 1:
        raise ConfigError(
            f"--networks is {' '.join(map(str, numbers)) or 'empty'}; expected numbers "
            "of at least 1."
        )


def _measure(
    runners: Mapping[str, Callable[[int], object]], steps: int, repeats: int
) -> dict[str, list[float]]:
    """Milliseconds a step: name -> one number a repeat."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(repeats):
        for name, run in runners.items():
            start = time.perf_counter()
            run(steps)
            times[name].append((time.perf_counter() - start) / steps * 1e3)
    return times


def _device_info() -> str:
    device = jax.devices()[0]
    return (
        f"{device.platform}: {device.device_kind} x {jax.device_count()}; "
        f"{records.processor()}, {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, jax {jax.__version__}, "
        f"optax {optax.__version__}"
    )


if __name__ == "__main__":
    if "front" in sys.argv:
        use_all_cores()
    elif "devices" in sys.argv:
        benchmark_devices.force_devices()
    sys.exit(main())
