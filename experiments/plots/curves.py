"""Curves of runs over the epochs: accuracy, loss, weight of objective 1, sparsity."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.plots.axes import (
    ACCURACY,
    COLORS,
    DASHES,
    DENSE_LEFT,
    MARKERS,
    log_ticks,
    tidy,
)

Rows = list[dict[str, Any]]  # of metrics.jsonl
Runs = Sequence[tuple[str, Rows]]

_SPLITS = {"Training": "train", "Validation": "validation", "Test": "test"}
_LAYERS = {"conv": "convolutional layers", "dense": "dense layers"}


def curves(runs: Runs, subject: str) -> dict[str, Figure]:
    """Draw the four figures of one run, or of several runs for comparison.

    One run shows its splits and layers, several show their test results and totals.
    Rows that are means over seeds get a band of one standard deviation on each side.

    Args:
      runs: label and rows of each run; the label of a single run is not used.
      subject: the end of each title, such as "adam on MNIST".

    Returns:
      Name of a file without ending -> figure: accuracy, loss, weight, nonzeros.
    """
    panels = {
        "accuracy": _accuracy,
        "loss": _loss,
        "weight": _weight,
        "nonzeros": _nonzeros,
    }
    figures = {}
    for name, panel in panels.items():
        figures[name] = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figures[name].subplots()
        axes.set_title(f"{panel(axes, runs)}: {subject}", fontsize=11)
        if axes.get_yscale() == "log" and name != "weight":
            log_ticks(axes.yaxis, *axes.get_ylim())
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        tidy(axes)
        if lines := axes.get_legend_handles_labels()[0]:
            columns = 1 + len(lines) // 5
            axes.legend(framealpha=0.7, edgecolor="none", fontsize=9, ncols=columns)
    return figures


def _accuracy(axes: Axes, runs: Runs) -> str:
    drawn = _metric(axes, runs, "accuracy", 100)
    # The first epoch is at chance: limits that included it would hide the others.
    after = [y for x, values in drawn for e, y in zip(x, values, strict=True) if e]
    if after:
        margin = 0.05 * (100 - min(after))
        axes.set_ylim(min(after) - margin - 0.01, 100 + margin)
    axes.set_ylabel("Accuracy (%)" if len(runs) == 1 else ACCURACY)
    return "Accuracy" if len(runs) == 1 else "Test accuracy"


def _loss(axes: Axes, runs: Runs) -> str:
    _metric(axes, runs, "cross_entropy")
    axes.set_yscale("log")
    title = "Cross entropy" if len(runs) == 1 else "Test cross entropy"
    axes.set_ylabel(f"{title} (nats)")
    return title


def _metric(axes: Axes, runs: Runs, metric: str, factor: float = 1) -> list[tuple]:
    """Draw a metric of each split of one run, or of the test split of each run."""
    lines = [
        (split if len(runs) == 1 else label, f"{key}_{metric}", rows)
        for label, rows in runs
        for split, key in _SPLITS.items()
        if len(runs) == 1 or key == "test"
    ]
    drawn = []
    for number, (label, key, rows) in enumerate(lines):
        rows = [row for row in rows if row[key] is not None]
        epochs = [row["epoch"] for row in rows]
        values = factor * np.array([row[key] for row in rows], float)
        _line(axes, number, epochs, values, label)
        deviations = [row.get("deviation", {}).get(key) or 0.0 for row in rows]
        if any(deviations):
            around = factor * np.array(deviations)
            color = COLORS[number % len(COLORS)]
            band = values - around, values + around
            axes.fill_between(epochs, *band, color=color, alpha=0.2, lw=0)
        drawn.append((epochs, values))
    return drawn


def _weight(axes: Axes, runs: Runs) -> str:
    several, drawn = len(runs) > 1, []
    for number, (name, rows) in enumerate(runs):
        for index, (group, weights) in enumerate(_groups(rows).items()):
            shares = [w1 / (w0 + w1 or 1) for w0, w1 in weights.values()]
            layers = _LAYERS.get(group, group)
            label = ", ".join([name] * several + [layers] * bool(layers)) or None
            if label and not several:
                label = label.capitalize()
            # Each run of a comparison keeps its colour of the other figures.
            color = number if several else index
            _line(axes, number + 3 * index, list(weights), shares, label, color)
            drawn += shares
    if any(drawn) or not drawn:  # zeros alone, with --l1 0, have no logarithm
        axes.set_yscale("log", nonpositive="mask")
    axes.set_ylabel("Weight of objective 1 (share of the sum)")
    return "Weight of objective 1"


def _groups(rows: Rows) -> dict[str, dict[int, list[float]]]:
    """Group of layers -> epoch -> weights; without --split, one group ""."""
    groups: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        weights = row["weights"] or {}
        own = weights if isinstance(weights, dict) else {"": weights}
        for group, pair in own.items():
            if None not in pair:
                groups.setdefault(group, {})[row["epoch"]] = pair
    return groups or {"": {}}


def _nonzeros(axes: Axes, runs: Runs) -> str:
    # Convolutions count in all runs if any run prunes them.
    conv = any(row.get("conv_sparsity") for _, rows in runs for row in rows)
    lines = []
    for name, rows in runs:
        epochs = [row["epoch"] for row in rows]
        left = [
            row["nonzeros"] | (row.get("nonzeros_conv", {}) if conv else {})
            for row in rows
        ]
        if len(runs) > 1:
            lines.append((name, epochs, [sum(layers.values()) for layers in left]))
        elif left:
            lines += [(x, epochs, [layers[x] for layers in left]) for x in left[0]]
    for number, (label, epochs, values) in enumerate(lines):
        _line(axes, number, epochs, values, label)
    if any(0 in values for _, _, values in lines):
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
    axes.set_ylabel("Weights left (nonzero entries)" if conv else DENSE_LEFT)
    return "Weights left" if conv else "Dense weights left"


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
