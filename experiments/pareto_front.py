"""The Pareto front of cross entropy against complexity, by a series of trainings.

    python -m experiments.pareto_front
    python -m experiments.pareto_front --resume RUN_DIR

A search chooses the weights of the trainings on validation data; the front's knee is
trained again in full. A run directory holds, besides what every run writes (of the
final training): `front.csv`, a line a point, which grows as the trainings end;
`front.json`, the same; `networks/`, the parameters of chosen points. `summary.json`
has, besides the keys of every run: `search`; `reason`, why it ended; `points` and
`nondominated`, numbers; `hypervolume` of all points on test data, as a share of the box
between the best there could be and `reference`, an error and a share of the dense
weights; `knees`, criterion -> name; `knee`, whose was trained again; `final`, what came
of it, and whether no point dominates it; `seconds_search`, what the search's trainings
took.
"""

import argparse
import dataclasses
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from bopt.fronts import Front, Point
from experiments import figures
from experiments.data import Dataset
from experiments.devices import on_first, use_all_cores
from experiments.front_options import (
    FrontConfig,
    LenetFront,
    VggFront,
    resolve_front,
)
from experiments.launch import exit_code, finished, load, make_console, opened
from experiments.plots.published import read_published
from experiments.runs import records, resume
from experiments.runs.checkpoints import Checkpoints, remove
from experiments.runs.console import print_summary, say
from experiments.runs.directory import RunDirectory, read_json
from experiments.training.loop import Training
from experiments.training.optimizers import compose
from experiments.training.search import Series
from experiments.training.step import make_penalties, steps_per_epoch
from experiments.training.trainer import Trainer

# Error, and share of dense weights left: what is worse counts for nothing.
REFERENCES = {"mnist": (0.03, 0.1)}
REFERENCE = (0.9, 1.0)  # chance


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code, see `experiments.launch.main`."""
    words = sys.argv[1:] if words is None else words
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model")
    parser.add_argument("--resume")
    known = parser.parse_known_args(words)[0]

    def options() -> FrontConfig:
        there = Path(known.resume or "") / "config.json"
        model = known.model or read_json(there).get("model")
        config = VggFront if model == "vgg" else LenetFront
        return resume.options(config, "pareto_front", words)

    return exit_code(options, run)


def run(config: FrontConfig) -> RunDirectory:
    """Searches, trains the knee again, writes the run directory, draws the figures.

    Args:
      config: the options as given.

    Returns:
      The run directory, complete.

    Raises:
      ConfigError, data.DataError, RunDirectoryError, NonFiniteError, Interrupted:
        whatever the cause, the points trained before stay, and `resume` goes on.

    Example:
      >>> import contextlib, io, tempfile
      >>> from experiments.front_options import LenetFront
      >>> from experiments.pareto_front import run
      >>> from experiments.runs.directory import read_front
      >>> config = LenetFront(dataset="digits", train_size=64, budget=2, epochs=1,
      ...                     final_epochs=0, figures=False, out=tempfile.mkdtemp())
      >>> with contextlib.redirect_stdout(io.StringIO()):
      ...     directory = run(config)
      >>> [point.name for point in read_front(directory.path)]
      ['0-1.0', '0-2.0']
    """
    start = time.perf_counter()
    console = make_console()
    if config.resume and finished(config.resume, console):
        return RunDirectory(Path(config.resume))
    resolve_front(config, config.dataset)  # mistakes come before the data are sought
    compare = None if config.resume else config.compare
    if compare is not None:
        read_published(compare)
    dataset = load(config, console)
    config = resolve_front(config, dataset.name)
    with opened("pareto_front", config, dataset, console) as (directory, check):
        if compare is not None:
            copied = directory.path / "compare.csv"
            on_first(lambda: shutil.copyfile(compare, copied))
        series = Series(directory, config, dataset, console, check)
        reason = series.run()
        front, knees = series.front, series.front.knees()
        searched = _searched(front, knees, reason, config, dataset)
        directory.write_summary(searched | {"finished": False})
        _keep_networks(directory, front, knees, config)
        console.print(_table(front, knees))
        error, share = searched["reference"]
        say(
            console,
            f"The search ended: {reason}. {len(front)} trainings, "
            f"{searched['nondominated']} points are not dominated; hypervolume "
            f"{searched['hypervolume']:.4f} (test; reference: error {error:g}, "
            f"{share:.0%} of the dense weights).",
        )
        knee = knees.get(config.knee)
        final = _final(
            directory, config, dataset, front, knee, searched, console, check
        )
        final["seconds_total"] = time.perf_counter() - start
        directory.write_summary(final | {"finished": True})
        if config.figures:
            path = directory.path
            on_first(lambda: figures.draw([path], path / "figures"))
    say(console, f"Written to {directory.path}")
    return directory


def _searched(
    front: Front,
    knees: dict[str, Point],
    reason: str,
    config: FrontConfig,
    dataset: Dataset,
) -> dict[str, Any]:
    """What the summary says of the search."""
    error, share = REFERENCES.get(dataset.name, REFERENCE)
    image = jax.ShapeDtypeStruct((1, *dataset.images.shape[1:]), np.float32)
    shapes = jax.eval_shape(config.module().init, jax.random.key(0), image)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes["params"])
    entries = records.sparsity(zeros).report.dense.entries
    return {
        "search": config.search,
        "reason": reason,
        "points": len(front),
        "nondominated": len(front.nondominated()),
        "hypervolume": _hypervolume(front, error, share * entries),
        "reference": [error, share],
        "knees": {name: point.name for name, point in knees.items()},
        "knee": config.knee,
        "final": None,
        "seconds_search": sum(point.seconds or 0.0 for point in front),
    }


def _hypervolume(front: Front, error: float, nonzeros: float) -> float:
    """On test data, as a share of the box up to the reference point."""
    columns = ("test_accuracy", "nonzero_dense")
    volume = front.hypervolume((1 - error, nonzeros), columns)
    return volume / (error * nonzeros)


def _keep_networks(
    directory: RunDirectory, front: Front, knees: dict[str, Point], config: FrontConfig
) -> None:
    """Removes the parameters of the points that --save leaves out."""
    if config.save == "all":
        return
    kept = {point.name for point in knees.values()}
    if config.save == "front":
        kept |= {point.name for point in front.nondominated()}
    for point in front:
        if point.name not in kept:
            remove(directory.path / "networks" / point.name)


def _final(
    directory: RunDirectory,
    config: FrontConfig,
    dataset: Dataset,
    front: Front,
    knee: Point | None,
    searched: dict[str, Any],
    console: Console,
    check: Callable[[], None],
) -> dict[str, Any]:
    """Trains the knee in full; returns the whole summary."""
    if knee is None or not config.final_epochs:
        why = "--final-epochs is 0" if knee else f"the front has no {config.knee} knee"
        say(console, f"No final training: {why}.")
        return searched
    say(
        console,
        f"The {config.knee} knee is {knee.name}, weight {knee.weights[1]:.3g}; trained "
        f"again, for {config.final_epochs} epochs:",
    )
    start = time.perf_counter()
    config = dataclasses.replace(config, epochs=config.final_epochs, seeds=1)
    steps = steps_per_epoch(dataset, config.batch_size)
    optimizer = compose(config, steps, jnp.asarray(knee.weights))
    trainer = Trainer(config.module(), optimizer, dataset, config)
    path = directory.path / "checkpoints" / "final"
    described = records.config("pareto_front", config, dataset)
    more = searched | {"finished": False}  # as long as it does not say what came of it
    with Checkpoints(path, described, console) as saved:
        summary, row = Training(
            directory, config, dataset, trainer, saved, console, check, start, more
        ).run()
    _, complexity = make_penalties(config)
    params = {"params": trainer.networks()[0]["params"]}
    final = Point(
        knee.weights,
        (row["validation_cross_entropy"], float(complexity(params))),
        "final",
        seed=config.seed,
        epochs=config.epochs,
        seconds=summary["seconds_total"],
        nonzero_dense=summary["nonzero_dense"],
        nonzero_total=summary["nonzero_total"],
        validation_accuracy=row["validation_accuracy"],
        test_accuracy=row["test_accuracy"],
        test_cross_entropy=row["test_cross_entropy"],
    )
    nondominated = final in Front([final]).merge(front).nondominated()  # a tie wins
    print_summary(console, summary, row, f"The knee, {config.epochs} epochs")
    word = "not dominated" if nondominated else "dominated"
    say(console, f"Trained in full, the knee is {word} on validation data.")
    return summary | {"final": {**final._asdict(), "nondominated": nondominated}}


def _table(front: Front, knees: dict[str, Point]) -> Table:
    """The non-dominated points, most accurate first, and whose knees they are."""
    table = Table(title="Not dominated on validation data", box=box.SIMPLE_HEAVY)
    for column in ("point", "weight", "loss", "l1", "validation", "nonzeros"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("knee")
    for point in front.nondominated():
        criteria = [name for name, knee in knees.items() if knee == point]
        table.add_row(
            point.name,
            f"{point.weights[1]:.3g}",
            f"{point.objectives[0]:.4f}",
            f"{point.objectives[1]:,.1f}",
            f"{point.validation_accuracy:.4f}",
            f"{point.nonzero_dense:,}",
            ", ".join(criteria),
        )
    return table


if __name__ == "__main__":
    use_all_cores()
    sys.exit(main())
