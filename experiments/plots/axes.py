"""Style, axis limits and legends of all figures."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

from bopt.fronts import Front, indicators
from experiments.errors import RunDirectoryError

# Okabe and Ito's colours, which colour-blind readers can distinguish; dashes and
# markers distinguish the lines in black and white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "<")
CROSS_ENTROPY = "Validation cross entropy (nats)"
L1_NORM = "l1 norm of the dense weights"
ACCURACY = "Test accuracy (%)"
DENSE_LEFT = "Dense weights left (nonzero entries)"
_ACCURACIES = (0, 20, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 100)


def tidy(axes: Axes) -> None:
    """Add the grid, and hide the upper and right spines."""
    axes.grid(True, which="major", linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, file: Path) -> Path:
    """Write a figure as PNG, and create its folder if necessary."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=160)
    except OSError as error:
        raise RunDirectoryError(
            f"Cannot write {file}: {error.strerror or error}. Expected a writable "
            "folder with free space. Draw again with python -m experiments.figures; "
            "the runs are intact."
        ) from error
    return file


def results(front: Front) -> np.ndarray:
    """Return (n, 2): dense weights left, and test accuracy in percent."""
    left, accuracy = front.column("nonzero_dense"), front.column("test_accuracy")
    return np.stack([left, 100 * accuracy], 1)


def must_show(accuracy: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Select the points that a panel must show: non-dominated, or nearly as accurate.

    Dominated networks near chance would squeeze all others into a corner.

    Args:
      accuracy: (n,) from 0 to 1; NaN where unknown.
      costs: (n, 2), to be minimized: the panel's coordinates.

    Returns:
      (n,) booleans: True for non-dominated points, and where the error exceeds the
      lowest by at most 5 percentage points or a factor of 2; False without costs.

    Example:
      >>> import numpy as np
      >>> from experiments.plots.axes import must_show
      >>> accuracy = np.array([0.99, 0.95, 0.1, 0.1])
      >>> must_show(accuracy, np.stack([[9, 2, 3, 1], 1 - accuracy], 1)).tolist()
      [True, True, False, True]
    """
    error = 1 - accuracy
    best = np.fmin.reduce(error, initial=np.inf)
    shown = ~(error > max(best + 0.05, 2 * best))
    shown[indicators.nondominated(costs)] = True
    return shown & np.isfinite(costs).all(1)


def set_limits(
    axes: Axes,
    points: np.ndarray,
    *,
    log_x: bool = False,
    accuracy: bool = False,
    few_ticks: bool = False,
) -> None:
    """Fit both axes to points, (n, 2), with a margin.

    An axis is logarithmic if the positive values span more than a decade (x with
    `log_x`: always); zeros get a place beside them. A y axis of accuracies in percent
    is logarithmic in the error instead, if that spans more than a decade.
    """
    for name, values in zip("xy", points.T, strict=True):
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        low, high = values.min(), values.max()
        positive = values[values > 0]
        if accuracy and name == "y":
            if 100 - low > 10 * max(100 - high, 1):
                _error_axis(axes, low, high)
            else:
                _linear_axis(axes, name, low, high, few_ticks)
        elif len(positive) and ((log_x and name == "x") or high > 10 * positive.min()):
            _log_axis(axes, name, positive.min(), high, bool(low <= 0), few_ticks)
        else:
            _linear_axis(axes, name, low, high, few_ticks)


def _linear_axis(axes: Axes, name: str, low: float, high: float, few: bool) -> None:
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


def _error_axis(axes: Axes, low: float, high: float) -> None:
    """Accuracies in percent, logarithmic in the error plus 0.1."""

    def forward(value):
        return -np.log10(np.maximum(100.1 - value, 1e-3))

    def inverse(value):
        return 100.1 - 10.0**-value

    axes.set_yscale("function", functions=(forward, inverse))
    bottom, top = forward(low), forward(high)
    margin = 0.05 * (top - bottom)
    axes.set_ylim(inverse(bottom - margin), inverse(min(top + margin, forward(100.05))))
    axes.yaxis.set_major_locator(FixedLocator(_ACCURACIES))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def inside(axes: Axes, points: np.ndarray) -> np.ndarray:
    """Select the points, (n, 2), that a panel shows; False for NaN."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = points.T
    return (left <= x) & (x <= right) & (bottom <= y) & (y <= top)


def not_shown(
    axes: Axes, points: np.ndarray, published: np.ndarray | None = None
) -> str:
    """Count the points, (n, 2), that a panel does not show; "" for none."""
    if not len(points):
        return "No point yet"
    diverged = ~np.isfinite(points).all(1)
    others = np.empty((0, 2)) if published is None else published
    counts = {
        "outside": (~inside(axes, points) & ~diverged).sum(),
        "published outside": (~inside(axes, others)).sum(),
        "diverged": diverged.sum(),
    }
    words = [f"{number} {what}" for what, number in counts.items() if number]
    return "Not shown: " * bool(words) + ", ".join(words)


def legend_below(figure: Figure | SubFigure, panels: Iterable[Axes]) -> None:
    """Add one legend below all panels, with each label once.

    The figure has constrained layout, or is an empty strip below the panels.
    """
    found = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            found.values(),
            found.keys(),
            loc="outside lower center",
            ncols=4,
            fontsize=9,
            markerscale=0.8,
            frameon=False,
        )
