"""Cost of a step when many networks train as one program."""

import statistics
from collections.abc import Mapping, Sequence

import jax
from rich.console import Console
from rich.table import Table

from experiments.benchmark import timing
from experiments.benchmark.models import Model

WEIGHTS = (0.999, 0.001)


def compare(
    model: Model, console: Console, steps: int, repeats: int, numbers: Sequence[int]
) -> None:
    """Measure and print one row per number of networks, 1 in any case."""
    if not numbers:
        numbers = (4, 16) + (64, 256) * (jax.default_backend() != "cpu")
    dataset, numbers, reference = model.digits(), sorted({1, *numbers}), model.optimizer
    trainers = {
        str(number): model.make_trainer(
            dataset, [WEIGHTS] * number, optimizer=reference
        )
        for number in numbers
    }
    memory = {
        name: trainer.memory and trainer.memory * trainer.devices
        for name, trainer in trainers.items()
    }
    times = timing.measure_trainers(trainers, steps, repeats)
    console.print(table(times, memory, f"{model}, {jax.device_count()} devices"))


def table(times: timing.Times, memory: Mapping[str, int | None], title: str) -> Table:
    """Make a table of ascending numbers of networks, the first of them 1.

    The last column is the memory that each network adds to the row before; if that row
    uses fewer devices, the further devices' copies of the images are included.

    Args:
      times: number of networks -> milliseconds per step of all together.
      memory: number of networks -> bytes on all devices together.
      title: title of the table.
    """
    columns = ("networks", "ms per step and network", "ratio", "memory (MiB)")
    rows, before = [], "1"
    for name, values in times.items():
        number, own, less, added = int(name), memory[name], memory[before], None
        if own is not None and less is not None and name != before:
            added = (own - less) / (number - int(before))
        milliseconds = statistics.median(values) / number
        relative = timing.ratio(values, times["1"]) / number
        numbers = f"{milliseconds:.3f}", f"{relative:.2f}", timing.mebibytes(own, 1)
        rows.append((name, *numbers, timing.mebibytes(added, 2)))
        before = name
    return timing.make_table(title, (*columns, "MiB per network"), rows)
