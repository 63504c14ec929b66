"""Times measured side by side, their ratios, and tables."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich import box
from rich.table import Column, Table

from experiments.training.trainer import Trainer

# Trains for a number of steps or epochs and waits for the end.
Runner = Callable[[int], object]
# Name -> milliseconds per step, batch or epoch, one number per repeat.
Times = dict[str, list[float]]


def measure(runners: Mapping[str, Runner], number: int, repeats: int) -> Times:
    """Time runners in turns, so that other load on the machine slows all alike."""
    times: Times = {name: [] for name in runners}
    for _ in range(repeats):
        for name, run in runners.items():
            start = time.perf_counter()
            run(number)
            times[name].append((time.perf_counter() - start) / number * 1e3)
    return times


def epochs_of(trainer: Trainer) -> Runner:
    """Return a runner that trains on, past the epochs that set the chunks' length."""
    epochs = itertools.count(1)

    def run(number: int) -> None:
        for epoch in itertools.islice(epochs, number):
            list(trainer.epoch(epoch))

    run(3)
    return run


def ratio(values: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median of the repeats' own ratios, which cancel the machine's load."""
    pairs = zip(values, reference, strict=True)
    return statistics.median(value / other for value, other in pairs)


def cells(values: Sequence[float], reference: Sequence[float]) -> tuple[str, str]:
    """Format the median and the ratio to a reference."""
    return f"{statistics.median(values):.3f}", f"{ratio(values, reference):.2f}"


def make_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> Table:
    """Make a table of names, in the first column, and numbers."""
    numbers = [Column(name, justify="right") for name in columns[1:]]
    first = Column(columns[0], no_wrap=True)
    table = Table(first, *numbers, title=title, box=box.SIMPLE_HEAVY)
    for row in rows:
        table.add_row(*row)
    return table


def mebibytes(number: float, digits: int) -> str:
    """Format a number of bytes; NaN is unknown."""
    return "-" if math.isnan(number) else f"{number / 2**20:,.{digits}f}"
