"""Figures of a Pareto front and of the search that found it.

After M. Reiners, K. Klamroth, F. Heldmann, M. Stiglmayr, "Efficient and sparse neural
networks by pruning weights in a multiobjective learning approach", Computers &
Operations Research 2022 (arXiv 2008.13590), section 5, and its code.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from bopt.fronts import Front, Point
from experiments.plots.axes import (
    ACCURACY,
    COLORS,
    CROSS_ENTROPY,
    DENSE_LEFT,
    L1_NORM,
    legend_below,
    must_show,
    not_shown,
    results,
    set_limits,
    tidy,
)

_BLUE, _RED, _GREEN, _PINK, _ORANGE, _, _BLACK = COLORS
_GREY = "#808080"
_KNEES = (("o", _RED), ("s", _BLUE), ("D", _PINK), ("^", _BLACK))
_PANELS, _COLUMNS = 12, 4  # of the levels, at most


def front_figure(
    front: Front,
    title: str,
    *,
    knees: Mapping[str, str] | None = None,
    chosen: str | None = None,
    final: Point | None = None,
    published: Front | None = None,
) -> Figure:
    """Draw a front's objectives, and its test accuracies against the weights left.

    Both panels contain all non-dominated points; dominated networks that are far less
    accurate may lie outside, and are counted.

    Args:
      front: the points.
      title: network, data and search.
      knees: criterion -> name of a point.
      chosen: the criterion whose knee was trained again.
      final: the result of that training.
      published: networks for comparison, with test_accuracy and nonzero_dense.
    """
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(f"Pareto front: {title}", fontsize=11)
    star, published = Front([final] if final else []), published or Front()

    costs = _objectives(front)[:, ::-1]
    near = must_show(front.column("validation_accuracy"), costs)
    best = _objectives(front.nondominated())
    if len(best):
        look = {"color": _GREY, "linewidth": 0.8, "zorder": 1.8}
        left.step(best[:, 1], best[:, 0], where="post", **look)
    stars = _objectives(star)[:, ::-1]
    set_limits(left, np.concatenate([costs[near], stars]))
    left.set(xlabel=L1_NORM, ylabel=CROSS_ENTROPY)
    left.set_title(not_shown(left, costs), fontsize=8, loc="right")

    ends, others = results(star), results(published)
    known = np.concatenate([results(front), ends, others])
    shown = must_show(known[:, 1] / 100, known * [1, -1])
    shown[: len(front)] |= _nondominated(front)
    shown[len(front) : len(front) + len(star)] = True
    set_limits(right, known[shown], log_x=True, accuracy=True)
    if len(published):
        look = {"marker": "+", "s": 24, "linewidths": 0.9, "color": _GREY, "zorder": 2}
        right.scatter(*others.T, label="Published networks", **look)
    right.set(xlabel=DENSE_LEFT, ylabel=ACCURACY)
    note = not_shown(right, results(front), others)
    right.set_title(note, fontsize=8, loc="right")

    colors = _colors(front.column("weight_1")[near])
    marks = _knees(front, knees or {}, chosen)
    for axes, places, end in (left, costs, stars), (right, results(front), ends):
        tidy(axes)
        _networks(axes, front, places, colors)
        for (label, knee), (marker, color) in zip(marks.items(), _KNEES, strict=False):
            look = {"facecolors": "none", "edgecolors": color, "linewidths": 1.6}
            where = places[knee].T
            axes.scatter(*where, s=170, marker=marker, zorder=5, label=label, **look)
        if final:
            look = {"marker": "*", "color": _ORANGE, "edgecolors": "black", "zorder": 6}
            label = f"{_words(chosen or '')} knee, trained in full".strip().capitalize()
            axes.scatter(*end.T, s=210, linewidths=0.8, label=label, **look)
    if colors:
        bar = figure.colorbar(colors, ax=(left, right), pad=0.01, aspect=30)
        bar.set_label("Weight of objective 1 (l1 norm)")
    legend_below(figure, (left, right))
    return figure


def _objectives(front: Front) -> np.ndarray:
    """(n, 2): cross entropy, l1 norm."""
    return np.stack([front.column("objective_0"), front.column("objective_1")], 1)


def _nondominated(front: Front) -> np.ndarray:
    best = set(front.nondominated())
    return np.array([point in best for point in front], bool)


def _colors(weights: np.ndarray) -> ScalarMappable | None:
    """Colours from the smallest to the largest positive weight, if there is one."""
    weights = weights[weights > 0]
    if not len(weights):
        return None
    low, high = weights.min(), weights.max()
    if low == high:  # a colour bar needs a range
        low, high = low / 2, 2 * high
    return ScalarMappable(LogNorm(low, high), "viridis")


def _knees(
    front: Front, knees: Mapping[str, str], chosen: str | None
) -> dict[str, np.ndarray]:
    """Label in the legend -> mask of the points with the knee's name."""
    names = np.array([point.name for point in front], str)
    criteria: dict[str, list[str]] = {}
    for criterion, name in knees.items():
        mark = " (chosen)" if criterion == chosen else ""
        criteria.setdefault(name, []).append(_words(criterion) + mark)
    return {f"Knee: {', '.join(x)}": names == name for name, x in criteria.items()}


def _words(criterion: str) -> str:
    return criterion.replace("_", " ")


def _networks(
    axes: Axes, front: Front, places: np.ndarray, colors: ScalarMappable | None
) -> None:
    """Draw all points of a front at their places in this panel."""
    weights = front.column("weight_1")
    alone, strong = weights == 0, _nondominated(front)
    groups = (
        ("Non-dominated", strong & ~alone, "o", False),
        ("Dominated", ~strong & ~alone, "o", True),
        ("Non-dominated, cross entropy alone", strong & alone, "s", False),
        ("Dominated, cross entropy alone", ~strong & alone, "s", True),
    )
    for label, group, marker, faint in groups:
        if not group.any():
            continue
        shade = colors.to_rgba(weights[group]) if colors and marker == "o" else _BLACK
        axes.scatter(
            *places[group].T,
            c=shade,
            s=26 if faint else 42,
            marker=marker,
            alpha=0.4 if faint else 1,
            edgecolors="none" if faint else "black",
            linewidths=0.6,
            zorder=3 if faint else 4,
            label=label,
        )


def levels_figure(front: Front, title: str) -> Figure:
    """Draw the points that each level of a search started from and found.

    Level k starts from the hull of the earlier points, means over the seeds. A front
    of more than 12 levels shows the last 12.
    """
    known = sorted({point.level for point in front}) or [0]
    shown = known[-_PANELS:]
    rows = -(-len(shown) // _COLUMNS)
    columns = -(-len(shown) // rows)
    width, height = max(6.4, 2.9 * columns), max(4.2, 2.5 * rows + 0.6)
    figure = Figure(figsize=(width, height + 0.35), layout="constrained")
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(height, 0.35))
    whole, strip = parts.flat
    panels = whole.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    count = f" (last {len(shown)} of {len(known)})" if len(shown) < len(known) else ""
    whole.suptitle(f"Levels of the search{count}: {title}", fontsize=11)
    places = _objectives(front)
    near = must_show(front.column("validation_accuracy"), places)
    set_limits(panels[0, 0], places[near], few_ticks=columns > 2)
    for level, axes in zip(shown, panels.flat, strict=False):
        _level(axes, front, level)
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    for column in range(len(shown) % columns or columns, columns):
        panels[-2, column].tick_params(labelbottom=True)
    whole.supxlabel(CROSS_ENTROPY, fontsize=10)
    whole.supylabel(L1_NORM, fontsize=10)
    legend_below(strip, panels.flat[: len(shown)][::-1])
    return figure


def _level(axes: Axes, front: Front, level: int) -> None:
    tidy(axes)
    seen = Front(point for point in front if point.level <= level)
    before = Front(point for point in seen if point.level < level)
    new = Front(point for point in seen if point.level == level)
    if len(before):
        current = _objectives(before.means().hull()).T
        axes.plot(*current, color=_ORANGE, lw=1.4, zorder=2, label="Segments")
        small = {"s": 18, "linewidths": 0.9, "color": _BLACK, "zorder": 3}
        axes.scatter(
            *_objectives(before).T, marker="x", label="Earlier points", **small
        )
        large = {"s": 55, "linewidths": 2.2, "color": _GREEN, "zorder": 4}
        several = len(front.means()) < len(front)
        label = "Current points" + " (means over seeds)" * several
        axes.scatter(*current, marker="x", label=label, **large)
    if len(new):
        look = {"s": 30, "facecolors": "none", "edgecolors": _RED, "linewidths": 1.4}
        axes.scatter(*_objectives(new).T, zorder=5, label="New points", **look)
    axes.set_title(f"Level {level}", fontsize=9, loc="left")
    axes.set_title(not_shown(axes, _objectives(seen)), fontsize=7, loc="right")
