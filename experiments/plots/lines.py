"""Lines over the epochs: their looks, axes, and reference lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from experiments.plots.axes import (
    COLORS,
    DASHES,
    MARKERS,
    error_axis,
    needs_error_axis,
    shown,
    tidy,
)

Rows = list[dict[str, Any]]  # of metrics.jsonl
Points = Mapping[int, float]  # by epoch
Runs = Sequence[tuple[str, Rows]]  # labels and rows

# "accuracy", "weight" or the name of a dense layer -> value of a reference line.
References = Mapping[str, float]
_NEAR = 0.25  # of an axis' height: a line so far outside is still shown
_GREY = "0.45"
_REFERENCE = "Reference line of the paper's code"


def series(rows: Rows, key: str, factor: float = 1) -> dict[int, float]:
    """Epoch -> value, where it is known."""
    found = {row["epoch"]: row.get(key) for row in rows}
    return {epoch: factor * x for epoch, x in found.items() if x is not None}


def draw_line(
    axes: Axes,
    number: int,
    points: Points,
    label: str | None,
    *,
    color: int | None = None,
    dashes: str | None = None,
) -> None:
    """Draw a line in the look of its number; with `dashes`, these instead."""
    axes.plot(
        list(points.keys()),
        list(points.values()),
        color=COLORS[(number if color is None else color) % len(COLORS)],
        linestyle=dashes or DASHES[number % len(DASHES)],
        marker=MARKERS[(number + number // len(COLORS)) % len(MARKERS)],
        markersize=4,
        markevery=max(1, len(points) // 10),
        linewidth=1.6,
        label=label and shown(label),
    )


def draw_reference(axes: Axes, value: float | None, name: str = "") -> None:
    """Draw a grey dashed line at a value, with its number beside the panel.

    It is left out if it lies far outside of the panel, whose curves come first.
    """
    if value is None:
        return
    scale = axes.yaxis.get_transform()
    low, high, place = scale.transform(np.array([*axes.get_ylim(), value], float))
    share = (place - low) / (high - low)
    if not -_NEAR <= share <= 1 + _NEAR:
        return
    margin = 0.04 * (high - low)
    ends = np.array([min(low, place - margin), max(high, place + margin)])
    axes.set_ylim(*scale.inverted().transform(ends))
    label = None if _GREY in (line.get_color() for line in axes.lines) else _REFERENCE
    axes.axhline(value, color=_GREY, linestyle="--", lw=1.2, zorder=1.5, label=label)
    axes.annotate(
        f"{name}: {value:,.10g}" if name else f"{value:,.10g}",
        (1, value),
        (3, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=_GREY,
    )


def over_epochs(axes: Axes) -> None:
    """Name the axis of epochs, with whole numbers, and add the grid."""
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    tidy(axes)


def fit_accuracies(axes: Axes) -> None:
    """Fit the limits to accuracies in percent from epoch 1 on.

    Epoch 0 is at chance: limits that included it would hide the others. If a run is
    far less accurate than the best, the axis is logarithmic in the error.
    """
    points = [np.asarray(line.get_xydata(), float) for line in axes.lines]
    epochs, values = np.concatenate([np.empty((0, 2)), *points]).T
    if epochs.any():
        values = values[epochs > 0]
        low = values.min()
        margin = 0.05 * (100 - low)
        axes.set_ylim(low - margin - 0.01, 100 + margin)
        if needs_error_axis(low, values.max()):
            error_axis(axes, low, 100, few=True)


def fit_counts(axes: Axes) -> None:
    """Make an axis of counts logarithmic, with a place for 0 if a line has it."""
    if any(0 in np.asarray(line.get_ydata()) for line in axes.lines):
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
