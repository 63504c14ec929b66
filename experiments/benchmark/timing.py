"""Times measured side by side, their ratios, and tables."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich import box
from rich.table import Table

from experiments.training.trainer import Trainer

# Trains for a number of steps or epochs and waits for the end.
Runner = Callable[[int], object]
# Name -> milliseconds per step, batch or epoch, one number per repeat.
Times = dict[str, list[float]]


def measure(runners: Mapping[str, Runner], number: int, repeats: int) -> Times:
    """Time runners in turns, so that other load on the machine slows all alike.

    In each repeat, every runner does a `number` of steps, batches or epochs.
    """
    times: Times = {name: [] for name in runners}
    for _ in range(repeats):
        for name, run in runners.items():
            start = time.perf_counter()
            run(number)
            times[name].append((time.perf_counter() - start) / number * 1e3)
    return times


def measure_trainers(
    trainers: Mapping[str, Trainer], steps: int, repeats: int
) -> Times:
    """Time steps of trainers in whole epochs, at least one per repeat."""
    per_epoch = next(iter(trainers.values())).steps_per_epoch
    runners = {name: epochs_of(trainer) for name, trainer in trainers.items()}
    times = measure(runners, max(1, steps // per_epoch), repeats)
    return {name: [t / per_epoch for t in values] for name, values in times.items()}


def epochs_of(trainer: Trainer) -> Runner:
    """Return a runner that trains on, past the epochs that set the chunks' length."""
    epochs = itertools.count(1)

    def run(number: int) -> None:
        for _ in range(number):
            for _ in trainer.epoch(next(epochs)):
                pass

    run(3)
    return run


def ratio(values: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median of the repeats' own ratios, which cancel the machine's load.

    Example:
      >>> from experiments.benchmark.timing import ratio
      >>> ratio([2.0, 3.0, 8.0], [1.0, 1.0, 2.0])
      3.0
    """
    pairs = zip(values, reference, strict=True)
    return statistics.median(value / other for value, other in pairs)


def make_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> Table:
    """Make a table of names, in the first column, and numbers."""
    table = Table(title=title, box=box.SIMPLE_HEAVY)
    table.add_column(columns[0], no_wrap=True)
    for column in columns[1:]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def mebibytes(number: float | None, digits: int) -> str:
    """Format a number of bytes; None is unknown."""
    return "-" if number is None else f"{number / 2**20:,.{digits}f}"
