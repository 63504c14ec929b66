"""Cost of a checkpoint after every epoch, in time and bytes."""

import itertools
import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.benchmark import timing
from experiments.benchmark.models import Model
from experiments.config import flat
from experiments.data import Dataset
from experiments.runs import records
from experiments.runs.checkpoints import Checkpoints

WITHOUT, WITH = "without", "with a checkpoint"


def compare(model: Model, steps: int, repeats: int) -> None:
    """Measure and print the cost of a checkpoint per epoch of a number of steps."""
    dataset = repeated(model.digits(), steps * model.batch_size)
    trainer, console = model.make_trainer(dataset), Console()
    train, numbers, blocked = timing.epochs_of(trainer), itertools.count(), []
    described = records.config("benchmark", flat(model.config), dataset)
    row = {f"a typical key {number}": 1 / 3 for number in range(30)}
    rows = [[row]] * (model.config.EPOCHS[model.config.PREFERRED] + 1)  # a whole run
    with (
        tempfile.TemporaryDirectory() as folder,
        Checkpoints(Path(folder), described, console) as checkpoints,
    ):

        def save() -> None:
            start, number = time.perf_counter(), next(numbers)
            checkpoints.save(number, trainer.carry, {"rows": rows}, score=number)
            blocked.append((time.perf_counter() - start) * 1e3)

        def save_and_train(epochs: int) -> None:
            save()  # before the epoch, which writing in the background slows
            train(epochs)
            checkpoints.wait()

        for _ in range(3):  # from the third on, each removes an old one
            save()
            checkpoints.wait()
        memory = sum(leaf.nbytes for leaf in jax.tree.leaves(trainer.carry))
        files = Path(folder, "2").rglob("*")
        disk = sum(file.stat().st_size for file in files if file.is_file())
        del blocked[:]
        times = timing.measure({WITHOUT: train, WITH: save_and_train}, 1, repeats)
    console.print(table(times, blocked, f"{model}, {steps:,} steps per epoch"))
    print(f"A checkpoint: {memory:,} bytes in memory, {disk:,} bytes on disk.")


def repeated(dataset: Dataset, number: int) -> Dataset:
    """Return a number of training images: those of the dataset, over and over."""
    chosen, none = np.arange(number) % len(dataset.images), range(0)
    images, labels = dataset.images[chosen], dataset.labels[chosen]
    split = {"train": range(number), "validation": none, "test": none}
    return dataset._replace(images=images, labels=labels, **split)


def table(times: timing.Times, blocked: list[float], title: str) -> Table:
    """Make a table with the share of an epoch that a checkpoint adds.

    The share is the median of the repeats' own; beside it stand their quartiles.
    """
    columns = ("epoch", "seconds", "share (%)", "quartiles (%)", "save blocks (ms)")
    without, saved = (f"{statistics.median(own) / 1e3:.3f}" for own in times.values())
    shares = 100 * (np.divide(times[WITH], times[WITHOUT]) - 1)
    low, share, high = np.quantile(shares, [1 / 4, 1 / 2, 3 / 4])
    range_, block = f"{low:.1f} to {high:.1f}", f"{statistics.median(blocked):.1f}"
    rows = [
        (WITHOUT, without, "-", "-", "-"),
        (WITH, saved, f"{share:.1f}", range_, block),
    ]
    return timing.make_table(title, columns, rows)
