"""Draws the Pareto front that a search has found, and the search level by level.

After M. Reiners, K. Klamroth, F. Heldmann, M. Stiglmayr, "Efficient and sparse neural
networks by pruning weights in a multiobjective learning approach", Computers &
Operations Research 2022 (arXiv 2008.13590), section 5.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from bopt.fronts import Front
from experiments.errors import RunDirectoryError
from experiments.plots.axes import (
    Places,
    chosen,
    inside,
    join,
    legend_below,
    limit,
    near_best,
    objectives,
    places_of,
    unseen,
)
from experiments.plots.levels import levels
from experiments.plots.published import read_published
from experiments.plots.style import COLORS, plt, save, tidy
from experiments.runs.directory import read_front, read_json

_BLUE, _RED, _, _PINK, _ORANGE, _, _BLACK = COLORS
_GREY = "#808080"
_KNEES = (("o", _RED), ("s", _BLUE), ("D", _PINK), ("^", _BLACK))
_MODELS = {"lenet5": "LeNet-5", "vgg": "VGG"}


class _Run(NamedTuple):
    front: Front
    config: dict[str, Any]
    summary: dict[str, Any]
    published: list[tuple[float, float]]


def draw_front(path: str | Path, out: str | Path) -> list[Path]:
    """Draws a Pareto front: its points, and how the search came to them.

    ``front.png`` shows the objectives, and what they mean: test accuracy and weights
    left. ``levels.png`` has a panel for each of the last 12 levels of the search.
    Networks far worse than the best (see `experiments.plots.axes.near_best`) may lie
    outside the axes; it is said how many do.

    Args:
      path: the run directory of a front, finished or not: config.json, front.csv, and,
        where they are there, summary.json and compare.csv.
      out: the folder for the PNG files; made if it is not there.

    Returns:
      The files written.

    Raises:
      RunDirectoryError: a folder that holds no front, a file of it that cannot be read,
        or one that cannot be written.

    Example:
      >>> from experiments.plots.front import draw_front
      >>> draw_front("nowhere", "figures")
      Traceback (most recent call last):
      experiments.errors.RunDirectoryError: nowhere holds no front: it has no \
config.json. Name a folder that python -m experiments.pareto_front wrote with --out.
    """
    run = _read(Path(path))
    title = _title(run.config)
    return [
        save(_figure(run, title), Path(out) / "front.png"),
        save(levels(run.front, title), Path(out) / "levels.png"),
    ]


def _read(path: Path) -> _Run:
    for name in ("config.json", "front.csv"):
        if not (path / name).is_file():
            raise RunDirectoryError(
                f"{path} holds no front: it has no {name}. Name a folder that python "
                "-m experiments.pareto_front wrote with --out."
            )
    published = path / "compare.csv"
    return _Run(
        read_front(path),
        read_json(path / "config.json"),
        read_json(path / "summary.json"),
        read_published(published) if published.is_file() else [],
    )


def _title(config: dict[str, Any]) -> str:
    model = _MODELS.get(config["model"], config["model"])
    subject = f"{config['dataset_title']}, {model}, {config['optimizer']}"
    return f"{subject}: {config['search']} search"


def _figure(run: _Run, title: str) -> Figure:
    """The objectives; the test accuracy and the nonzero dense weights."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    front, final = run.front, run.summary.get("final")

    near = near_best(front.column("validation_accuracy"))
    entropy, l1 = objectives(front.nondominated())
    if len(front):
        look = {"color": _GREY, "linewidth": 0.8, "zorder": 1.8}
        left.step(l1, entropy, where="post", **look)
    entropy, l1 = objectives(front)
    places = l1, entropy
    star = places_of([final["objectives"][::-1]] if final else [])
    limit(left, join(chosen(places, near), star))
    knees = _knees(run, inside(left, places))
    colors = _colors(front.column("weight_1")[near])
    _networks(left, run, places, colors, knees, star)
    left.set_xlabel("l1 norm of the dense weights")
    left.set_ylabel("validation cross entropy (nats)")
    left.set_title(unseen(left, places), fontsize=8, loc="right")

    near = near_best(front.column("test_accuracy"))
    places = front.column("nonzero_dense"), 100 * front.column("test_accuracy")
    star = places_of(
        [(final["nonzero_dense"], 100 * final["test_accuracy"])] if final else []
    )
    published = places_of([(count, 100 * share) for share, count in run.published])
    alike = near_best(np.append(places[1], published[1]) / 100)[len(front) :]
    shown = join(chosen(places, near), star)
    limit(right, join(shown, chosen(published, alike)), log_x=True)
    if run.published:
        look = {"marker": "+", "s": 24, "linewidths": 0.9, "color": _GREY}
        right.scatter(*published, label="published", zorder=2, **look)
    _networks(right, run, places, colors, knees, star)
    right.set_xlabel("nonzero dense weights")
    right.set_ylabel("test accuracy (%)")
    right.set_title(unseen(right, places, published), fontsize=8, loc="right")

    if colors:
        bar = figure.colorbar(colors, ax=(left, right), pad=0.01, aspect=30)
        bar.set_label("weight of objective 1, the l1 norm")
    legend_below(figure, (left, right))
    return figure


def _colors(weights: np.ndarray) -> ScalarMappable | None:
    """From the smallest to the largest positive weight, if there is one."""
    weights = weights[weights > 0]
    if not len(weights):
        return None
    low, high = weights.min(), weights.max()
    if low == high:  # a scale needs some length
        low, high = low / 2, 2 * high
    return ScalarMappable(LogNorm(low, high), "viridis")


def _knees(run: _Run, shown: np.ndarray) -> dict[str, np.ndarray]:
    """What the legend says of each knee -> which points (True) are that knee: several,
    if a point's name is that of several seeds."""
    names = np.array([point.name for point in run.front], str)
    criteria: dict[str, list[str]] = {}
    for criterion, name in (run.summary.get("knees") or {}).items():
        mark = " (chosen)" if criterion == run.summary.get("knee") else ""
        criteria.setdefault(name, []).append(_words(criterion) + mark)
    knees = {}
    for name, words in criteria.items():
        mark = "" if shown[names == name].any() else " (outside)"
        knees[f"knee: {', '.join(words)}{mark}"] = names == name
    return knees


def _words(criterion: str) -> str:
    return criterion.replace("_", " ")


def _networks(
    axes: Axes,
    run: _Run,
    places: Places,
    colors: ScalarMappable | None,
    knees: dict[str, np.ndarray],
    star: Places,
) -> None:
    """All points of the front at their places in this panel, the knees, and the knee
    trained in full."""
    tidy(axes)
    front = run.front
    weights = front.column("weight_1")
    plain = weights == 0
    best = set(front.nondominated())
    strong = np.array([point in best for point in front], bool)
    groups = (
        ("not dominated", strong & ~plain, "o", False),
        ("dominated", ~strong & ~plain, "o", True),
        ("weights (1, 0)", strong & plain, "s", False),
        ("weights (1, 0), dominated", ~strong & plain, "s", True),
    )
    for label, group, marker, faint in groups:
        if not group.any():
            continue
        shade = colors.to_rgba(weights[group]) if colors and marker == "o" else _BLACK
        axes.scatter(
            *chosen(places, group),
            c=shade,
            s=26 if faint else 42,
            marker=marker,
            alpha=0.4 if faint else 1,
            edgecolors="none" if faint else "black",
            linewidths=0.6,
            zorder=3 if faint else 4,
            label=label,
        )
    for (label, knee), (marker, color) in zip(knees.items(), _KNEES, strict=False):
        look = {"facecolors": "none", "edgecolors": color, "linewidths": 1.6}
        where = chosen(places, knee)
        axes.scatter(*where, s=170, marker=marker, zorder=5, label=label, **look)
    if len(star[0]):
        look = {"marker": "*", "color": _ORANGE, "edgecolors": "black", "zorder": 6}
        label = f"{_words(run.summary['knee'])} knee, trained in full"
        axes.scatter(*star, s=210, linewidths=0.8, label=label, **look)
