"""The figures of a page of results: where trainings and fronts end up, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bopt.fronts import Front
from experiments import figures
from experiments.plots import axes as front_axes
from experiments.plots.axes import Places
from experiments.plots.front import draw_front
from experiments.plots.style import COLORS, MARKERS, plt, save, tidy
from experiments.runs.directory import read_front
from experiments.runs.results import Result


def of_trainings(
    own: Sequence[Result],
    fronts: Sequence[Result],
    published: Sequence[tuple[float, float]],
    title: str,
    folder: Path,
) -> list[Path]:
    """Draws where trainings end and, of one run each optimizer, how they get there.

    Args:
      own: the trainings.
      fronts: of the same network on the same data; drawn as one.
      published: accuracy and dense weights left, of other people's networks.
      title: of the first figure.
      folder: for the PNG files; made if it is not there.

    Returns:
      The files written.

    Raises:
      RunDirectoryError: a file cannot be read or written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from experiments.plots.tradeoff import of_trainings
      >>> networks = [(0.99, 5000.0), (0.98, 2000.0)]
      >>> files = of_trainings([], [], networks, "MNIST", Path(tempfile.mkdtemp()))
      >>> [file.name for file in files]
      ['tradeoff.png']
    """
    points = Front(point for x in fronts for point in read_front(x.path))
    lengths = " and ".join(dict.fromkeys(str(x.config["epochs"]) for x in fronts))
    lines = {f"fronts, {lengths} epochs": _line(points)} if fronts else {}
    files = [_tradeoff(own, lines, published, title, folder)]
    if own and own[0].config["epochs"] > 2:  # a curve has some points
        names = "", "-plain"
        chosen = [x for x in own if x.name.removeprefix(x.config["optimizer"]) in names]
        files += figures.draw([x.path for x in chosen], folder) if chosen else []
    return files


def of_fronts(
    own: Sequence[Result],
    published: Sequence[tuple[float, float]],
    title: str,
    folder: Path,
) -> list[Path]:
    """Draws all fronts in one figure, and the first as its own program draws it.

    Args, returns and raises: as `of_trainings`.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from experiments.plots.tradeoff import of_fronts
      >>> files = of_fronts([], [(0.99, 5000.0)], "MNIST", Path(tempfile.mkdtemp()))
      >>> [file.name for file in files]
      ['tradeoff.png']
    """
    lines = {x.name: _line(read_front(x.path)) for x in own}
    files = [_tradeoff([], lines, published, title, folder)]
    return files + [file for x in own[:1] for file in draw_front(x.path, folder)]


def _line(front: Front) -> Places:
    """The points that are not dominated on validation data: the dense weights left, and
    the test accuracy in percent."""
    best = front.nondominated()
    left, accuracy = best.column("nonzero_dense"), best.column("test_accuracy")
    order = np.argsort(left)
    return left[order], 100 * accuracy[order]


def _tradeoff(
    own: Sequence[Result],
    lines: Mapping[str, Places],
    published: Sequence[tuple[float, float]],
    title: str,
    folder: Path,
) -> Path:
    """Trainings and fronts: test accuracy against the dense weights that are left."""
    figure, axes = plt.subplots(figsize=(7.2, 5.4), layout="constrained")
    x, dx, y, dy = np.reshape(
        [
            [*run.mean("nonzero_dense")[:2], *run.mean("test_accuracy")[:2]]
            for run in own
        ],
        (-1, 4),
    ).T
    y, dy = 100 * y, 100 * dy
    others = front_axes.places_of((left, 100 * share) for share, left in published)
    drawn = front_axes.join((x, y), *lines.values())
    around = front_axes.join((x - dx, y - dy), (x + dx, y + dy), drawn, others)
    near = front_axes.near_best(around[1] / 100)
    front_axes.limit(axes, front_axes.chosen(around, near), log_x=True)

    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)] if len(lines) > 1 else "0.6"
        look = {"color": color, "marker": MARKERS[number % len(MARKERS)], "zorder": 1}
        seen = front_axes.chosen(line, front_axes.near_best(line[1] / 100))
        axes.plot(*seen, label=name, lw=1, ms=4, **look)
    shown = front_axes.inside(axes, (x, y))
    for number, run in enumerate(own):
        if not shown[number]:
            continue
        axes.errorbar(
            x[number],
            y[number],
            xerr=dx[number],
            yerr=dy[number],
            color=COLORS[number % len(COLORS)],
            marker=MARKERS[number // len(COLORS) * 3 % len(MARKERS)],
            markerfacecolor=None if run.pruned else "white",
            linestyle="none",
            capsize=2,
            label=run.name,
        )
    if published:
        axes.plot(*others, "kx", ms=5, label="published", zorder=0)
    words = front_axes.unseen(axes, drawn, others if published else None)
    axes.set_title(title + f" ({words})" * bool(words), fontsize=11)
    axes.set_xlabel("dense weights left")
    axes.set_ylabel("test accuracy (%)")
    tidy(axes)
    front_axes.legend_below(figure, [axes])
    return save(figure, folder / "tradeoff.png")
