"""Curves of runs over the epochs: accuracy, loss, weight, sparsity, stationarity."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.plots.axes import COLORS, DENSE_LEFT, fit_axis, log_ticks, shown
from experiments.plots.lines import (
    References,
    Rows,
    Runs,
    draw_line,
    draw_reference,
    fit_accuracies,
    fit_counts,
    over_epochs,
    series,
)

_SPLITS = {"Training": "train", "Validation": "validation", "Test": "test"}
_ZERO = 1e-12  # a smaller stationarity is drawn as 0
_LAYERS = {"conv": "convolutional layers", "dense": "dense layers"}


def curves(
    runs: Runs, subject: str, references: References | None = None
) -> dict[str, Figure]:
    """Draw figures of labels and rows: one run, or several runs for comparison.

    One run shows its splits and layers, several show their test results and totals.
    Rows that are means over seeds get a band of one standard deviation on each side.
    Titles end with the subject. The stationarity is drawn where a row has it.
    """
    panels = dict(accuracy=_accuracy, loss=_loss, weight=_weight, nonzeros=_nonzeros)
    if any(series(rows, "stationarity") for _, rows in runs):
        panels |= {"stationarity": _stationarity}
    figures = {}
    for name, panel in panels.items():
        figures[name] = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figures[name].subplots()
        title = panel(axes, runs, references or {})
        axes.set_title(f"{title}: {shown(subject)}", fontsize=11)
        if axes.get_yscale() == "log" and name not in ("weight", "stationarity"):
            log_ticks(axes.yaxis, *axes.get_ylim())
        over_epochs(axes)
        if len(runs) > 4:  # inside, the legend would hide some of them
            below = {"loc": "outside lower center", "ncols": 2, "frameon": False}
            figures[name].legend(fontsize=9, **below)
        elif lines := axes.get_legend_handles_labels()[0]:
            columns = 1 + len(lines) // 5
            axes.legend(framealpha=0.7, edgecolor="none", fontsize=9, ncols=columns)
    return figures


def _accuracy(axes: Axes, runs: Runs, references: References) -> str:
    title = _metric(axes, runs, "Accuracy", "%", 100)
    fit_accuracies(axes)
    draw_reference(axes, references.get("accuracy"))
    return title


def _loss(axes: Axes, runs: Runs, references: References) -> str:
    del references
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
        _with_band(axes, number, rows, f"{split}_{metric}", label, factor)
    axes.set_ylabel(f"{title} ({unit})")
    return title


def _with_band(
    axes: Axes, number: int, rows: Rows, key: str, label: str | None, factor: int = 1
) -> np.ndarray:
    """Draw a key of the rows, and its deviation over the seeds around it.

    Return the values and the edges of the band.
    """
    points = series(rows, key, factor)
    draw_line(axes, number, points, label)
    own = {row["epoch"]: row.get("deviation", {}).get(key) or 0.0 for row in rows}
    deviations = [own[epoch] for epoch in points]
    band = np.array(list(points.values())) + np.outer((-factor, factor), deviations)
    if any(deviations):
        color = COLORS[number % len(COLORS)]
        axes.fill_between(list(points), *band, color=color, alpha=0.2, lw=0)
    return np.concatenate([list(points.values()), *band])


def _weight(axes: Axes, runs: Runs, references: References) -> str:
    several, drawn = len(runs) > 1, []
    for number, (name, rows) in enumerate(runs):
        for index, (group, shares) in enumerate(_shares(rows).items()):
            layers = _LAYERS.get(group, group)
            label = ", ".join([name] * several + [layers] * bool(layers)) or None
            if label and not several:
                label = label.capitalize()
            # Each run of a comparison keeps its colour of the other figures.
            color = number if several else index
            draw_line(axes, number + 3 * index, shares, label, color=color)
            drawn += shares.values()
    if any(drawn) or not drawn:  # zeros alone, with --l1 0, have no logarithm
        axes.set_yscale("log", nonpositive="mask")
        draw_reference(axes, references.get("weight"))
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


def _nonzeros(axes: Axes, runs: Runs, references: References) -> str:
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
            draw_line(axes, len(axes.lines), left, label)
    fit_counts(axes)
    if len(runs) == 1:  # several runs show the sum of their layers
        for name in runs[0][1][0]["nonzeros"] if runs[0][1] else ():
            draw_reference(axes, references.get(name), name)
    axes.set_ylabel("Weights left (nonzero entries)" if conv else DENSE_LEFT)
    return "Weights left" if conv else "Dense weights left"


def _stationarity(axes: Axes, runs: Runs, references: References) -> str:
    del references
    drawn = []
    for number, (label, rows) in enumerate(runs):
        if series(rows, "stationarity"):
            label = label if len(runs) > 1 else None
            drawn += [_with_band(axes, number, rows, "stationarity", label)]
    lines = np.concatenate([np.asarray(line.get_ydata()) for line in axes.lines])
    values = np.concatenate(drawn)  # bands may end below 0, which is no value
    shares = np.clip(np.concatenate([lines, values[values > 0]]), 0, 1)
    fit_axis(axes, "y", np.where(shares < _ZERO, 0, shares))
    scale = "relative to the gradients' norms; 0: stationary"
    axes.set_ylabel(f"Norm of the common direction\n({scale})")
    return "Pareto stationarity"
