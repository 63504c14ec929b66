"""How all figures look, and how they are written: colours, markers, PNG files."""

import os
from pathlib import Path

import matplotlib

if "MPLBACKEND" not in os.environ:  # notebooks have theirs
    matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.errors import RunDirectoryError

# Okabe and Ito's colours, told apart by colour-blind readers; the dashes and markers
# tell them apart in black and white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "<")


def tidy(axes: Axes) -> None:
    """Gives a panel its grid, and takes the frame's upper and right line away.

    Args:
      axes: the panel.

    Example:
      >>> from experiments.plots.style import plt, tidy
      >>> figure, axes = plt.subplots()
      >>> tidy(axes)
      >>> axes.spines["top"].get_visible()
      False
      >>> plt.close(figure)
    """
    axes.grid(True, which="major", linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, file: Path) -> Path:
    """Writes a figure, in a folder that is made if it is not there, and closes it.

    Args:
      figure: one of pyplot's.
      file: the PNG file.

    Returns:
      The file.

    Raises:
      RunDirectoryError: it cannot be written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from experiments.plots.style import plt, save
      >>> save(plt.figure(), Path(tempfile.mkdtemp(), "new", "empty.png")).name
      'empty.png'
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=160)
    except OSError as error:
        raise RunDirectoryError(
            f"Cannot write {file}: {error.strerror or error}. The runs are "
            "intact: draw again with python -m experiments.figures."
        ) from error
    finally:
        plt.close(figure)
    return file
