"""Style, axis limits and legends of all figures."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

from bopt.fronts import Front, attainment, indicators
from experiments.errors import RunDirectoryError
from experiments.runs import files

# Okabe and Ito's colours, which colour-blind readers can distinguish; dashes and
# markers distinguish the lines in black and white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "<")
ACCURACY = "Test accuracy (%)"
DENSE_LEFT = "Dense weights left (nonzero entries)"
_LONGEST = 160  # characters of a title or label
_ACCURACIES = (0, 20, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 100)


def shown(text: str) -> str:
    """Return a text that may come from a file as Matplotlib shows it: as it is.

    Dollars begin no formula, and what is too long for a figure is cut off.
    """
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return cut.replace("$", r"\$")


def tidy(axes: Axes) -> None:
    """Add the grid, and hide the upper and right spines."""
    axes.grid(True, which="major", linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, root: Path, name: str) -> Path:
    """Write a figure as PNG into a folder, which is created if necessary."""
    content = io.BytesIO()
    figure.savefig(content, dpi=160)
    try:
        return files.write(root, name, content.getvalue())
    except OSError as error:
        raise RunDirectoryError(
            f"Cannot write {root / name}: {error.strerror or error}. Expected a "
            "writable folder with free space. Draw again with python -m "
            "experiments.figures; the runs are intact."
        ) from error


def results(front: Front) -> np.ndarray:
    """Return (n, 2): dense weights left, and test accuracy in percent."""
    left, accuracy = front.column("nonzero_dense"), front.column("test_accuracy")
    return np.stack([left, 100 * accuracy], 1)


def attained(front: Front, share: float) -> np.ndarray:
    """Return what the points that a share of the seeds choose attain, as `results`.

    They are chosen on validation data, by their objectives, and sorted by the number of
    weights. Those of a single seed are returned as they are, if dominated here, too.
    """
    chosen = [own.nondominated() for own in front.by_seed()]
    if len(chosen) == 1:
        found = results(chosen[0])
        return found[np.argsort(found[:, 0])]
    names = ("nonzero_dense", "test_accuracy")
    return results(attainment(chosen, share, names, maximize=names[1:]))


def show_attained(axes: Axes, front: Front, label: str, **look: Any) -> None:
    """Draw what half of a front's seeds attain, and a band up to the best and worst."""
    half = attained(front, 0.5)
    axes.step(*half.T, where="post", label=shown(label), **look)
    if len(front.by_seed()) == 1:
        return
    places = np.unique(np.concatenate([front.column("nonzero_dense"), half[:, 0]]))
    best, worst = (
        np.append(np.nan, own[:, 1])[np.searchsorted(own[:, 0], places, "right")]
        for own in (attained(front, 0.0), attained(front, 1.0))
    )
    axes.fill_between(
        places, worst, best, step="post", alpha=0.15, color=look["color"], lw=0
    )


def must_show(accuracy: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Select the points that a panel must show: non-dominated, or nearly as accurate.

    Dominated networks near chance would squeeze all others into a corner. The costs,
    (n, 2), are the panel's coordinates, to be minimized; an accuracy may be NaN.
    """
    error = 1 - accuracy
    best = np.fmin.reduce(error, initial=np.inf)
    shown = ~(error > max(best + 0.05, 2 * best))
    shown[indicators.nondominated(costs)] = True
    return shown & np.isfinite(costs).all(1)


def show_results(
    axes: Axes,
    own: np.ndarray,
    always: np.ndarray,
    published: np.ndarray,
    around: np.ndarray | float = 0.0,
) -> None:
    """Fit a panel to `results`, name its axes, and count what it does not show.

    Own points are shown as `must_show` decides or `always` marks, with the deviations
    `around` them.
    """
    known = np.concatenate([own, published])
    shown = must_show(known[:, 1] / 100, known * [1, -1])
    shown[: len(own)] |= always
    lower, upper = own - around, own + around
    lower = np.where(lower > 0, lower, own)  # a logarithmic axis has no place for it
    ends = np.concatenate([lower, upper])[np.tile(shown[: len(own)], 2)]
    set_limits(axes, np.concatenate([known[shown], ends]), log_x=True, accuracy=True)
    axes.set(xlabel=DENSE_LEFT, ylabel=ACCURACY)
    axes.set_title(not_shown(axes, own, published), fontsize=8, loc="right")


def set_limits(
    axes: Axes, points: np.ndarray, *, log_x=False, accuracy=False, few_ticks=False
) -> None:
    """Fit both axes to points, (n, 2), with a margin.

    An axis is logarithmic if the positive values span more than a decade (x with
    `log_x`: always); zeros get a place beside them. A y axis of accuracies in percent
    is logarithmic in the error instead, if that spans more than a decade.
    """
    for name, values in zip("xy", points.T, strict=True):
        fit_axis(axes, name, values, log_x=log_x, accuracy=accuracy, few=few_ticks)


def fit_axis(
    axes: Axes, name: str, values: np.ndarray, *, log_x=False, accuracy=False, few=False
) -> None:
    """Fit the x or y axis to values, as `set_limits` both."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = values.min(), values.max()
    start = values[values > 0].min(initial=np.inf)
    always, percent = log_x and name == "x", accuracy and name == "y"
    if percent and needs_error_axis(low, high):
        error_axis(axes, low, high)
    elif not percent and high > (0 if always else 10 * start):
        _log_axis(axes, name, start, high, bool(low <= 0), few)
    else:
        margin = 0.07 * (high - low) or 0.005 * abs(high)
        limits = (low - margin, high + margin) if low or high else (-0.05, 1)
        axes.set(**{f"{name}lim": limits})
        if few:
            getattr(axes, f"{name}axis").set_major_locator(MaxNLocator(4))


def _log_axis(
    axes: Axes, name: str, low: float, high: float, zero: bool, few: bool
) -> None:
    """Logarithmic around `low` > 0 to `high`; with a linear part around 0 if `zero`."""
    # At least a factor of 5 in all, so that there are at least two ticks.
    margin = max((high / low) ** 0.07, (5 * low / high) ** 0.5)
    left, right = low / margin, high * margin
    if zero:
        getattr(axes, f"set_{name}scale")("symlog", linthresh=left, linscale=0.2)
        axes.set(**{f"{name}lim": (-left, right)})
    else:
        axes.set(**{f"{name}scale": "log", f"{name}lim": (left, right)})
    log_ticks(getattr(axes, f"{name}axis"), left, right, zero=zero, few=few)


def log_ticks(
    axis: Axis, low: float, high: float, *, zero: bool = False, few: bool = False
) -> None:
    """Label a logarithmic axis from `low` to `high`, and at 0, with plain numbers."""
    spread = high / low * (10 if few else 1)
    steps = (1, 2, 5) if spread < 300 else (1, 3) if spread < 3e4 else (1,)
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
    ticks = np.outer(decades, np.array(steps, float)).ravel()
    ticks = ticks[(low <= ticks) & (ticks <= high)]
    ticks = [0] * zero + ticks.tolist()
    axis.set_major_locator(FixedLocator(ticks) if len(ticks) > 1 else MaxNLocator(5))
    minor = np.outer(decades, np.arange(1.0, 10)).ravel()
    axis.set_minor_locator(FixedLocator(minor[minor >= low].tolist()))
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_minor_formatter(NullFormatter())


def needs_error_axis(low: float, high: float) -> bool:
    """Return whether the errors of accuracies in percent span more than a decade."""
    return 100 - low > 10 * max(100 - high, 1)


def error_axis(axes: Axes, low: float, high: float, *, few: bool = False) -> None:
    """Accuracies in percent, logarithmic in the error plus 0.1."""

    def forward(value):
        return -np.log10(np.maximum(100.1 - value, 1e-3))

    def inverse(value):
        return 100.1 - 10.0**-value

    axes.set_yscale("function", functions=(forward, inverse))
    bottom, top = forward(low), forward(high)
    margin = 0.05 * (top - bottom)
    axes.set_ylim(inverse(bottom - margin), inverse(min(top + margin, forward(100.05))))
    ticks = [tick for tick in _ACCURACIES if not few or tick != 20]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def inside(axes: Axes, points: np.ndarray) -> np.ndarray:
    """Select the points, (n, 2), that a panel shows; False for NaN."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = points.T
    return (left <= x) & (x <= right) & (bottom <= y) & (y <= top)


def not_shown(axes: Axes, points: np.ndarray, published=()) -> str:
    """Count the points, (n, 2), that a panel does not show; "" for none."""
    if not len(points):
        return "No point yet"
    diverged = ~np.isfinite(points).all(1)
    counts = {
        "outside": (~inside(axes, points) & ~diverged).sum(),
        "published outside": (~inside(axes, np.reshape(published, (-1, 2)))).sum(),
        "diverged": diverged.sum(),
    }
    words = [f"{number} {what}" for what, number in counts.items() if number]
    return f"Not shown: {', '.join(words)}" if words else ""


def legend_below(figure: Figure | SubFigure, panels: Iterable[Axes]) -> None:
    """Add one legend below all panels, with each label once."""
    found = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        # As many columns as fit, in inches: a marker and the longest label.
        inches = figure.bbox.width / figure.figure.dpi
        columns = int(inches / (0.55 + 0.07 * max(map(len, found))))
        look = {"ncols": min(max(columns, 1), 4), "fontsize": 9, "frameon": False}
        look["markerscale"] = 0.8
        figure.legend(found.values(), found, loc="outside lower center", **look)
