"""Figures of a Pareto front and of the search that found it.

After M. Reiners, K. Klamroth, F. Heldmann, M. Stiglmayr, "Efficient and sparse neural
networks by pruning weights in a multiobjective learning approach", Computers &
Operations Research 2022 (arXiv 2008.13590), section 5, and its code.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from bopt.fronts import Front, Point, indicators
from experiments.plots.axes import (
    COLORS,
    legend_below,
    must_show,
    not_shown,
    results,
    set_limits,
    show_attained,
    show_results,
    shown,
    tidy,
)

_CROSS_ENTROPY = "Validation cross entropy (nats)"
_BLUE, _RED, _GREEN, _PINK, _ORANGE, _, _BLACK = COLORS
_GREY = "#808080"
_KNEES = (("o", _RED), ("s", _BLUE), ("D", _PINK), ("^", _BLACK))
_BEST = {"s": 42, "alpha": 1, "edgecolors": "black", "zorder": 4}
_DOMINATED = {"s": 26, "alpha": 0.4, "edgecolors": "none", "zorder": 3}
_ALONE = {"marker": "s", "c": _BLACK}
_PANELS, _COLUMNS = 12, 4  # of the levels, at most


def front_figure(
    front: Front,
    title: str,
    *,
    knees: Mapping[str, str] | None = None,
    chosen: str | None = None,
    final: Point | None = None,
    published: Front | None = None,
    of_numbers: bool = False,
) -> Figure:
    """Draw a front's objectives, and its test accuracies against the weights left.

    The line of the right panel is what half of several seeds attain; its band reaches
    from the best to the worst. Both panels contain all non-dominated points, and
    `final`, the chosen knee trained in full; dominated networks that are far less
    accurate may lie outside, and are counted. `knees` maps criteria to names of points.
    `of_numbers`: objective 1 is the number of weights, and the weights of points are
    the shares kept and pruned.
    """
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(f"Pareto front: {shown(title)}", fontsize=11)
    star = Front([final] if final else [])

    costs, stars = (_objectives(x)[:, ::-1] for x in (front, star))
    best = np.isin(np.arange(len(front)), indicators.nondominated(costs))
    stairs = _objectives(front.nondominated())[:, ::-1]
    left.step(*stairs.T, where="post", color=_GREY, linewidth=0.8, zorder=1.8)
    near = must_show(front.column("validation_accuracy"), costs)
    set_limits(left, np.concatenate([costs[near], stars]))
    left.set(xlabel=_complexity(of_numbers), ylabel=_CROSS_ENTROPY)
    left.set_title(not_shown(left, costs), fontsize=8, loc="right")

    own, ends, others = map(results, (front, star, published or Front()))
    always = np.concatenate([best, np.ones(len(star), bool)])
    show_results(right, np.concatenate([own, ends]), always, others)
    if len(front.by_seed()) > 1:
        look = {"color": _GREY, "linewidth": 0.8, "zorder": 1.8}
        show_attained(right, front, "Attained by half of the seeds", **look)
    if len(others):
        look = {"marker": "+", "s": 24, "linewidths": 0.9, "color": _GREY, "zorder": 2}
        right.scatter(*others.T, label="Published networks", **look)

    weights, colors = front.column(f"weight_{0 if of_numbers else 1}"), None
    if len(scale := weights[near & (weights > 0)]):
        low, high = scale.min(), scale.max()
        wide = (low, high) if low < high else (low / 2, 2 * high)
        colors = ScalarMappable(LogNorm(*wide), "viridis")
    marks = [*_networks(weights, best, colors), *_knees(front, knees or {}, chosen)]
    for axes, places, end in (left, costs, stars), (right, own, ends):
        tidy(axes)
        for group, look in marks:
            axes.scatter(*places[group].T, **look)
        if final:
            look = {"marker": "*", "color": _ORANGE, "edgecolors": "black", "zorder": 6}
            words = f"{shown(chosen or '')} knee, trained in full"
            words = words.replace("_", " ").strip()
            axes.scatter(
                *end.T, s=210, linewidths=0.8, label=words.capitalize(), **look
            )
    if colors:
        bar = figure.colorbar(colors, ax=(left, right), pad=0.01, aspect=30)
        label = "Weight of objective 1 (l1 norm)"
        bar.set_label("Share of the weights left" if of_numbers else label)
    legend_below(figure, (left, right))
    return figure


def _complexity(of_numbers: bool) -> str:
    return "Weights left" if of_numbers else "l1 norm of the dense weights"


def _objectives(front: Front) -> np.ndarray:
    """(n, 2): cross entropy, complexity."""
    return np.stack([front.column("objective_0"), front.column("objective_1")], 1)


def _networks(
    weights: np.ndarray, best: np.ndarray, colors: ScalarMappable | None
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Yield groups of points, and the look of their markers."""
    alone = weights == 0
    for label, group, look in (
        ("Non-dominated", best & ~alone, _BEST),
        ("Dominated", ~best & ~alone, _DOMINATED),
        ("Non-dominated, cross entropy alone", best & alone, _BEST | _ALONE),
        ("Dominated, cross entropy alone", ~best & alone, _DOMINATED | _ALONE),
    ):
        if group.any():
            shade = colors.to_rgba(weights[group]) if colors else _BLACK
            yield group, {"c": shade, "linewidths": 0.6, "label": label} | look


def _knees(
    front: Front, knees: Mapping[str, str], chosen: str | None
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Yield the points of each knee, and the look of its marker, as `_networks`."""
    criteria: dict[str, list[str]] = {}
    for criterion, name in knees.items():
        mark = " (chosen)" if criterion == chosen else ""
        criteria.setdefault(name, []).append(criterion.replace("_", " ") + mark)
    names = np.array([point.name for point in front], str)
    for (name, own), (marker, color) in zip(criteria.items(), _KNEES, strict=False):
        look = {"facecolors": "none", "edgecolors": color, "linewidths": 1.6}
        look |= {"s": 170, "marker": marker, "zorder": 5}
        yield names == name, look | {"label": shown(f"Knee: {', '.join(own)}")}


def levels_figure(front: Front, title: str, *, of_numbers: bool = False) -> Figure:
    """Draw the points that each level of a search started from and found.

    Level k starts from the hull of the earlier points, means over the seeds. A front
    of more than 12 levels shows the last 12.
    """
    known = sorted({int(own) for own in front.column("level")}) or [0]
    last = known[-_PANELS:]
    rows = -(-len(last) // _COLUMNS)
    columns = -(-len(last) // rows)
    width, height = max(6.4, 2.9 * columns), max(4.2, 2.5 * rows + 0.6)
    figure = Figure(figsize=(width, height + 0.35), layout="constrained")
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(height, 0.35))
    whole, strip = parts.flat
    panels = whole.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    count = f" (last {len(last)} of {len(known)})" if len(last) < len(known) else ""
    text = f"Levels of the search{count}: {shown(title)}"
    whole.suptitle("\n".join(textwrap.wrap(text, int(11 * width))), fontsize=11)
    places = _objectives(front)
    near = must_show(front.column("validation_accuracy"), places)
    set_limits(panels[0, 0], places[near], few_ticks=columns > 2)
    for level, axes in zip(last, panels.flat, strict=False):
        _level(axes, front, level)
    for axes in panels.flat[len(last) :]:
        axes.remove()
    for column in range(len(last) % columns or columns, columns):
        panels[-2, column].tick_params(labelbottom=True)
    whole.supxlabel(_CROSS_ENTROPY, fontsize=10)
    whole.supylabel(_complexity(of_numbers), fontsize=10)
    legend_below(strip, panels.flat[: len(last)][::-1])
    return figure


def _level(axes: Axes, front: Front, level: int) -> None:
    tidy(axes)
    before = Front(point for point in front if point.metrics["level"] < level)
    new = Front(point for point in front if point.metrics["level"] == level)
    earlier, found = _objectives(before), _objectives(new)
    if len(before):
        current = _objectives(before.means().hull()).T
        axes.plot(*current, color=_ORANGE, lw=1.4, zorder=2, label="Segments")
        small = {"s": 18, "linewidths": 0.9, "color": _BLACK, "zorder": 3}
        axes.scatter(*earlier.T, marker="x", label="Earlier points", **small)
        large = {"s": 55, "linewidths": 2.2, "color": _GREEN, "zorder": 4}
        several = len(front.means()) < len(front)
        label = "Current points" + " (means over seeds)" * several
        axes.scatter(*current, marker="x", label=label, **large)
    if len(new):
        look = {"s": 30, "facecolors": "none", "edgecolors": _RED, "linewidths": 1.4}
        axes.scatter(*found.T, zorder=5, label="New points", **look)
    axes.set_title(f"Level {level}", fontsize=9, loc="left")
    note = not_shown(axes, np.concatenate([earlier, found]))
    axes.set_title(note, fontsize=7, loc="right")
