"""The figure of a search of a Pareto front, level by level.

As the code of M. Reiners, K. Klamroth, F. Heldmann, M. Stiglmayr (arXiv 2008.13590)
draws its dichotomic search.
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bopt.fronts import Front
from experiments.plots.axes import (
    chosen,
    legend_below,
    limit,
    near_best,
    objectives,
    unseen,
)
from experiments.plots.style import COLORS, plt, tidy

_, _RED, _GREEN, _, _ORANGE, _, _BLACK = COLORS
_PANELS, _COLUMNS = 12, 4  # at most


def levels(front: Front, title: str) -> Figure:
    """Draws what each level of a search knew, went on from, and found.

    Level k went on from the hull of what was known before, the means over the seeds.

    Args:
      front: the points, whose `level` is used.
      title: of the search.

    Returns:
      A figure with a panel for each level, the last 12 if there are more.

    Example:
      >>> from bopt.fronts import Front, Point
      >>> from experiments.plots.levels import levels
      >>> from experiments.plots.style import plt
      >>> figure = levels(Front([Point((0.5, 0.5), (1.0, 2.0))]), "A search")
      >>> figure.axes[0].get_title(loc="left")
      'level 0'
      >>> plt.close(figure)
    """
    known = sorted({point.level for point in front}) or [0]
    shown = known[-_PANELS:]
    rows = -(-len(shown) // _COLUMNS)
    columns = -(-len(shown) // rows)
    width, height = max(6.4, 2.9 * columns), max(4.2, 2.5 * rows + 0.6)
    figure = plt.figure(figsize=(width, height + 0.35), layout="constrained")
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(height, 0.35))
    whole, strip = parts.flat
    panels = whole.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    title += ", level by level"
    if len(shown) < len(known):
        title += f" (the last {len(shown)} of {len(known)} levels)"
    whole.suptitle(title, fontsize=11)
    near = near_best(front.column("validation_accuracy"))
    limit(panels[0, 0], chosen(objectives(front), near), few=columns > 2)
    for level, axes in zip(shown, panels.flat, strict=False):
        _level(axes, front, level)
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    for column in range(len(shown) % columns or columns, columns):
        panels[-2, column].tick_params(labelbottom=True)
    whole.supxlabel("validation cross entropy (nats)", fontsize=10)
    whole.supylabel("l1 norm of the dense weights", fontsize=10)
    legend_below(strip, panels.flat[: len(shown)][::-1])
    return figure


def _level(axes: Axes, front: Front, level: int) -> None:
    tidy(axes)
    seen = Front(point for point in front if point.level <= level)
    before = Front(point for point in seen if point.level < level)
    new = Front(point for point in seen if point.level == level)
    if len(before):
        current = objectives(before.means().hull())
        axes.plot(*current, color=_ORANGE, lw=1.4, zorder=2, label="segments")
        small = {"s": 18, "linewidths": 0.9, "color": _BLACK, "zorder": 3}
        axes.scatter(*objectives(before), marker="x", label="earlier points", **small)
        large = {"s": 55, "linewidths": 2.2, "color": _GREEN, "zorder": 4}
        several = len(front.means()) < len(front)
        label = "current points" + " (means over seeds)" * several
        axes.scatter(*current, marker="x", label=label, **large)
    if len(new):
        look = {"s": 30, "facecolors": "none", "edgecolors": _RED, "linewidths": 1.4}
        axes.scatter(*objectives(new), zorder=5, label="new points", **look)
    axes.set_title(f"level {level}", fontsize=9, loc="left")
    axes.set_title(unseen(axes, objectives(seen)), fontsize=7, loc="right")
