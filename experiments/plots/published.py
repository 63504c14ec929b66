"""Reads a file of published networks, which the figure of a front shows beside it."""

import csv
import math
from pathlib import Path

from experiments.errors import RunDirectoryError

_COLUMNS = ("test_accuracy", "nonzero_dense")


def read_published(path: str | Path) -> list[tuple[float, float]]:
    """Reads test accuracies and nonzero dense weights from a CSV file.

    Args:
      path: a text file: lines that start with #, which are skipped, a header with the
        columns test_accuracy and nonzero_dense (others are skipped), and one line for
        each network.

    Returns:
      (test accuracy, nonzero dense weights) of each network, in the file's order.

    Raises:
      RunDirectoryError: a file that cannot be read, a column that is missing, no
        network at all, or a value that is no number or out of range. The message names
        the file, the line, and what was expected.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from experiments.plots.published import read_published
      >>> file = Path(tempfile.mkdtemp(), "compare.csv")
      >>> _ = file.write_text(
      ...     "# Read off figure 4b.\\ntest_accuracy,nonzero_dense\\n0.9902,25128\\n"
      ... )
      >>> read_published(file)
      [(0.9902, 25128.0)]
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # spreadsheets write a mark
    except OSError as error:
        raise RunDirectoryError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise RunDirectoryError(
            f"{path} is not a text file in UTF-8: {error}."
        ) from error
    lines = [
        (number, [field.strip() for field in next(csv.reader([line]))])
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]
    wanted = ",".join(_COLUMNS)
    if not lines:
        raise RunDirectoryError(f"{path} is empty; expected a header {wanted}.")
    (first, header), *rows = lines
    if missing := [name for name in _COLUMNS if name not in header]:
        raise RunDirectoryError(
            f"{path}, line {first}, has no column {missing[0]}: it is "
            f"{','.join(header)!r}; expected a header with {wanted}."
        )
    if not rows:
        raise RunDirectoryError(
            f"{path} ends after its header; expected a line for each network."
        )
    networks = []
    for number, fields in rows:
        where = f"{path}, line {number},"
        if len(fields) != len(header):
            raise RunDirectoryError(
                f"{where} has {len(fields)} fields; expected {len(header)}, as the "
                f"header in line {first}."
            )
        row = dict(zip(header, fields, strict=True))
        accuracy, left = (_number(row[name], name, where) for name in _COLUMNS)
        if not 0 <= accuracy <= 1:
            raise RunDirectoryError(
                f"{where} test_accuracy is {accuracy:g}; expected a share from 0 to 1, "
                "not per cent."
            )
        if left < 0:
            raise RunDirectoryError(
                f"{where} nonzero_dense is {left:g}; expected a count, 0 or more."
            )
        networks.append((accuracy, left))
    return networks


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RunDirectoryError(f"{where} {name} is {text!r}; expected a number.")
    return value
