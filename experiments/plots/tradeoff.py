"""Figure of final test accuracies against the dense weights left."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bopt.fronts import Front
from experiments.plots.axes import (
    COLORS,
    MARKERS,
    attained,
    inside,
    legend_below,
    results,
    show_attained,
    show_results,
    shown,
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
    """Draw trainings, fronts, and published networks.

    The line of a front is its non-dominated points or, of several seeds, what half of
    them attain (`bopt.fronts.attainment`); its band reaches from the best to the worst.

    Points that no other dominates in this figure, and those of the fronts, are always
    shown; others that are far less accurate may lie outside, and are counted.
    """
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(f"Accuracy against dense weights left: {shown(title)}", fontsize=11)
    values = np.array([own[1:5] for own in trainings]).reshape(-1, 2, 2) * [1, 100]
    ends, deviations = values[:, 0], values[:, 1]
    lines = {name: attained(front, 0.5) for name, front in fronts.items() if front}
    others = results(published)
    own = np.concatenate([ends, *lines.values()])
    around = np.zeros_like(own)
    around[: len(ends)] = deviations
    show_results(axes, own, np.arange(len(own)) >= len(ends), others, around)

    for number, name in enumerate(lines):
        color = COLORS[number % len(COLORS)] if len(lines) > 1 else "0.6"
        marker = MARKERS[(number + number // len(COLORS)) % len(MARKERS)]
        look = {"color": color, "marker": marker, "zorder": 1}
        show_attained(axes, fronts[name], name, lw=1, ms=4, **look)
    for number in map(int, np.flatnonzero(inside(axes, ends))):
        x, y = deviations[number] if deviations[number].any() else (None, None)
        axes.errorbar(
            *ends[number],
            xerr=x,
            yerr=y,
            color=COLORS[number % len(COLORS)],
            marker=MARKERS[number // len(COLORS) * 3 % len(MARKERS)],
            markerfacecolor=None if trainings[number].pruned else "white",
            linestyle="none",
            capsize=2,
            label=shown(trainings[number].label),
        )
    if len(others):
        axes.plot(*others.T, "kx", ms=5, label="Published networks", zorder=0)
    tidy(axes)
    legend_below(figure, [axes])
    return figure
