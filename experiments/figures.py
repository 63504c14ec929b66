"""Draws runs from their directories, one alone or several over each other.

    python -m experiments.figures RUN_DIR [RUN_DIR ...] [--out DIR]

Four figures: accuracy, loss, the weight of the second objective, and the nonzero dense
weights that are left. A run on its own also shows its three splits and its layers; one
of several seeds, their means, and a band of a standard deviation on each side. Of
a Pareto front on its own: its points, the search level by level, and the four figures
of the knee once it is trained in full.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.axes import Axes

from experiments.config import parse
from experiments.errors import RunDirectoryError
from experiments.plots.front import draw_front
from experiments.plots.style import COLORS, DASHES, MARKERS, plt, save, tidy
from experiments.runs.directory import Run, read


def draw(paths: Sequence[str | Path], out: str | Path) -> list[Path]:
    """Draws the figures of one run, or of several for comparison.

    Args:
      paths: run directories, finished or not. That of a Pareto front, alone, gives
        the front's figures, too; among several it stands for its knee, trained in full.
      out: the folder for the PNG files; made if it is not there.

    Returns:
      The files written.

    Raises:
      RunDirectoryError: a folder that holds no run, or, in a comparison, a front whose
        knee is not yet trained in full; a file that cannot be written.

    Example:
      >>> from experiments.figures import draw
      >>> draw([], "nowhere")
      Traceback (most recent call last):
      experiments.errors.RunDirectoryError: No run directory to draw.
    """
    if not paths:
        raise RunDirectoryError("No run directory to draw.")
    out, files = Path(out), []
    fronts = [path for path in map(Path, paths) if (path / "front.csv").is_file()]
    untrained = [path for path in fronts if not (path / "metrics.jsonl").is_file()]
    if fronts and len(paths) == 1:
        files += draw_front(paths[0], out)
        if untrained:
            return files
    elif untrained:
        raise RunDirectoryError(
            f"{untrained[0]} cannot be compared: it holds a Pareto front whose knee is "
            "not yet trained in full (it has no metrics.jsonl). Draw it alone."
        )
    runs = [read(path) for path in paths]
    title = " / ".join(dict.fromkeys(run.config["dataset_title"] for run in runs))
    panels: dict[str, Callable[[Axes, list[Run]], None]] = {
        "accuracy": _accuracy,
        "loss": _loss,
        "weight": _weight,
        "nonzeros": _nonzeros,
    }
    for name, panel in panels.items():
        figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
        panel(axes, runs)
        subject = _subject(runs[0]) if len(runs) == 1 else "comparison"
        axes.set_title(f"{title}: {subject}", fontsize=11)
        axes.set_xlabel("epoch")
        tidy(axes)
        if lines := axes.get_legend_handles_labels()[0]:
            columns = 1 + len(lines) // 5
            axes.legend(framealpha=0.7, edgecolor="none", fontsize=9, ncols=columns)
        files.append(save(figure, out / f"{name}.png"))
    return files


def _accuracy(axes: Axes, runs: list[Run]) -> None:
    splits = ("train", "validation", "test") if len(runs) == 1 else ("test",)
    _lines(axes, runs, [(split, f"{split}_accuracy", 100) for split in splits])
    axes.set_ylabel("accuracy (%)" if len(splits) > 1 else "test accuracy (%)")
    values = [
        100 * row[f"{s}_accuracy"]
        for r in runs
        for row in r.metrics[1:]
        for s in splits
        if row[f"{s}_accuracy"] is not None
    ]
    if values:
        low = min(values)
        axes.set_ylim(low - 0.05 * (100 - low) - 0.01, 100 + 0.05 * (100 - low))


def _loss(axes: Axes, runs: list[Run]) -> None:
    splits = ("train", "validation", "test") if len(runs) == 1 else ("test",)
    _lines(axes, runs, [(split, f"{split}_cross_entropy", 1) for split in splits])
    axes.set_yscale("log")
    many = len(splits) > 1
    axes.set_ylabel("cross entropy (nats)" if many else "test cross entropy (nats)")


def _weight(axes: Axes, runs: list[Run]) -> None:
    many, drawn = len(runs) > 1, []
    for number, run in enumerate(runs):
        for index, (group, weights) in enumerate(_groups(run).items()):
            shares = [
                second / (first + second or 1) for first, second in weights.values()
            ]
            parts = [_name(run)] * many + [f"{group} layers"] * bool(group)
            label = ", ".join(parts) or None
            # In a comparison, a run has its colour of the other figures.
            color = number if many else index
            _line(axes, number + 3 * index, list(weights), shares, label, color)
            drawn += shares
    if any(drawn) or not drawn:  # not, as with --l1 0, zeros alone
        axes.set_yscale("log", nonpositive="mask")
    axes.set_ylabel("weight of objective 1 (share of the sum)")


def _groups(run: Run) -> dict[str, dict[int, list[float]]]:
    """Group of layers -> epoch -> weights; one group "" without --split, or as long as
    there are no weights."""
    groups: dict[str, dict[int, list[float]]] = {}
    for row in run.metrics:
        weights = row["weights"] or {}
        own = weights if isinstance(weights, dict) else {"": weights}
        for group, pair in own.items():
            if None not in pair:
                groups.setdefault(group, {})[row["epoch"]] = pair
    return groups or {"": {}}


def _nonzeros(axes: Axes, runs: list[Run]) -> None:
    alone = len(runs) == 1
    # Convolutions are shown where they are pruned, too.
    conv = any(row.get("conv_sparsity") for run in runs for row in run.metrics)
    lines = []
    for run in runs:
        epochs = [row["epoch"] for row in run.metrics]
        kept = [
            row["nonzeros"] | (row.get("nonzeros_conv", {}) if conv else {})
            for row in run.metrics
        ]
        for layer in kept[0] if alone and kept else ():
            lines.append((layer, epochs, [layers[layer] for layers in kept]))
        if not alone:
            lines.append((_name(run), epochs, [sum(own.values()) for own in kept]))
    for number, (label, epochs, left) in enumerate(lines):
        _line(axes, number, epochs, left, label)
    if any(0 in left for _, _, left in lines):
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
    axes.set_ylabel("nonzero weights" if conv else "nonzero dense weights")


def _lines(axes: Axes, runs: list[Run], series: list[tuple[str, str, float]]) -> None:
    """A line for each series of a lone run, or for each run."""
    number = 0
    for run in runs:
        for split, key, factor in series:
            rows = [row for row in run.metrics if row[key] is not None]
            epochs = [row["epoch"] for row in rows]
            values = [factor * row[key] for row in rows]
            label = split if len(runs) == 1 else _name(run)
            _line(axes, number, epochs, values, label)
            around = [factor * (_deviation(row, key) or 0.0) for row in rows]
            if any(around):  # of several seeds
                low, high = (np.array(values) + s * np.array(around) for s in (-1, 1))
                color = COLORS[number % len(COLORS)]
                axes.fill_between(epochs, low, high, color=color, alpha=0.2, lw=0)
            number += 1


def _deviation(row: dict[str, Any], key: str) -> float | None:
    return row.get("deviation", {}).get(key)


def _line(
    axes: Axes, number: int, epochs, values, label: str | None, color: int | None = None
) -> None:
    color = number if color is None else color
    axes.plot(
        epochs,
        values,
        color=COLORS[color % len(COLORS)],
        linestyle=DASHES[number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)],
        markersize=4,
        markevery=max(1, len(epochs) // 10),
        linewidth=1.6,
        label=label,
    )


def _name(run: Run) -> str:
    subject, name = _subject(run), run.path.name
    return subject if name == run.config["optimizer"] else f"{name} ({subject})"


def _subject(run: Run) -> str:
    seeds = run.summary.get("seeds", ())
    return run.config["optimizer"] + (f", {len(seeds)} seeds" if seeds else "")


@dataclasses.dataclass(frozen=True)
class Options:
    """Draws the figures of one run, or several runs over each other; or of one Pareto
    front."""

    run_dirs: tyro.conf.Positional[tuple[str, ...]]
    """Run directories, as an experiment wrote them."""
    out: str | None = None
    """Folder for the PNG files (default the run's own figures/ for one run, figures/
    for several)."""


def main() -> int:
    """The command line; returns the exit code."""
    options = parse(Options, "figures")
    alone = len(options.run_dirs) == 1
    default = Path(options.run_dirs[0]) / "figures" if alone else Path("figures")
    try:
        for file in draw(options.run_dirs, options.out or default):
            print(file)
    except RunDirectoryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
