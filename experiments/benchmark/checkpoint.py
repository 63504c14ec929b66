"""What a checkpoint after every epoch costs, in time and bytes; see `benchmark`."""

import contextlib
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import bopt
from experiments.config import Config, resolve
from experiments.data import Dataset
from experiments.runs import records
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.directory import nulled
from experiments.training.optimizers import compose
from experiments.training.progress import Scores
from experiments.training.trainer import SPLITS, Trainer

WITHOUT, WITH = "without", "with a checkpoint"
MASKS = "masks"


class Training(NamedTuple):
    """A training that goes on, with checkpoints or without.

    Attributes:
      runners: name -> what trains for so many epochs.
      blocked: grows by the milliseconds that each save keeps the training from going
        on.
      trainer: whose `carry` is the state so far.
      checkpoint: saves that state, and returns the checkpoint's folder.
    """

    runners: dict[str, Callable[[int], None]]
    blocked: list[float]
    trainer: Trainer
    checkpoint: Callable[[], Path]


def repeated(dataset: Dataset, number: int) -> Dataset:
    """So many training images: those there are, over and over.

    Example:
      >>> from experiments import data
      >>> from experiments.benchmark.checkpoint import repeated
      >>> repeated(data.load("digits"), 55_000).images.shape
      (55000, 28, 28, 1)
    """
    chosen = np.arange(number) % len(dataset.images)
    return dataset._replace(
        images=dataset.images[chosen],
        labels=dataset.labels[chosen],
        train=range(number),
        validation=range(0),
        test=range(0),
    )


@contextlib.contextmanager
def training(module: Any, config: Config, dataset: Dataset) -> Iterator[Training]:
    """A training as the network's experiment has it, one epoch behind it.

    Args:
      module: a Flax Linen module from (images, train) to logits.
      config: its experiment's options.
      dataset: the images.
    """
    config = resolve(config, config.PREFERRED)
    steps = len(dataset.train) // config.batch_size
    trainer = Trainer(module, compose(config, steps), dataset, config)
    epochs, saves, blocked = itertools.count(1), itertools.count(), []

    def train(number: int) -> None:
        for _ in range(number):
            for _ in trainer.epoch(next(epochs)):
                pass

    train(1)  # then the trainer knows its pace
    written = _recorded(config, dataset, trainer)
    with (
        tempfile.TemporaryDirectory() as folder,
        Checkpoints(
            Path(folder), records.config("benchmark", config, dataset), Console()
        ) as checkpoints,
    ):

        def save() -> int:
            step = next(saves)
            checkpoints.save(step, trainer.carry, written, score=step)
            return step

        def checkpoint() -> Path:
            step = save()
            checkpoints.wait()
            return Path(folder) / str(step)

        def train_and_save(number: int) -> None:
            for _ in range(number):
                # Before the epoch, not after: so whatever Orbax does in the background
                # slows what is measured.
                start = time.perf_counter()
                save()
                blocked.append((time.perf_counter() - start) * 1e3)
                train(1)
            checkpoints.wait()

        for _ in range(3):  # from the third on, an old one is removed
            checkpoint()
        runners = {WITHOUT: train, WITH: train_and_save}
        yield Training(runners, blocked, trainer, checkpoint)


def _recorded(config: Config, dataset: Dataset, trainer: Trainer) -> dict[str, Any]:
    """As much as a run has recorded at its end, when there is the most of it."""
    third = 1 / 3  # of as many digits as any number
    sparsity = records.sparsity(jax.device_get(trainer.params))
    row = records.epoch(
        epoch=config.epochs or 0,
        step=trainer.steps_per_epoch,
        seconds=third,
        learning_rate=third,
        objectives=[third] * 2,
        weights=[third] * 2,
        scores=dict.fromkeys(SPLITS, Scores(third, third)),
        sparsity=sparsity,
    )
    summary = records.summary(
        options=config,
        dataset=dataset,
        row=row,
        sparsity=sparsity,
        seconds_compile=third,
        steps_per_second=third,
        finished=False,
    )
    rows = [[nulled(row)] for _ in range((config.epochs or 0) + 1)]
    return {"rows": rows, "summaries": [nulled(summary)], "training_seconds": third}


def times_table(
    times: dict[str, list[float]], blocked: list[float], title: str
) -> Table:
    """Seconds an epoch, and the share of it that a checkpoint takes.

    Args:
      times: `WITHOUT` and `WITH` -> milliseconds an epoch, one number a repeat.
      blocked: milliseconds of each save before the training goes on.
      title: of the table.

    Returns:
      A table. The share is the median of the repeats' own, and beside it is the range
      of the half of them around it.

    Example:
      >>> from rich.console import Console
      >>> from experiments.benchmark.checkpoint import WITH, WITHOUT, times_table
      >>> times = {WITHOUT: [3500.0, 4000.0], WITH: [3535.0, 4120.0]}
      >>> Console(width=80).print(
      ...     times_table(times, [25.0], "LeNet-5"))  # doctest: +ELLIPSIS
      <BLANKLINE>
      ...
         without                  3.750           -             -                 -
         with a checkpoint        3.828         2.0    1.5 to 2.5              25.0
      <BLANKLINE>
    """
    result = Table(title=title, box=box.SIMPLE_HEAVY)
    result.add_column("epoch", no_wrap=True)
    for column in ("seconds", "share (%)", "half of repeats", "save blocks (ms)"):
        result.add_column(column, justify="right")
    without, saved = times[WITHOUT], times[WITH]
    shares = [(b / a - 1) * 100 for a, b in zip(without, saved, strict=True)]
    low, share, high = np.quantile(shares, [0.25, 0.5, 0.75])
    result.add_row(WITHOUT, f"{statistics.median(without) / 1e3:.3f}", "-", "-", "-")
    result.add_row(
        WITH,
        f"{statistics.median(saved) / 1e3:.3f}",
        f"{share:.1f}",
        f"{low:.1f} to {high:.1f}",
        f"{statistics.median(blocked):.1f}",
    )
    return result


def parts(carry: Any) -> dict[str, Any]:
    """A trainer's carry by what it consists of: name -> tree.

    Args:
      carry: see `experiments.training.step.Carry`.

    Returns:
      Parameters; batch statistics; masks; and the optimizer's moments with all the
      rest, which is a few numbers.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> from experiments.benchmark.checkpoint import parts
      >>> from experiments.training.step import Carry
      >>> params = {"kernel": jnp.ones((2, 2))}
      >>> opt_state = bopt.prune().init(params)
      >>> carry = Carry(params, {}, opt_state, *[jnp.zeros(2)] * 4)
      >>> parts(carry)["masks"][0]["kernel"].shape
      (2, 2)
    """
    masks = []

    def without(node):
        if not _is_pruning(node):
            return node
        masks.append(node.mask)
        return node._replace(mask=())

    opt_state = jax.tree.map(without, carry.opt_state, is_leaf=_is_pruning)
    return {
        "parameters": carry.params,
        "batch statistics": carry.model_state,
        "moments": carry._replace(params=(), model_state=(), opt_state=opt_state),
        MASKS: masks,
    }


def _is_pruning(node: Any) -> bool:
    return isinstance(node, bopt.PruneState)


def sizes_table(carry: Any, checkpoint: Path) -> Table:
    """Bytes in memory and on disk of each part of a trainer's state.

    Args:
      carry: the state.
      checkpoint: the folder of a checkpoint of it.

    Returns:
      A table. A part's bytes on disk are those of a checkpoint of it alone, compressed
      and with its description, less those of an empty one.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import bopt, jax.numpy as jnp
      >>> from experiments.benchmark.checkpoint import sizes_table
      >>> from experiments.training.step import Carry
      >>> params = {"kernel": jnp.ones((2, 2))}
      >>> opt_state = bopt.prune().init(params)
      >>> carry = Carry(params, {}, opt_state, *[jnp.zeros(2)] * 4)
      >>> table = sizes_table(carry, Path(tempfile.mkdtemp()))
      >>> list(table.columns[1].cells)[:4]
      ['16', '0', '36', '4']
    """
    own = parts(carry)
    packed = jax.tree.map(jnp.packbits, own[MASKS])
    # By saving all but a part, its bytes would be a difference of large numbers, which
    # vary by one in a hundred from save to save.
    empty, all_of_it = _saved_bytes({}), _folder_bytes(checkpoint)
    on_disk = {name: _saved_bytes(tree) - empty for name, tree in own.items()}
    rows = {name: (_bytes(tree), on_disk[name]) for name, tree in own.items()}
    rows["all else"] = 0, all_of_it - sum(on_disk.values())
    rows["all"] = _bytes(own), all_of_it
    rows["masks, were they packed"] = _bytes(packed), _saved_bytes(packed) - empty
    masks = jax.tree.leaves(own[MASKS])
    kept, entries = sum(m.sum().item() for m in masks), sum(m.size for m in masks)
    title = f"Bytes of a checkpoint, {1 - kept / max(entries, 1):.1%} pruned"
    result = Table(title=title, box=box.SIMPLE_HEAVY)
    result.add_column("part", no_wrap=True)
    for column in ("in memory", "on disk", "share of disk (%)"):
        result.add_column(column, justify="right")
    for name, (memory, disk) in rows.items():
        share = 100 * disk / max(all_of_it, 1)
        result.add_row(name, f"{memory:,}", f"{disk:,}", f"{share:.1f}")
    return result


def _bytes(tree: Any) -> int:
    return sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
    )


def _saved_bytes(tree: Any) -> int:
    """What a checkpoint of this tree takes on disk."""
    with tempfile.TemporaryDirectory() as folder:
        with Checkpoints(Path(folder), {}, Console()) as checkpoints:
            checkpoints.save(0, {"part": tree}, {})  # Orbax refuses an empty tree
        return _folder_bytes(Path(folder))


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
