"""Content of the files of a run directory, see `experiments.runs.schema`."""

import functools
import importlib.metadata
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

import bopt
from experiments.data import Dataset

# Selections of kernels by rank, and of dense layers by path, as the options name them.
KERNELS = {"dense": 2, "conv": 4, "all": bopt.union(2, 4), "dense_layers": "*Dense_*"}
SPLITS = ("train", "validation", "test")
_PACKAGES = ("bopt-jax", "jax", "jaxlib", "flax", "optax", "numpy")


class Scores(NamedTuple):
    """Accuracy (0 to 1) and mean cross entropy (nats) over a split."""

    accuracy: float
    cross_entropy: float


class Sparsity(NamedTuple):
    """Counts of dense kernels and of all parameters, and of each convolution kernel."""

    report: bopt.sparsity.Report
    conv_layers: dict[str, bopt.sparsity.Count]


def sparsity(params: Any) -> Sparsity:
    """Count what is left of the parameters, which are best on the host."""
    report = bopt.sparsity.report(params)
    layers = bopt.sparsity.report(params, KERNELS["all"]).layers
    conv = {path: layers[path] for path in layers if path not in report.layers}
    return Sparsity(report, conv)


def config(
    experiment: str, options: dict[str, Any], dataset: Dataset
) -> dict[str, Any]:
    """Return the content of config.json from the resolved options."""
    device = jax.devices()[0]
    return {
        "experiment": experiment,
        **options,
        "dataset_found": dataset.name,
        "dataset_title": dataset.title,
        "data_source": dataset.source,
        "sizes": {split: len(getattr(dataset, split)) for split in SPLITS},
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


def epoch(
    *,
    epoch: int,
    step: int,
    seconds: float,
    learning_rate: float | None,
    objectives: list[float],
    weights: list[float] | dict[str, list[float]] | None,
    stationarity: float | None,
    scores: dict[str, Scores],
    sparsity: Sparsity,
) -> dict[str, Any]:
    """Return a line of metrics.jsonl."""
    conv = _nonzeros(sparsity.conv_layers)
    entries = sum(count.entries for count in sparsity.conv_layers.values())
    return {
        "epoch": epoch,
        "step": step,
        "seconds": seconds,
        "learning_rate": learning_rate,
        "objectives": objectives,
        "weights": weights,
        "stationarity": stationarity,
        **{
            f"{split}_{name}": value
            for split, score in scores.items()
            for name, value in score._asdict().items()
        },
        "l1": sparsity.report.dense.l1,
        "nonzeros": _nonzeros(sparsity.report.layers),
        "nonzeros_conv": conv,
        "dense_sparsity": sparsity.report.dense_sparsity,
        "conv_sparsity": 1 - sum(conv.values()) / entries if entries else None,
        "total_sparsity": sparsity.report.total_sparsity,
    }


def _nonzeros(layers: dict[str, bopt.sparsity.Count]) -> dict[str, int]:
    return {
        path.removeprefix("params/").removesuffix("/kernel"): count.nonzeros
        for path, count in layers.items()
    }


def summary(
    *,
    optimizer: str,
    dataset: Dataset,
    row: dict[str, Any],
    sparsity: Sparsity,
    seconds_compile: float,
    steps_per_second: float | None,
    finished: bool,
) -> dict[str, Any]:
    """Return the content of summary.json after the epoch that `row` describes."""
    scores = ("test_accuracy", "test_cross_entropy", "validation_accuracy", "l1")
    sparsities = ("dense_sparsity", "conv_sparsity", "total_sparsity")
    report, conv = sparsity.report, sparsity.conv_layers.values()
    return {
        "dataset": dataset.name,
        "data_source": dataset.source,
        "optimizer": optimizer,
        "epochs": row["epoch"],
        "steps": row["step"],
        **{key: row[key] for key in scores},
        "nonzero_dense": report.dense.nonzeros,
        "entries_dense": report.dense.entries,
        "nonzero_conv": sum(count.nonzeros for count in conv),
        "entries_conv": sum(count.entries for count in conv),
        "nonzero_total": report.total.nonzeros,
        "entries_total": report.total.entries,
        **{key: row[key] for key in sparsities},
        "seconds_total": row["seconds"],
        "seconds_compile": seconds_compile,
        "steps_per_second": steps_per_second,
        "finished": finished,
    }


def mean(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Average records of several seeds and add `deviation`; return a single one as is.

    Example:
      >>> mean([{"epoch": 1, "l1": 3.0}, {"epoch": 1, "l1": 5.0}])
      {'epoch': 1, 'l1': 4.0, 'deviation': {'epoch': 0.0, 'l1': 1.4142135623730951}}
    """
    if len(records) == 1:
        return records[0]
    columns = {key: [record[key] for record in records] for key in records[0]}
    means = {
        key: jax.tree.map(_mean, *values, is_leaf=lambda value: value is None)
        for key, values in columns.items()
    }
    deviations = {
        key: _deviation(values)
        for key, values in columns.items()
        if isinstance(values[0], int | float) and not isinstance(values[0], bool)
    }
    return means | {"deviation": deviations}


def _mean(*values: Any) -> Any:
    if all(value == values[0] for value in values):  # texts; and counts stay integers
        return values[0]
    return statistics.fmean(math.nan if value is None else value for value in values)


def _deviation(values: list[float | None]) -> float:
    # A diverged seed has null or NaN, which statistics.stdev does not take.
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.stdev(numbers) if len(numbers) == len(values) else math.nan


def processor() -> str:
    """Return the name of this machine's processor, or its family if that is unknown."""
    try:
        with open("/proc/cpuinfo") as file:
            names = (line for line in file if line.startswith("model name"))
            return next(names).partition(":")[2].strip()
    except (OSError, StopIteration):  # not Linux
        return platform.processor() or platform.machine()


@functools.cache
def _commit() -> str | None:
    """Return the commit of the repository; None outside of one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(words, capture_output=True, cwd=root, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode().strip() or None


def _version(package: str) -> str | None:
    """Return a package's version; None if it is not installed, like bopt's sources."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
