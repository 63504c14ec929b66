"""Draw runs and Pareto fronts from their run directories, without training.

    python -m experiments.figures RUN_DIR [RUN_DIR ...] [--out DIR] [--published]

A run gives figures over its epochs: accuracy, loss, the weight of the second objective,
the dense weights left and, where it is recorded, the Pareto stationarity. Several runs
are drawn over each other, on test data; two more figures show their training and
validation, and the weights left in each dense layer. A Pareto front on its own also
gives its points and the levels of its search.
"""

if __name__ == "__main__":
    from experiments import startup

    startup.handle_ctrl_c()

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from matplotlib.figure import Figure

from bopt.fronts import Front, Point
from experiments.config import parse
from experiments.config.defaults import TO_SPARSITY
from experiments.errors import RunDirectoryError
from experiments.plots.axes import save
from experiments.plots.comparisons import comparisons
from experiments.plots.curves import curves
from experiments.plots.front import front_figure, levels_figure
from experiments.runs import schema
from experiments.runs.console import exit_code
from experiments.runs.files import read as read_text
from experiments.runs.reading import (
    LIMIT,
    check,
    network_title,
    read,
    read_config,
    read_front,
    read_summary,
)

# Reference lines in the figures of the code of arXiv 2008.13590 for LeNet-5 on MNIST:
# test accuracy (%), weight of the l1 norm, weights left in each dense layer.
_REFERENCES = {"accuracy": 98.9, "weight": 3e-4} | {
    f"Dense_{number}": left for number, left in enumerate((2107, 300, 170))
}
# Column of published networks -> largest value, and the end of the message.
_COMPARED = {
    "test_accuracy": (1, "a share from 0 to 1. Divide percentages by 100"),
    "nonzero_dense": (math.inf, "a number of weights, at least 0. Correct the file"),
}


def draw(
    paths: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    published: bool = False,
) -> list[Path]:
    """Draw one run, several runs for comparison, or one Pareto front, as PNG files.

    The folder `out` is by default figures/ in the run directory, for several figures/
    here. Among several, a Pareto front stands for its knee, trained in full. Nothing is
    written unless everything can be read. `published` adds the reference lines of the
    figures of the code of arXiv 2008.13590, in or near the axes.
    """
    if not paths:
        raise RunDirectoryError(
            "No run directory to draw. Expected at least one. Name a folder that an "
            "experiment wrote with --out."
        )
    fronts = [path for path in map(Path, paths) if (path / "front.csv").is_file()]
    untrained = [path for path in fronts if not (path / "metrics.jsonl").is_file()]
    if untrained and len(paths) > 1:
        raise RunDirectoryError(
            f"{untrained[0]} cannot be compared: it holds a Pareto front without "
            "metrics.jsonl. Expected a front whose knee is trained in full. Draw it "
            "alone, or resume it."
        )
    if published and untrained:
        raise _no_references(untrained[0])
    drawn = front_figures(fronts[0]) if fronts and len(paths) == 1 else {}
    if not untrained:
        drawn |= run_figures(paths, published=published)
    root, folder = Path(out or "."), "" if out else "figures/"
    if out is None and len(paths) == 1:
        root = Path(paths[0])
    return [save(x, root, f"{folder}{name}.png") for name, x in drawn.items()]


def run_figures(
    paths: Sequence[str | Path], *, published: bool = False
) -> dict[str, Figure]:
    """Name of a file -> figure of the curves of one run, or of several."""
    subject, titles, named = "", [], []
    for run in map(read, paths):
        subjects = run.config["experiment"], run.config["dataset_found"]
        if published and subjects != ("mnist_lenet", "mnist"):
            raise _no_references(run.path)
        subject = optimizer = run.config["optimizer"]
        if seeds := run.summary.get("seeds"):
            subject += f", {len(seeds)} seeds"
        name = run.path.name
        label = subject if name == optimizer else f"{name} ({subject})"
        named.append((label, run.metrics))
        titles.append(run.config["dataset_title"])
    references = _REFERENCES if published else None
    if len(named) == 1:
        return curves(named, f"{subject} on {titles[0]}", references)
    subject = f"{len(named)} runs on {' / '.join(dict.fromkeys(titles))}"
    own = curves(named, subject, references)
    return own | comparisons(named, subject, references)


def _no_references(path: Path) -> RunDirectoryError:
    return RunDirectoryError(
        f"{path} has no published reference lines: they are those of LeNet-5 on MNIST. "
        "Expected runs of python -m experiments.mnist_lenet on MNIST. Leave "
        "--published out."
    )


def front_figures(path: Path) -> dict[str, Figure]:
    """Name of a file -> figure of a Pareto front and its search."""
    config, summary = read_config(path), read_summary(path)
    if not config:
        raise RunDirectoryError(
            f"{path} holds no front: it has no config.json. Expected a folder that "
            "python -m experiments.pareto_front wrote. Name it by its --out."
        )
    check(config, schema.FrontConfig, path / "config.json")
    front, published = read_front(path), path / "compare.csv"
    title = f"{network_title(config)} on {config['dataset_title']}, "
    title += f"{config['search']} search with {config['optimizer']}"
    final = summary.get("final") or {}
    of_numbers = config.get("pruning") in TO_SPARSITY
    figure = front_figure(
        front,
        title,
        knees=summary.get("knees"),
        chosen=summary.get("knee"),
        final=_final(final) if final else None,
        published=read_compared(published) if published.is_file() else None,
        of_numbers=of_numbers,
    )
    levels = levels_figure(front, title, of_numbers=of_numbers)
    return {"front": figure, "levels": levels}


def _final(content: Mapping[str, Any]) -> Point:
    """Return the point of the final training, from its part of summary.json."""

    def number(value: float | None) -> float:
        return math.nan if value is None else value

    objectives = map(number, content["objectives"])
    metrics = {name: number(content[name]) for name in schema.POINT_METRICS}
    return Point(content["weights"], objectives, content["name"], metrics)


def read_compared(path: str | Path) -> Front:
    """Read published networks from a CSV file, for comparison.

    Each line has a test_accuracy from 0 to 1 and a number nonzero_dense; other columns,
    empty lines and lines that start with # are skipped.
    """
    columns = ",".join(_COMPARED)
    try:
        text = read_text(Path(path), LIMIT)
        front = Front.from_csv(text, required=list(_COMPARED))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise RunDirectoryError(
            f"Cannot read {path}: {reason}. Expected a text file in UTF-8, CSV with "
            f"the columns {columns}. Correct the file or its path."
        ) from error
    if not front:
        raise RunDirectoryError(
            f"{path} holds no network. Expected the header {columns} and one line per "
            "network. Add them."
        )
    for column, (most, expected) in _COMPARED.items():
        for number, value in enumerate(front.column(column), 1):
            if not 0 <= value <= most or math.isinf(value):
                raise RunDirectoryError(
                    f"{path}, network {number}: {column} is {value:g}. Expected "
                    f"{expected}."
                )
    return front


@dataclasses.dataclass(frozen=True)
class Options:
    """Draw one run, several runs for comparison, or one Pareto front."""

    run_dirs: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="RUN_DIR [RUN_DIR ...]", help_behavior_hint=""),
    ]
    """Run directories, written by an experiment."""
    out: Annotated[str | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = (
        None
    )
    """Folder for the PNG files (default: RUN_DIR/figures; for several, figures)."""
    published: bool = False
    """Add the reference lines of the figures of the paper's code: LeNet-5 on MNIST."""


def main() -> int:
    """Run the program; return its exit code."""

    def body() -> None:
        options = parse(Options, "figures")
        for file in draw(options.run_dirs, options.out, published=options.published):
            print(file)

    return exit_code(body)


if __name__ == "__main__":
    sys.exit(main())
