"""Weights of a grid search."""

import numpy as np

from bopt.fronts.points import Weights

ORIGINAL_WEIGHTS: tuple[Weights, ...] = tuple(
    (round(1 - w1, 5), w1)
    for w1 in (
        *(0.0, 1e-4, 3e-4, 5e-4, 7e-4, 9e-4, 1e-5, 3e-5, 5e-5, 7e-5, 9e-5),
        *(1e-3, 3e-3, 5e-3, 7e-3, 9e-3, 0.01, 0.02, 0.015, 0.025, 0.03, 0.035),
        *(0.05, 0.07, 0.09, 0.1),
    )
)
"""The 26 weights of the grid in the code of arXiv 2008.13590, in its order."""


def geometric(
    number: int = 20, smallest: float = 3e-5, largest: float = 3e-3
) -> tuple[Weights, ...]:
    """Space weights of a grid geometrically: w1 = 0, then `smallest` to `largest`.

    Equal steps would leave nearly all points at one end of the front.

    Args:
      number: number of weights, at least 2: (1, 0) and the largest.
      smallest: the smallest positive w1.
      largest: the largest w1.

    Returns:
      `number` pairs (1 - w1, w1).

    Raises:
      ValueError: fewer than 2 weights, or not 0 < smallest < largest < 1.

    Example:
      >>> from bopt.fronts import geometric
      >>> [round(w1, 6) for _, w1 in geometric(4)]
      [0.0, 3e-05, 0.0003, 0.003]
    """
    if number < 2:
        raise ValueError(f"geometric got number={number}; expected at least 2 weights.")
    if not 0 < smallest < largest < 1:
        raise ValueError(
            f"geometric got smallest={smallest}, largest={largest}; expected "
            "0 < smallest < largest < 1."
        )
    spaced = np.geomspace(largest, smallest, number - 1)[::-1]
    return ((1.0, 0.0), *((1 - w1, w1) for w1 in spaced.tolist()))
