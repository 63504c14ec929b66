"""Cost of a checkpoint after every epoch, in time and bytes."""

import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

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


def compare(model: Model, console: Console, steps: int, repeats: int) -> None:
    """Measure and print the cost of a checkpoint per epoch of a number of steps."""
    dataset = repeated(model.digits(), steps * model.batch_size)
    trainer = model.make_trainer(dataset)
    train, numbers, blocked = timing.epochs_of(trainer), itertools.count(), []
    described = records.config("benchmark", flat(model.config), dataset)
    epochs = model.config.EPOCHS[model.config.PREFERRED]
    row = {f"a typical key {number}": 1 / 3 for number in range(30)}
    recorded = {"rows": [[row]] * (epochs + 1)}  # about those of a whole run
    with (
        tempfile.TemporaryDirectory() as folder,
        Checkpoints(Path(folder), described, console) as checkpoints,
    ):

        def save() -> int:
            start, number = time.perf_counter(), next(numbers)
            checkpoints.save(number, trainer.carry, recorded, score=number)
            blocked.append((time.perf_counter() - start) * 1e3)
            return number

        def save_and_train(epochs: int) -> None:
            for _ in range(epochs):
                save()  # before the epoch, which writing in the background slows
                train(1)
            checkpoints.wait()

        for _ in range(3):  # from the third on, each removes an old one
            newest = save()
            checkpoints.wait()
        sizes = describe_sizes(trainer.carry, Path(folder) / str(newest))
        del blocked[:]
        times = timing.measure({WITHOUT: train, WITH: save_and_train}, 1, repeats)
    console.print(table(times, blocked, f"{model}, {steps:,} steps per epoch"))
    console.print(sizes, highlight=False)


def repeated(dataset: Dataset, number: int) -> Dataset:
    """Return a number of training images: those of the dataset, over and over."""
    chosen = np.arange(number) % len(dataset.images)
    return dataset._replace(
        images=dataset.images[chosen],
        labels=dataset.labels[chosen],
        train=range(number),
        validation=range(0),
        test=range(0),
    )


def table(times: timing.Times, blocked: list[float], title: str) -> Table:
    """Make a table of both times and the share of an epoch that a checkpoint adds.

    The share is the median of the repeats' own; beside it stand their quartiles.
    """
    columns = ("epoch", "seconds", "share (%)", "quartiles (%)", "save blocks (ms)")
    without, saved = (statistics.median(times[name]) / 1e3 for name in (WITHOUT, WITH))
    pairs = zip(times[WITHOUT], times[WITH], strict=True)
    low, share, high = np.quantile(
        [100 * (b / a - 1) for a, b in pairs], [1 / 4, 1 / 2, 3 / 4]
    )
    range_, block = f"{low:.1f} to {high:.1f}", f"{statistics.median(blocked):.1f}"
    rows = [
        (WITHOUT, f"{without:.3f}", "-", "-", "-"),
        (WITH, f"{saved:.3f}", f"{share:.1f}", range_, block),
    ]
    return timing.make_table(title, columns, rows)


def describe_sizes(carry: Any, checkpoint: Path) -> str:
    """Return the bytes of a training's state, in memory and as a checkpoint."""
    memory = sum(leaf.nbytes for leaf in jax.tree.leaves(carry))
    files = [file for file in checkpoint.rglob("*") if file.is_file()]
    disk = sum(file.stat().st_size for file in files)
    return f"A checkpoint: {memory:,} bytes in memory, {disk:,} bytes on disk."
