"""The Pareto front of cross entropy against complexity, by a series of trainings.

    python -m experiments.pareto_front
    python -m experiments.pareto_front --resume RUN_DIR

A search chooses the weights of the trainings on validation data; the front's knee is
trained again in full. The run directory holds, besides the files of every run (of the
final training): `front.csv`, one line per point, appended as trainings end;
`front.json`, the same; `networks/`, the parameters of chosen points. `summary.json`
has these further keys: `search`; `reason`, why it ended; `points` and `nondominated`,
counts; `hypervolume`, the mean over the seeds of that of their points on test data, as
a share of the box between the ideal point and `reference`, an error and a share of the
dense weights; `knees`, criterion -> name; `knee`, the criterion of the final training;
`final`, its result, and whether it is non-dominated; `seconds_search`, the duration of
the search's trainings.
"""

if __name__ == "__main__":
    from experiments import startup

    startup.handle_ctrl_c()

import functools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import launch
from experiments.config import FrontConfig, VggFront, flat, resolve_front, updated
from experiments.config.defaults import TO_SPARSITY
from experiments.data import Dataset
from experiments.launch import MakeModel, Penalty, begin, options_of, read_options
from experiments.runs import files
from experiments.runs.console import exit_code, say

if TYPE_CHECKING:
    from bopt.fronts import Front, Point
    from experiments.runs.directory import RunDirectory
    from experiments.training.networks import Network
    from experiments.training.session import Session

# Error and share of dense weights; worse points do not count in the hypervolume.
REFERENCES = {"mnist": (0.03, 0.1)}
REFERENCE = (0.9, 1.0)  # chance


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code, see `experiments.launch.main`."""

    def choose(model: str | None):
        return VggFront if model == "vgg" else FrontConfig

    def body() -> None:
        config = read_options(choose, "pareto_front", words)
        run(config, prepare=words is None, model=launch.chosen(config, network))

    return exit_code(body)


def trace(
    model: Any,
    dataset: str | Mapping[str, Any] = "auto",
    *,
    complexity: Penalty | None = None,
    **options: Any,
) -> Path:
    """Trace the Pareto front of a network of your own.

    The arguments are those of `experiments.launch.train`, the options those of this
    program. The final training of the knee takes as many epochs as each of the search,
    unless ``final_epochs`` is given.
    """
    config = options_of(FrontConfig, "pareto_front", model, dataset, options)
    return run(config, model=lambda *_: model, dataset=dataset, complexity=complexity)


def network(config: FrontConfig, method: Any, classes: int):
    """Return the network that --model names."""
    import jax.numpy as jnp

    from bopt.models import VGG, LeNet5

    if config.search.model == "vgg":
        return VGG(
            classes=classes, dtype=jnp.dtype(config.devices.dtype), method=method
        )
    return LeNet5(classes, method=method)


def run(
    config: FrontConfig,
    *,
    prepare: bool = False,
    model: MakeModel = network,
    dataset: str | Mapping[str, Any] | None = None,
    complexity: Penalty | None = None,
) -> Path:
    """Search, train the knee in full, write the run directory, and return it.

    `prepare` is for programs, see `experiments.launch.main`; the other arguments are
    those of `trace`.
    """
    start = time.perf_counter()
    resolve_front(config, config.data.dataset)  # report mistakes early
    compare, resumed = config.search.compare, config.run.resume
    if resumed and Path(resumed, "compare.csv").is_file():
        compare = None
    if compare is not None:
        from experiments.figures import read_compared

        read_compared(compare)
    begun = begin(config, config.TRAINING.PREFERRED, prepare=prepare, dataset=dataset)
    if begun is None:
        return Path(config.run.resume or "")
    from experiments.training import networks
    from experiments.training.session import opened

    found, console = begun
    config = resolve_front(config, found.name)

    def make(method: str) -> "Network":
        return launch.network(config, model, method, found)

    training = config.training()
    networks.check(make("auto"), found, training, complexity, weights=(0.5, 0.5))
    options = flat(config.training()) | flat(config)
    with opened("pareto_front", options, found, console, start) as session:
        _search_and_train(session, config, compare, make, complexity)
    return session.directory.path


def _search_and_train(
    session: "Session",
    config: FrontConfig,
    compare: str | None,
    make: "Callable[[str], Network]",
    complexity: Penalty | None,
) -> None:
    from experiments import figures
    from experiments.devices import on_first
    from experiments.training.search import FrontSearch

    _, directory, dataset, console, *_ = session
    path = directory.path
    if compare is not None:
        text = Path(compare).read_bytes()
        on_first(lambda: files.write(path, "compare.csv", text))
    series = FrontSearch(session, config, make, complexity)
    reason = series.run()
    front = series.front
    knees = front.knees(examples=len(dataset.train), size="nonzero_total")
    searched = _searched(front, knees, reason, config, dataset, make)
    searched["finished"] = False
    directory.write_summary(searched)
    _keep_networks(directory, front, knees, config)
    console.print(_table(front, knees, config))
    error, share = searched["reference"]
    say(
        console,
        f"The search ended: {reason}. {len(front)} trainings, "
        f"{searched['nondominated']} points are non-dominated; hypervolume "
        f"{searched['hypervolume']:.4f} (test data; reference: error {error:g}, "
        f"{share:.0%} of the dense weights).",
    )
    summary = _final(session, config, front, knees, searched, make, complexity)
    summary["seconds_total"] = time.perf_counter() - session.start
    directory.write_summary(summary)
    if config.run.figures:
        on_first(lambda: figures.draw([path]))
    directory.write_summary(summary | {"finished": True})
    say(console, f"Written to {path}")


def _searched(
    front: "Front",
    knees: "dict[str, Point]",
    reason: str,
    config: FrontConfig,
    dataset: Dataset,
    make: "Callable[[str], Network]",
) -> dict[str, Any]:
    """Return the keys of the summary about the search."""
    import jax
    import numpy as np

    from experiments.report_tables import hypervolume
    from experiments.runs import records
    from experiments.training.images import example

    error, share = REFERENCES.get(dataset.name, REFERENCE)
    image = example(dataset.images)
    shapes = jax.eval_shape(make("auto").init, jax.random.key(0), image)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes["params"])
    entries = records.sparsity(zeros).report.dense.entries
    volumes = [hypervolume(own, (error, share), entries) for own in front.by_seed()]
    return {
        "search": config.search.search,
        "reason": reason,
        "points": len(front),
        "nondominated": len(front.nondominated()),
        "hypervolume": statistics.fmean(volumes),
        "entries_dense": entries,
        "reference": [error, share],
        "knees": {name: point.name for name, point in knees.items()},
        "knee": config.search.knee,
        "final": None,
        "seconds_search": sum(point.metrics["seconds"] for point in front),
    }


def _keep_networks(
    directory: "RunDirectory",
    front: "Front",
    knees: "dict[str, Point]",
    config: FrontConfig,
) -> None:
    """Remove the parameters of the points that --save leaves out."""
    if config.search.save == "all":
        return
    kept = {point.name for point in knees.values()}
    if config.search.save == "front":
        kept |= {point.name for point in front.nondominated()}
    for point in front:
        if point.name not in kept:
            directory.remove(f"networks/{point.name}")


def _final(
    session: "Session",
    config: FrontConfig,
    front: "Front",
    knees: "dict[str, Point]",
    searched: dict[str, Any],
    make: "Callable[[str], Network]",
    penalty: Penalty | None,
) -> dict[str, Any]:
    """Train the knee in full; return the whole summary."""
    from bopt.fronts import Front, Point
    from experiments.runs import records
    from experiments.runs.checkpoints import Checkpoints
    from experiments.runs.console import print_summary
    from experiments.training.loop import Loop
    from experiments.training.optimizers import compose
    from experiments.training.search import complexity, named
    from experiments.training.step import steps_per_epoch
    from experiments.training.trainer import Trainer

    _, directory, dataset, console, *_ = session
    options, epochs = config.search, config.search.final_epochs
    knee = knees.get(options.knee)
    if knee is None or not epochs:
        why = "--final-epochs is 0" if knee else f"the front has no {options.knee} knee"
        say(console, f"No final training: {why}.")
        return searched
    say(
        console,
        f"The {options.knee} knee is {knee.name}, {named(config, knee)}. "
        f"Training it for {epochs} epochs:",
    )
    start = time.perf_counter()
    training = updated(config.training(), epochs=epochs, seeds=1)
    steps = steps_per_epoch(dataset, training.optimizer.batch_size)
    optimizer, seed = functools.partial(compose, training, steps), training.run.seed
    trainer = Trainer(
        *(make("auto"), optimizer, dataset, training, [seed], [knee.weights]),
        check=functools.partial(session.check, alone=True),
        complexity=penalty,
    )
    described = flat(training) | flat(updated(config, epochs=epochs, seeds=1))
    described = records.config("pareto_front", described, dataset)
    path = directory.path / "checkpoints" / "final"
    with Checkpoints(path, described, console) as saved:
        loop = Loop(session._replace(start=start), training, trainer, saved, searched)
        summary, row = loop.run()
    params = {"params": trainer.networks()[0]["params"]}
    final = Point(
        knee.weights,
        (row["validation_cross_entropy"], complexity(training, params, penalty)),
        "final",
        level=0,
        seed=seed,
        epochs=epochs,
        seconds=summary["seconds_total"],
        nonzero_dense=summary["nonzero_dense"],
        nonzero_total=summary["nonzero_total"],
        validation_accuracy=row["validation_accuracy"],
        test_accuracy=row["test_accuracy"],
        test_cross_entropy=row["test_cross_entropy"],
    )
    nondominated = final in Front([final]).merge(front).nondominated()  # a tie wins
    print_summary(console, summary, row, f"The knee, {epochs} epochs")
    word = "non-dominated" if nondominated else "dominated"
    say(console, f"Trained in full, the knee is {word} on validation data.")
    described = {"weights": final.weights, "objectives": final.objectives}
    described |= {"name": final.name, **final.metrics, "nondominated": nondominated}
    return summary | {"final": described}


def _table(front: "Front", knees: "dict[str, Point]", config: FrontConfig):
    """Return a table of the non-dominated points, most accurate first."""
    from rich import box
    from rich.table import Table

    swept = config.pruning.pruning in TO_SPARSITY  # its objective 1 is the last column
    kinds = ("share left (%)", "loss") if swept else ("weight of l1", "loss", "l1")
    table = Table(title="Non-dominated on validation data", box=box.SIMPLE_HEAVY)
    for column in ("point", *kinds, "accuracy (%)", "weights"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("knee by")
    for point in front.nondominated():
        criteria = [name for name, knee in knees.items() if knee == point]
        table.add_row(
            point.name,
            f"{100 * point.weights[0] if swept else point.weights[1]:.3g}",
            f"{point.objectives[0]:.4f}",
            *([] if swept else [f"{point.objectives[1]:,.1f}"]),
            f"{100 * point.metrics['validation_accuracy']:.2f}",
            f"{point.metrics['nonzero_dense']:,}",
            ", ".join(criteria),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
