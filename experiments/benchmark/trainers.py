"""Speed of many networks that train as one program, and of several devices."""

import math
import statistics
from collections.abc import Mapping, Sequence

import jax
import rich
from rich.table import Table

from experiments.benchmark import timing
from experiments.benchmark.models import Model
from experiments.benchmark.timing import Times
from experiments.devices import data_devices
from experiments.training.trainer import Trainer


def compare_networks(
    model: Model, steps: int, repeats: int, numbers: Sequence[int]
) -> None:
    """Measure and print one row per number of networks, 1 in any case."""
    if not numbers:
        numbers = (4, 16) + (64, 256) * (jax.default_backend() != "cpu")
    dataset, trainers, memory = model.digits(), {}, {}
    for number in sorted({1, *numbers}):
        trainer = model.make_trainer(dataset, number, optimizer=model.optimizer)
        trainers[str(number)] = trainer
        memory[str(number)] = trainer.memory and trainer.memory * trainer.devices
    title = f"{model}, {jax.device_count()} devices"
    rich.print(networks_table(measure(trainers, steps, repeats), memory, title))


def compare_devices(model: Model, steps: int, repeats: int) -> None:
    """Measure and print one row per number of devices that a batch is split across."""
    available = jax.device_count()
    numbers = [number for number in (1, 2, 4, 8) if number <= available]
    for number in numbers:  # before anything is compiled
        data_devices(number, model.batch_size)
    dataset = model.digits()
    trainers = {str(n): model.make_trainer(dataset, devices=n) for n in numbers}
    title = f"{model}, {available} x {jax.devices()[0].device_kind}"
    rich.print(devices_table(measure(trainers, steps, repeats), title))
    if jax.default_backend() == "cpu":
        print("CPU devices share the cores: splitting a batch works, without a gain.")


def measure(trainers: Mapping[str, Trainer], steps: int, repeats: int) -> Times:
    """Time steps of trainers in whole epochs, at least one per repeat."""
    per_epoch = next(iter(trainers.values())).steps_per_epoch
    runners = {name: timing.epochs_of(trainer) for name, trainer in trainers.items()}
    times = timing.measure(runners, max(1, steps // per_epoch), repeats)
    return {name: [t / per_epoch for t in values] for name, values in times.items()}


def networks_table(times: Times, memory: dict[str, int | None], title: str) -> Table:
    """Make a table of ascending numbers of networks, the first of them 1.

    Times are those of a step of all networks, bytes those on all devices. The last
    column is the memory that each network adds to the row before; if that row uses
    fewer devices, the further devices' copies of the images are included.
    """
    columns = ("networks", "ms per step and network", "ratio", "memory (MiB)")
    rows, before, less = [], 0, math.nan
    for name, values in times.items():
        number, own = int(name), memory[name] or math.nan
        cells = timing.cells([value / number for value in values], times["1"])
        added = timing.mebibytes((own - less) / (number - before), 2)
        rows.append((name, *cells, timing.mebibytes(own, 1), added))
        before, less = number, own
    return timing.make_table(title, (*columns, "MiB per network"), rows)


def devices_table(times: Times, title: str) -> Table:
    """Make a table of speeds; a ratio above 1 is faster than the first row."""
    one, rows = next(iter(times.values())), []
    for name, values in times.items():
        speed = 1e3 / statistics.median(values)
        rows.append((name, f"{speed:,.1f}", f"{timing.ratio(one, values):.2f}"))
    return timing.make_table(title, ("devices", "steps per second", "ratio"), rows)
