"""Figure of final test accuracies against the dense weights left."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bopt.fronts import Front
from experiments.plots.axes import (
    ACCURACY,
    COLORS,
    DENSE_LEFT,
    MARKERS,
    inside,
    legend_below,
    must_show,
    not_shown,
    results,
    set_limits,
    tidy,
)


class Trained(NamedTuple):
    """Final values of a training: means and standard deviations over its seeds."""

    label: str
    nonzeros: float
    accuracy: float
    nonzeros_deviation: float = 0.0
    accuracy_deviation: float = 0.0
    pruned: bool = True


def tradeoff(
    trainings: Sequence[Trained],
    fronts: Mapping[str, Front],
    published: Front,
    title: str,
) -> Figure:
    """Draw trainings, the non-dominated points of fronts, and published networks.

    Points that no other dominates in this figure, and those of the fronts, are always
    shown; others that are far less accurate may lie outside, and are counted.
    """
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(f"Accuracy against dense weights left: {title}", fontsize=11)
    x, y, dx, dy = np.array([own[1:5] for own in trainings]).reshape(-1, 4).T
    ends, around = np.stack([x, 100 * y], 1), np.stack([dx, 100 * dy], 1)
    lines = {name: results(front.nondominated()) for name, front in fronts.items()}
    lines = {name: line[np.argsort(line[:, 0])] for name, line in lines.items()}
    others = results(published)
    known = np.concatenate([ends, *lines.values(), others])
    shown = must_show(known[:, 1] / 100, known * [1, -1])
    shown[len(ends) : len(known) - len(others)] = True
    lower, upper = (ends + sign * around for sign in (-1, 1))
    lower = np.where(lower > 0, lower, ends)  # a logarithmic axis has no place for it
    bars = np.concatenate([bar[shown[: len(ends)]] for bar in (lower, upper)])
    set_limits(axes, np.concatenate([known[shown], bars]), log_x=True, accuracy=True)

    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)] if len(lines) > 1 else "0.6"
        look = {"color": color, "marker": MARKERS[number % len(MARKERS)], "zorder": 1}
        axes.step(*line.T, where="post", label=name, lw=1, ms=4, **look)
    visible = inside(axes, ends)
    for number, own in enumerate(trainings):
        if not visible[number]:
            continue
        bar = around[number] if around[number].any() else (None, None)
        axes.errorbar(
            *ends[number],
            xerr=bar[0],
            yerr=bar[1],
            color=COLORS[number % len(COLORS)],
            marker=MARKERS[number // len(COLORS) * 3 % len(MARKERS)],
            markerfacecolor=None if own.pruned else "white",
            linestyle="none",
            capsize=2,
            label=own.label,
        )
    if len(others):
        axes.plot(*others.T, "kx", ms=5, label="Published networks", zorder=0)
    drawn = known[: len(known) - len(others)]
    axes.set_title(not_shown(axes, drawn, others), fontsize=8, loc="right")
    axes.set(xlabel=DENSE_LEFT, ylabel=ACCURACY)
    tidy(axes)
    legend_below(figure, [axes])
    return figure
