"""How fast one training is that several devices divide among them; see `benchmark`."""

import dataclasses
import functools
import itertools
import os
import statistics
from collections.abc import Callable
from typing import Any

import jax
from rich import box
from rich.table import Table

from experiments.benchmark.step import ratio
from experiments.config import Config, resolve
from experiments.data import Dataset
from experiments.devices import data_devices
from experiments.training.optimizers import compose
from experiments.training.step import steps_per_epoch
from experiments.training.trainer import Trainer

NUMBERS = (1, 2, 4, 8)


def force_devices() -> None:
    """Makes 8 devices of this machine's CPU, however few cores it has.

    To be called before JAX is used. Does nothing where the number of CPU devices was
    told, see `experiments.devices.use_all_cores`.

    Example:
      >>> import os, subprocess, sys
      >>> program = "from experiments.benchmark.devices import force_devices; "
      >>> program += "import jax; force_devices(); print(jax.device_count())"
      >>> told = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
      >>> kept = {name: v for name, v in os.environ.items() if name not in told}
      >>> print(subprocess.run([sys.executable, "-c", program], text=True,
      ...                      env=kept | {"JAX_PLATFORMS": "cpu"},
      ...                      capture_output=True).stdout)
      8
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in flags:
        return
    jax.config.update("jax_num_cpu_devices", max(NUMBERS))


def makers(
    module: Any, config: Config, dataset: Dataset
) -> dict[str, Callable[[], Callable[[int], None]]]:
    """Number of devices -> a function that compiles the training on so many.

    Args:
      module: a Flax Linen module from (images, train) to logits.
      config: options: batch size, optimizer.
      dataset: the images.

    Returns:
      For 1, 2, 4, 8, as far as there are so many: functions that return what trains
      for so many epochs.

    Raises:
      ConfigError: the devices do not divide a batch.

    Example:
      >>> import jax
      >>> from bopt.models import LeNet5
      >>> from experiments import data
      >>> from experiments.benchmark import devices as benchmark_devices
      >>> from experiments.config import Config
      >>> digits = data.load("digits")
      >>> makers = benchmark_devices.makers(LeNet5(), Config(), digits)
      >>> list(makers) == [str(n) for n in (1, 2, 4, 8) if n <= jax.device_count()]
      True
    """
    config = resolve(config, dataset.name)
    numbers = [number for number in NUMBERS if number <= jax.device_count()]
    for number in numbers:
        data_devices(number, config.batch_size)
    optimizer = compose(config, steps_per_epoch(dataset, config.batch_size))

    def make(number: int) -> Callable[[int], None]:
        own = dataclasses.replace(config, devices=number)
        trainer, epochs = Trainer(module, optimizer, dataset, own), itertools.count(1)

        def run(number: int) -> None:
            for _ in range(number):
                for _ in trainer.epoch(next(epochs)):
                    pass

        run(3)  # by then the trainer knows its pace
        return run

    return {str(number): functools.partial(make, number) for number in numbers}


def table(times: dict[str, list[float]], steps_per_epoch: int, title: str) -> Table:
    """Steps per second, and their ratios to one device.

    Args:
      times: number of devices -> milliseconds an epoch, one number a repeat; the first
        is 1.
      steps_per_epoch: steps in an epoch.
      title: of the table.

    Returns:
      A table; a ratio above 1 means that the devices are faster than one.

    Example:
      >>> from rich.console import Console
      >>> from experiments.benchmark.devices import table
      >>> times = {"1": [20.0], "2": [16.0]}
      >>> Console(width=70).print(table(times, 10, "Digits"))  # doctest: +ELLIPSIS
      <BLANKLINE>
      ...
         1                 500.0    1.00
         2                 625.0    1.25
      <BLANKLINE>
    """
    result = Table(title=title, box=box.SIMPLE_HEAVY)
    result.add_column("devices", no_wrap=True)
    for column in ("steps a second", "ratio"):
        result.add_column(column, justify="right")
    one = next(iter(times.values()))
    for name, values in times.items():
        speed = steps_per_epoch / statistics.median(values) * 1e3
        result.add_row(name, f"{speed:,.1f}", f"{ratio(one, values):.2f}")
    return result


def caution() -> str:
    """What must be known of the devices to read the table.

    Example:
      >>> from experiments.benchmark.devices import caution
      >>> caution()  # doctest: +ELLIPSIS
      '...'
    """
    if jax.default_backend() != "cpu":
        return f"{jax.device_count()} x {jax.devices()[0].device_kind}."
    return (
        f"Forced CPU devices ({jax.device_count()}) share the same cores "
        f"({os.cpu_count()}): this shows that dividing a batch works, no speed is to "
        "be expected."
    )
