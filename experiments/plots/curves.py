"""Curves of runs over the epochs: accuracy, loss, weight of objective 1, sparsity."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.plots.axes import (
    COLORS,
    DASHES,
    DENSE_LEFT,
    MARKERS,
    log_ticks,
    shown,
    tidy,
)

Rows = list[dict[str, Any]]  # of metrics.jsonl
Points = Mapping[int, float]  # by epoch
Runs = Sequence[tuple[str, Rows]]

_SPLITS = {"Training": "train", "Validation": "validation", "Test": "test"}
_LAYERS = {"conv": "convolutional layers", "dense": "dense layers"}


def curves(runs: Runs, subject: str) -> dict[str, Figure]:
    """Draw figures of labels and rows: one run, or several runs for comparison.

    One run shows its splits and layers, several show their test results and totals.
    Rows that are means over seeds get a band of one standard deviation on each side.
    Titles end with the subject.
    """
    panels = dict(accuracy=_accuracy, loss=_loss, weight=_weight, nonzeros=_nonzeros)
    figures = {}
    for name, panel in panels.items():
        figures[name] = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figures[name].subplots()
        axes.set_title(f"{panel(axes, runs)}: {shown(subject)}", fontsize=11)
        if axes.get_yscale() == "log" and name != "weight":
            log_ticks(axes.yaxis, *axes.get_ylim())
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        tidy(axes)
        if len(runs) > 4:  # inside, the legend would hide some of them
            below = {"loc": "outside lower center", "ncols": 2, "frameon": False}
            figures[name].legend(fontsize=9, **below)
        elif lines := axes.get_legend_handles_labels()[0]:
            columns = 1 + len(lines) // 5
            axes.legend(framealpha=0.7, edgecolor="none", fontsize=9, ncols=columns)
    return figures


def _accuracy(axes: Axes, runs: Runs) -> str:
    title = _metric(axes, runs, "Accuracy", "%", 100)
    epochs, values = np.concatenate([line.get_xydata() for line in axes.lines]).T
    # The first epoch is at chance: limits that included it would hide the others.
    if epochs.any():
        low = values[epochs > 0].min()
        margin = 0.05 * (100 - low)
        axes.set_ylim(low - margin - 0.01, 100 + margin)
    return title


def _loss(axes: Axes, runs: Runs) -> str:
    title = _metric(axes, runs, "Cross entropy", "nats")
    axes.set_yscale("log")
    return title


def _metric(axes: Axes, runs: Runs, title: str, unit: str, factor: int = 1) -> str:
    """Draw a metric of each split of one run, or of the test split of each run."""
    metric = title.lower().replace(" ", "_")
    if len(runs) == 1:
        lines = [(label, split, runs[0][1]) for label, split in _SPLITS.items()]
    else:
        lines = [(label, "test", rows) for label, rows in runs]
        title = f"Test {title.lower()}"
    for number, (label, split, rows) in enumerate(lines):
        key = f"{split}_{metric}"
        rows = [row for row in rows if row[key] is not None]
        points = {row["epoch"]: factor * row[key] for row in rows}
        _line(axes, number, points, label)
        deviations = [row.get("deviation", {}).get(key) or 0.0 for row in rows]
        if any(deviations):
            around = np.outer((-factor, factor), deviations)
            band = np.array(list(points.values())) + around
            color = COLORS[number % len(COLORS)]
            axes.fill_between(list(points), *band, color=color, alpha=0.2, lw=0)
    axes.set_ylabel(f"{title} ({unit})")
    return title


def _weight(axes: Axes, runs: Runs) -> str:
    several, drawn = len(runs) > 1, []
    for number, (name, rows) in enumerate(runs):
        for index, (group, shares) in enumerate(_shares(rows).items()):
            layers = _LAYERS.get(group, group)
            label = ", ".join([name] * several + [layers] * bool(layers)) or None
            if label and not several:
                label = label.capitalize()
            # Each run of a comparison keeps its colour of the other figures.
            color = number if several else index
            _line(axes, number + 3 * index, shares, label, color)
            drawn += shares.values()
    if any(drawn) or not drawn:  # zeros alone, with --l1 0, have no logarithm
        axes.set_yscale("log", nonpositive="mask")
    axes.set_ylabel("Weight of objective 1 (share of the sum)")
    return "Weight of objective 1"


def _shares(rows: Rows) -> dict[str, dict[int, float]]:
    """Group of layers -> epoch -> share; without --split, one group ""."""
    groups: dict[str, dict[int, float]] = {}
    for row in rows:
        weights = row["weights"] or {}
        own = weights if isinstance(weights, dict) else {"": weights}
        for group, (w0, w1) in own.items():
            if w0 is not None and w1 is not None:
                groups.setdefault(group, {})[row["epoch"]] = w1 / (w0 + w1 or 1)
    return groups or {"": {}}


def _nonzeros(axes: Axes, runs: Runs) -> str:
    # Convolutions count in all runs if any run prunes them.
    conv = any(row.get("conv_sparsity") for _, rows in runs for row in rows)
    for name, rows in runs:
        layers = {
            row["epoch"]: row["nonzeros"]
            | (row.get("nonzeros_conv", {}) if conv else {})
            for row in rows
        }
        names = next(iter(layers.values()), {})
        lines = {x: {epoch: own[x] for epoch, own in layers.items()} for x in names}
        if len(runs) > 1:
            lines = {name: {epoch: sum(own.values()) for epoch, own in layers.items()}}
        for label, left in lines.items():
            _line(axes, len(axes.lines), left, label)
    if any(0 in np.asarray(line.get_ydata()) for line in axes.lines):
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
    axes.set_ylabel("Weights left (nonzero entries)" if conv else DENSE_LEFT)
    return "Weights left" if conv else "Dense weights left"


def _line(axes: Axes, number: int, points: Points, label, color=None) -> None:
    axes.plot(
        list(points.keys()),
        list(points.values()),
        color=COLORS[(number if color is None else color) % len(COLORS)],
        linestyle=DASHES[number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)],
        markersize=4,
        markevery=max(1, len(points) // 10),
        linewidth=1.6,
        label=label and shown(label),
    )
