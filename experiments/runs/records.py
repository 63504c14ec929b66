"""What the files of a run directory hold: the keys that readers rely on.

``config.json``: every option as resolved, and `experiment`, `seed`, `dataset_found`,
`dataset_title`, `data_source`, `sizes` (split -> images), `versions` (of packages, and
the commit), `device` (`platform`, `kind` and `count`; the `processor`, its `cores`).

``metrics.jsonl``, one object an epoch, epoch 0 being before training (`weights` and
`learning_rate` null): `epoch`; `step`, of the whole run; `seconds` since the program
began; `learning_rate` of the epoch's last step; `objectives` and `weights`, means over
the epoch (with --split, weights are an object, group of layers -> means); `train_`,
`validation_` and `test_accuracy` (0 to 1) and `_cross_entropy`
(nats; train on at most 10,000 fixed images); `l1` of the dense kernels; `nonzeros`,
dense layer -> count; `nonzeros_conv`, convolution -> count of its kernel;
`dense_sparsity`, `conv_sparsity` (null without convolutions) and `total_sparsity`
(0 to 1).

``summary.json``: the final figures, see `summary`; `finished` says whether all epochs
were trained.
"""

import dataclasses
import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import jax

import bopt
from experiments.config import KERNELS, Config
from experiments.data import Dataset
from experiments.training.progress import Scores

_PACKAGES = ("bopt-jax", "jax", "jaxlib", "flax", "optax", "numpy")


def config(experiment: str, options: Config, dataset: Dataset) -> dict[str, Any]:
    """The content of config.json.

    Args:
      experiment: the program's name.
      options: resolved options.
      dataset: what was found.

    Returns:
      A dictionary for JSON.

    Example:
      >>> from experiments import data
      >>> from experiments.runs import records
      >>> from experiments.config import Config
      >>> digits = data.load("digits")
      >>> records.config("mnist_lenet", Config(), digits)["sizes"]
      {'train': 1294, 'validation': 143, 'test': 360}
    """
    device = jax.devices()[0]
    return {
        "experiment": experiment,
        **dataclasses.asdict(options),
        "dataset_found": dataset.name,
        "dataset_title": dataset.title,
        "data_source": dataset.source,
        "sizes": {
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
            "commit": _commit(),
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
            "processor": processor(),
            "cores": os.cpu_count(),
        },
    }


class Sparsity(NamedTuple):
    """What is left of the parameters.

    Attributes:
      report: of the dense kernels, and in total.
      conv_layers: path -> `bopt.sparsity.Count` of every convolution kernel.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> from experiments.runs.records import Sparsity
      >>> count = bopt.sparsity.Count(entries=4, nonzeros=1, l1=2.0, bytes=16)
      >>> report = bopt.sparsity.report({"kernel": jnp.eye(2)})
      >>> Sparsity(report, {"Conv_0/kernel": count}).conv_sparsity
      0.75
    """

    report: bopt.sparsity.Report
    conv_layers: dict[str, bopt.sparsity.Count]

    @property
    def conv_entries(self) -> int:
        """Number of entries of the convolution kernels."""
        return sum(count.entries for count in self.conv_layers.values())

    @property
    def conv_nonzeros(self) -> int:
        """Number of those that are not 0."""
        return sum(count.nonzeros for count in self.conv_layers.values())

    @property
    def conv_sparsity(self) -> float | None:
        """Share of zeros among them; None without any."""
        entries = self.conv_entries
        return 1 - self.conv_nonzeros / entries if entries else None


def sparsity(params: Any) -> Sparsity:
    """Counts what is left of the parameters.

    Args:
      params: the parameters, best on the host.

    Returns:
      A `Sparsity`.

    Example:
      >>> import jax.numpy as jnp
      >>> from experiments.runs import records
      >>> params = {"conv": jnp.ones((1, 1, 1, 2)), "dense": jnp.eye(2)}
      >>> records.sparsity(params).conv_layers["conv"].nonzeros
      2
    """
    report = bopt.sparsity.report(params)
    layers = bopt.sparsity.report(params, KERNELS["all"]).layers
    conv = {path: layers[path] for path in layers if path not in report.layers}
    return Sparsity(report, conv)


def epoch(
    *,
    epoch: int,
    step: int,
    seconds: float,
    learning_rate: float | None,
    objectives: list[float],
    weights: list[float] | dict[str, list[float]] | None,
    scores: dict[str, Scores],
    sparsity: Sparsity,
) -> dict[str, Any]:
    """A line of metrics.jsonl; see the module's text for the keys.

    Example:
      >>> import jax.numpy as jnp
      >>> from experiments.runs import records
      >>> from experiments.training.progress import Scores
      >>> params = {"params": {"Dense_0": {"kernel": jnp.eye(2)}}}
      >>> row = records.epoch(
      ...     epoch=0, step=0, seconds=1.0, learning_rate=None, objectives=[2.3, 2.0],
      ...     weights=None, scores={"test": Scores(0.1, 2.3)},
      ...     sparsity=records.sparsity(params))
      >>> row["nonzeros"], row["test_accuracy"]
      ({'Dense_0': 2}, 0.1)
    """
    return {
        "epoch": epoch,
        "step": step,
        "seconds": seconds,
        "learning_rate": learning_rate,
        "objectives": objectives,
        "weights": weights,
        **{
            f"{split}_{name}": value
            for split, score in scores.items()
            for name, value in score._asdict().items()
        },
        "l1": sparsity.report.dense.l1,
        "nonzeros": _nonzeros(sparsity.report.layers),
        "nonzeros_conv": _nonzeros(sparsity.conv_layers),
        "dense_sparsity": sparsity.report.dense_sparsity,
        "conv_sparsity": sparsity.conv_sparsity,
        "total_sparsity": sparsity.report.total_sparsity,
    }


def _nonzeros(layers: dict[str, bopt.sparsity.Count]) -> dict[str, int]:
    return {
        path.removeprefix("params/").removesuffix("/kernel"): count.nonzeros
        for path, count in layers.items()
    }


def summary(
    *,
    options: Config,
    dataset: Dataset,
    row: dict[str, Any],
    sparsity: Sparsity,
    seconds_compile: float,
    steps_per_second: float | None,
    finished: bool,
) -> dict[str, Any]:
    """The content of summary.json, after the epoch that `row` is about.

    Example:
      >>> import jax.numpy as jnp
      >>> from experiments import data
      >>> from experiments.runs import records
      >>> from experiments.config import Config
      >>> row = dict(epoch=3, step=30, seconds=9.0, test_accuracy=0.9,
      ...            test_cross_entropy=0.3, validation_accuracy=0.9)
      >>> summary = records.summary(
      ...     options=Config(), dataset=data.load("digits"), row=row,
      ...     sparsity=records.sparsity({"kernel": jnp.eye(2)}),
      ...     seconds_compile=1.0, steps_per_second=10.0, finished=True)
      >>> summary["nonzero_dense"]
      2
    """
    report = sparsity.report
    return {
        "dataset": dataset.name,
        "data_source": dataset.source,
        "optimizer": options.optimizer,
        "seed": options.seed,
        "epochs": row["epoch"],
        "steps": row["step"],
        "test_accuracy": row["test_accuracy"],
        "test_cross_entropy": row["test_cross_entropy"],
        "validation_accuracy": row["validation_accuracy"],
        "l1": report.dense.l1,
        "nonzero_dense": report.dense.nonzeros,
        "entries_dense": report.dense.entries,
        "nonzero_conv": sparsity.conv_nonzeros,
        "entries_conv": sparsity.conv_entries,
        "nonzero_total": report.total.nonzeros,
        "entries_total": report.total.entries,
        "dense_sparsity": report.dense_sparsity,
        "conv_sparsity": sparsity.conv_sparsity,
        "total_sparsity": report.total_sparsity,
        "seconds_total": row["seconds"],
        "seconds_compile": seconds_compile,
        "steps_per_second": steps_per_second,
        "finished": finished,
    }


def processor() -> str:
    """The name of this machine's processor, as far as it is known.

    Example:
      >>> from experiments.runs.records import processor
      >>> bool(processor())
      True
    """
    try:
        with open("/proc/cpuinfo") as file:
            names = (line for line in file if line.startswith("model name"))
            return next(names).partition(":")[2].strip()
    except (OSError, StopIteration):  # not Linux: the processor's family will do
        return platform.processor() or platform.machine()


@functools.cache
def _commit() -> str | None:
    """Of the repository that this is run from; None if it is installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    words += ["--exclude=*"]  # tags
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    """None for a package that is not installed: bopt itself, run from its sources."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
