"""What a step costs when many networks train as one program; see `benchmark`."""

import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
from rich import box
from rich.table import Table

from experiments.benchmark.step import ratio
from experiments.config import Config, resolve
from experiments.data import Dataset
from experiments.devices import Network
from experiments.training.optimizers import compose
from experiments.training.trainer import Trainer

ALONE = "one alone"


def makers(
    alone: Any,
    together: Any,
    config: Config,
    dataset: Dataset,
    numbers: Sequence[int] | None,
) -> dict[str, Callable[[], tuple[Callable[[int], None], int | None]]]:
    """Name -> a function that compiles the training of so many networks.

    Args:
      alone: a Flax Linen module from (images, train) to logits.
      together: the same, for many at once.
      config: options: batch size, penalties.
      dataset: the images.
      numbers: how many networks at once; None: 1, 4, 16, on accelerators also 64 and
        256. First of all comes one that trains alone.

    Returns:
      Functions that return what trains for so many epochs, and the bytes that it needs
      on all its devices together.

    Example:
      >>> from bopt.models import LeNet5
      >>> from experiments import data
      >>> from experiments.benchmark import networks as benchmark_front
      >>> from experiments.config import Config
      >>> digits = data.load("digits")
      >>> net = LeNet5()
      >>> list(benchmark_front.makers(net, net, Config(), digits, [1, 4]))
      ['one alone', '1', '4']
    """
    if numbers is None:
        numbers = (1, 4, 16) + (64, 256) * (jax.default_backend() != "cpu")
    config = resolve(config, dataset.name)
    optimizer = functools.partial(compose, config, 1_000)

    def make(parallel: int | None):
        model = together if parallel else alone
        own = optimizer if parallel else optimizer(None)
        trainer = Trainer(model, own, dataset, config, parallel)
        if parallel:
            trainer.start([Network(0, (0.999, 0.001))] * parallel)
        epochs = iter(range(1, 2**31))

        def run(number: int) -> None:
            for _ in range(number):
                for _ in trainer.epoch(next(epochs)):
                    pass

        run(3)  # by then the trainer knows its pace
        return run, trainer.memory and trainer.memory * trainer.devices

    return {
        ALONE: functools.partial(make, None),
        **{str(number): functools.partial(make, number) for number in numbers},
    }


def table(
    times: dict[str, list[float]],
    memory: dict[str, int | None],
    steps_per_epoch: int,
    title: str,
) -> Table:
    """Milliseconds a step and network, and memory; ratios to one network alone.

    Args:
      times: name -> milliseconds an epoch, one number a repeat.
      memory: name -> bytes on all devices together.
      steps_per_epoch: steps in an epoch.
      title: of the table.

    Returns:
      A table whose last column has what each network adds to the next smaller number
      of networks; where that has fewer devices, their copies of the images, too.

    Example:
      >>> from rich.console import Console
      >>> from experiments.benchmark.networks import ALONE, table
      >>> console = Console(width=70)
      >>> times = {ALONE: [20.0], "1": [22.0], "4": [60.0]}
      >>> memory = {ALONE: 3 << 20, "1": 3 << 20, "4": 9 << 20}
      >>> console.print(table(times, memory, 10, "LeNet-5"))  # doctest: +ELLIPSIS
      <BLANKLINE>
      ...
         one alone           2.000    1.00            3.0               -
         1                   2.200    1.10            3.0               -
         4                   1.500    0.75            9.0            2.00
      <BLANKLINE>
    """
    result = Table(title=title, box=box.SIMPLE_HEAVY)
    result.add_column("networks", no_wrap=True)
    for column in ("ms a step and network", "ratio", "memory (MiB)", "MiB a network"):
        result.add_column(column, justify="right")
    alone = times[ALONE]
    for name, values in times.items():
        number = 1 if name == ALONE else int(name)
        milliseconds = statistics.median(values) / steps_per_epoch / number
        own, added = memory[name], _added(memory, name)
        result.add_row(
            name,
            f"{milliseconds:.3f}",
            f"{ratio(values, alone) / number:.2f}",
            "-" if own is None else f"{own / 2**20:,.1f}",
            "-" if added is None else f"{added / 2**20:,.2f}",
        )
    return result


def _added(memory: dict[str, int | None], name: str) -> float | None:
    """Bytes that each network adds to the next smaller number of networks."""
    known = {int(n): m for n, m in memory.items() if n != ALONE and m is not None}
    number = 0 if name == ALONE else int(name)
    smaller = max((other for other in known if other < number), default=None)
    if smaller is None or number not in known:
        return None
    return (known[number] - known[smaller]) / (number - smaller)
