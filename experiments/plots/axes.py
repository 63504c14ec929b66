"""The axes of a front's figures: around what is of interest, with one legend."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bopt.fronts import Front

# The x and y coordinates of points; NaN where there is none.
Places = tuple[np.ndarray, np.ndarray]


def objectives(front: Front) -> Places:
    """Places points by their objectives.

    Args:
      front: the points.

    Returns:
      The cross entropies, and the l1 norms.

    Example:
      >>> from bopt.fronts import Front, Point
      >>> from experiments.plots.axes import objectives
      >>> [x.tolist() for x in objectives(Front([Point((0.5, 0.5), (0.1, 9.0))]))]
      [[0.1], [9.0]]
    """
    return front.column("objective_0"), front.column("objective_1")


def chosen(places: Places, where: np.ndarray) -> Places:
    """Takes some of the points.

    Args:
      places: the points.
      where: True for those that are taken.

    Returns:
      Their places.

    Example:
      >>> import numpy as np
      >>> from experiments.plots.axes import chosen
      >>> chosen((np.arange(3), np.arange(3)), np.array([False, True, False]))
      (array([1]), array([1]))
    """
    return places[0][where], places[1][where]


def places_of(pairs: Iterable[tuple[float, float]]) -> Places:
    """Places points by their coordinates.

    Args:
      pairs: x and y of each point.

    Returns:
      Their places.

    Example:
      >>> from experiments.plots.axes import places_of
      >>> places_of([(1, 2), (3, 4)])
      (array([1., 3.]), array([2., 4.]))
    """
    x, y = np.reshape(np.asarray([*pairs], float), (-1, 2)).T
    return x, y


def join(*parts: Places) -> Places:
    """Takes several groups of points as one.

    Args:
      *parts: the groups, at least one.

    Returns:
      The places of all, in this order.

    Example:
      >>> from experiments.plots.axes import join, places_of
      >>> join(places_of([(1, 2)]), places_of([]), places_of([(3, 4)]))
      (array([1., 3.]), array([2., 4.]))
    """
    x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    return x, y


def near_best(accuracy: np.ndarray) -> np.ndarray:
    """Finds the networks that a picture must show: all but the far worse.

    Dead networks, near chance, would squash what is of interest into a corner.

    Args:
      accuracy: (n,) from 0 to 1, NaN where it is not known.

    Returns:
      (n,) booleans: True where it is at most 5 percentage points below the best, or the
      network at most twice as often wrong; or everywhere, if no accuracy is known.

    Example:
      >>> import numpy as np
      >>> from experiments.plots.axes import near_best
      >>> near_best(np.array([0.99, 0.95, 0.93, 0.1, np.nan])).tolist()
      [True, True, False, False, False]
    """
    error = 1 - accuracy
    if np.isnan(error).all():
        return np.ones_like(error, bool)
    best = np.nanmin(error)
    return error <= max(best + 0.05, 2 * best)


def limit(
    axes: Axes, places: Places, *, log_x: bool = False, few: bool = False
) -> None:
    """Sets the limits of both axes around these points, with a margin.

    An axis is logarithmic where they span more than a decade, and none is 0 or less.

    Args:
      axes: the panel.
      places: the points; none: the axes stay as they are.
      log_x: whether the x axis is logarithmic, too, where they span less.
      few: whether there is room for few ticks only.

    Example:
      >>> import numpy as np
      >>> from experiments.plots.axes import limit
      >>> from experiments.plots.style import plt
      >>> figure, axes = plt.subplots()
      >>> limit(axes, (np.array([1, 2]), np.array([1, 1_000])))
      >>> axes.get_xscale(), axes.get_yscale()
      ('linear', 'log')
      >>> plt.close(figure)
    """
    for name, values in zip("xy", places, strict=True):
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        axis = axes.xaxis if name == "x" else axes.yaxis
        low, high = values.min(), values.max()
        if low <= 0 or not (high > 10 * low or (log_x and name == "x")):
            margin = 0.07 * (high - low) or 0.005 * abs(high)
            limits = (low - margin, high + margin) if low or high else (-0.05, 1)
            axes.set(**{f"{name}lim": limits})
            if few:
                axis.set_major_locator(MaxNLocator(4))
            continue
        # At least a factor of 5 in all, so that there are at least two ticks.
        margin = max((high / low) ** 0.07, (5 * low / high) ** 0.5)
        low, high = low / margin, high * margin
        axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
        spread = high / low * (10 if few else 1)
        steps = (1, 2, 5) if spread < 300 else (1, 3) if spread < 3e4 else (1,)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def inside(axes: Axes, places: Places) -> np.ndarray:
    """Finds the points that a panel shows.

    Args:
      axes: the panel, its limits set.
      places: the points.

    Returns:
      Booleans, one for each point; False where it has no place (NaN).

    Example:
      >>> import numpy as np
      >>> from experiments.plots.axes import inside
      >>> from experiments.plots.style import plt
      >>> figure, axes = plt.subplots()  # from 0 to 1
      >>> inside(axes, (np.array([0.5, 2, np.nan]), np.array([0.5, 1, 1]))).tolist()
      [True, False, False]
      >>> plt.close(figure)
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = places
    return (left <= x) & (x <= right) & (bottom <= y) & (y <= top)


def unseen(axes: Axes, places: Places, published: Places | None = None) -> str:
    """Says how many points a panel does not show.

    Args:
      axes: the panel, its limits set.
      places: the points; NaN where a training diverged.
      published: likewise, points to compare with.

    Returns:
      Words, or "" if all are shown.

    Example:
      >>> import numpy as np
      >>> from experiments.plots.axes import unseen
      >>> from experiments.plots.style import plt
      >>> figure, axes = plt.subplots()  # from 0 to 1
      >>> unseen(axes, (np.array([0.5, 2, 3, np.nan]), np.array([0.5, 1, 1, np.nan])))
      'not shown: 2 outside, 1 diverged'
      >>> plt.close(figure)
    """
    if not len(places[0]):
        return "no point yet"
    diverged = ~np.isfinite(places[0] + places[1])
    counts = {
        "outside": (~inside(axes, places) & ~diverged).sum(),
        "published outside": (~inside(axes, published)).sum() if published else 0,
        "diverged": diverged.sum(),
    }
    words = [f"{number} {what}" for what, number in counts.items() if number]
    return "not shown: " * bool(words) + ", ".join(words)


def legend_below(figure: Figure | SubFigure, panels: Iterable[Axes]) -> None:
    """Gives a figure one legend for all panels, below them, where it hides no point.

    Args:
      figure: with constrained layout; or a part of one, an empty strip below them.
      panels: whose labelled parts are listed, each label once.

    Example:
      >>> from experiments.plots.axes import legend_below
      >>> from experiments.plots.style import plt
      >>> figure, panels = plt.subplots(1, 2, layout="constrained")
      >>> for axes in panels:
      ...     _ = axes.plot([1, 2], label="the same")
      >>> legend_below(figure, panels)
      >>> [text.get_text() for text in figure.legends[0].texts]
      ['the same']
      >>> plt.close(figure)
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
