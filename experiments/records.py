"""What the files of a run directory hold: the keys that readers rely on.

``config.json``: every option as resolved, and `experiment`, `seed`, `dataset_found`,
`dataset_title`, `data_source`, `sizes` (split -> images), `versions`, `device`.

``metrics.jsonl``, one object an epoch, epoch 0 being before training (`weights` and
`learning_rate` null): `epoch`; `step`, of the whole run; `seconds` since the program
began; `learning_rate` of the epoch's last step; `objectives` and `weights`, means over
the epoch; `train_`, `validation_` and `test_accuracy` (0 to 1) and `_cross_entropy`
(nats; train on at most 10,000 fixed images); `l1` of the dense kernels; `nonzeros`,
dense layer -> count; `dense_sparsity` and `total_sparsity` (0 to 1).

``summary.json``: the final figures, see `summary`; `finished` says whether all epochs
were trained.
"""

import dataclasses
import importlib.metadata
import platform
from typing import Any

import jax

import bopt
from experiments.config import Config
from experiments.data import Dataset
from experiments.train import Scores

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
      >>> from experiments import data, records
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
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
        },
    }


def epoch(
    *,
    epoch: int,
    step: int,
    seconds: float,
    learning_rate: float | None,
    objectives: list[float],
    weights: list[float] | None,
    scores: dict[str, Scores],
    report: bopt.sparsity.Report,
) -> dict[str, Any]:
    """A line of metrics.jsonl; see the module's text for the keys.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> from experiments import records
      >>> from experiments.train import Scores
      >>> report = bopt.sparsity.report({"params": {"Dense_0": {"kernel": jnp.eye(2)}}})
      >>> row = records.epoch(
      ...     epoch=0, step=0, seconds=1.0, learning_rate=None, objectives=[2.3, 2.0],
      ...     weights=None, scores={"test": Scores(0.1, 2.3)}, report=report)
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
        "l1": report.dense.l1,
        "nonzeros": {
            path.removeprefix("params/").removesuffix("/kernel"): count.nonzeros
            for path, count in report.layers.items()
        },
        "dense_sparsity": report.dense_sparsity,
        "total_sparsity": report.total_sparsity,
    }


def summary(
    *,
    options: Config,
    dataset: Dataset,
    row: dict[str, Any],
    report: bopt.sparsity.Report,
    seconds_compile: float,
    steps_per_second: float | None,
    finished: bool,
) -> dict[str, Any]:
    """The content of summary.json, after the epoch that `row` is about.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> from experiments import data, records
      >>> from experiments.config import Config
      >>> row = dict(epoch=3, step=30, seconds=9.0, test_accuracy=0.9,
      ...            test_cross_entropy=0.3, validation_accuracy=0.9)
      >>> summary = records.summary(
      ...     options=Config(), dataset=data.load("digits"), row=row,
      ...     report=bopt.sparsity.report({"kernel": jnp.eye(2)}),
      ...     seconds_compile=1.0, steps_per_second=10.0, finished=True)
      >>> summary["nonzero_dense"]
      2
    """
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
        "nonzero_total": report.total.nonzeros,
        "entries_total": report.total.entries,
        "dense_sparsity": report.dense_sparsity,
        "total_sparsity": report.total_sparsity,
        "seconds_total": row["seconds"],
        "seconds_compile": seconds_compile,
        "steps_per_second": steps_per_second,
        "finished": finished,
    }


def _version(package: str) -> str | None:
    """None for a package that is not installed: bopt itself, run from its sources."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
