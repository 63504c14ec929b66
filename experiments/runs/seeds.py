"""Several seeds of one run: their means and deviations.

A run with --seeds N has a run directory for each, `seed-0` and so on. Its own files
have the same keys as theirs, and hold the means over the seeds; each line of the
metrics, and the summary, have besides `deviation`: key -> sample standard deviation, of
what is a number.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any


def mean(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What holds for all seeds, and the means and deviations of what differs.

    Args:
      records: one a seed, with the same keys: lines of metrics.jsonl, or summaries.

    Returns:
      A record like these with `deviation`; of a single one, that one.

    Example:
      >>> from experiments.runs.seeds import mean
      >>> mean([{"epoch": 1, "l1": 3.0}, {"epoch": 1, "l1": 5.0}])
      {'epoch': 1, 'l1': 4.0, 'deviation': {'epoch': 0.0, 'l1': 1.4142135623730951}}
    """
    if len(records) == 1:
        return records[0]
    deviations = {
        key: _deviation([record[key] for record in records])
        for key, value in records[0].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return _mean(records) | {"deviation": deviations}


def _mean(values: Sequence[Any]) -> Any:
    first = values[0]
    if all(value == first for value in values):  # counts stay counts
        return first
    match first:
        case dict():
            return {key: _mean([value[key] for value in values]) for key in first}
        case list():
            return [_mean(items) for items in zip(*values, strict=True)]
        case str():
            return None
    numbers = [math.nan if value is None else value for value in values]
    return statistics.fmean(numbers)


def _deviation(values: list[float | None]) -> float:
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    # Of a diverged seed: statistics.stdev cannot take NaN or infinity.
    return statistics.stdev(numbers) if len(numbers) == len(values) else math.nan
