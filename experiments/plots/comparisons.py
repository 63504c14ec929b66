"""Figures of several runs, with a panel for each metric or dense layer.

After the figures in the code of M. Reiners, K. Klamroth, F. Heldmann, M. Stiglmayr,
"Efficient and sparse neural networks by pruning weights in a multiobjective learning
approach", Computers & Operations Research 2022 (arXiv 2008.13590).
"""

from matplotlib.figure import Figure

from experiments.plots.axes import DENSE_LEFT, legend_below, log_ticks, shown
from experiments.plots.lines import (
    References,
    Runs,
    draw_line,
    draw_reference,
    fit_accuracies,
    fit_counts,
    over_epochs,
    series,
)

_PANELS, _COLUMNS = 9, 3  # of the layers, at most
_DASHES = {"train": "-", "validation": ":"}


def comparisons(
    runs: Runs, subject: str, references: References | None = None
) -> dict[str, Figure]:
    """Draw training and validation, and the dense layers, of labels and rows.

    Runs have the colours and markers of `experiments.plots.curves`. The layers are
    those that all runs share, if there are several; their totals are in the curves.
    """
    references = references or {}
    figures = {"train_validation": _train_validation(runs, subject, references)}
    first = [rows[0]["nonzeros"] for _, rows in runs if rows]
    shared = [x for x in first[0] if all(x in own for own in first)] if first else []
    if len(shared) > 1:
        figures["layers"] = _layers(runs, shared[:_PANELS], subject, references)
    return figures


def _train_validation(runs: Runs, subject: str, references: References) -> Figure:
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle(f"Training and validation: {shown(subject)}", fontsize=11)
    left, right = figure.subplots(1, 2)
    for axes, metric, factor in (
        (left, "accuracy", 100),
        (right, "cross_entropy", 1),
    ):
        for number, (label, rows) in enumerate(runs):
            for split, dashes in _DASHES.items():
                points = series(rows, f"{split}_{metric}", factor)
                own = label if split == "train" else None
                draw_line(axes, number, points, own, dashes=dashes)
    fit_accuracies(left)
    for name, dashes in zip(("Training", "Validation"), _DASHES.values(), strict=True):
        left.plot([], [], color="black", linestyle=dashes, label=name)
    draw_reference(left, references.get("accuracy"))
    right.set_yscale("log")
    log_ticks(right.yaxis, *right.get_ylim())
    left.set_ylabel("Accuracy (%)")
    right.set_ylabel("Cross entropy (nats)")
    for axes in (left, right):
        over_epochs(axes)
    legend_below(figure, [left])
    return figure


def _layers(
    runs: Runs, layers: list[str], subject: str, references: References
) -> Figure:
    columns = min(len(layers), _COLUMNS)
    rows_of_panels = -(-len(layers) // columns)
    size = (3.6 * columns + 0.8, 3.4 * rows_of_panels + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(f"Dense weights left per layer: {shown(subject)}", fontsize=11)
    grid = figure.subplots(rows_of_panels, columns, squeeze=False)
    for layer, axes in zip(layers, grid.flat, strict=False):
        for number, (label, rows) in enumerate(runs):
            left = {row["epoch"]: row["nonzeros"][layer] for row in rows}
            draw_line(axes, number, left, label)
        fit_counts(axes)
        draw_reference(axes, references.get(layer))
        if axes.get_yscale() == "log":
            log_ticks(axes.yaxis, *axes.get_ylim())
        axes.set_title(shown(layer), fontsize=10)
        over_epochs(axes)
    for axes in grid.flat[len(layers) :]:
        axes.remove()
    figure.supylabel(DENSE_LEFT, fontsize=10)
    legend_below(figure, grid.flat[: len(layers)])
    return figure
